#!/bin/bash
# Faults by hand through the real command: full pools, pools that are gone, tools that are absent or talk nonsense, volumes
# held open, resets in the middle of a clone, objects of somebody else under the name wanted. Each is answered by a typed
# error with a remedy; nothing is lost, and nothing foreign is touched.
#
#   tests/suites/faults.sh [here|lvm|lvm-thin|zfs|reboot|promote|streams|space]…
#
# Without a word it is `here`: the stores that need no machine of their own. The other words run in the rig's virtual machine.
set -uo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/claims.sh
. tests/lib/packages.sh
. tests/lib/machine.sh
cargo build --quiet --bins -p keiki -p keiki-runtime || exit 1
programs=${CARGO_TARGET_DIR:-$PWD/target}/debug
work=$(mktemp -d /var/tmp/keiki-faults.XXXXXX)
holder=
cleanup() {
    [ -z "$holder" ] || kill "$holder" 2>/dev/null
    ! mountpoint -q "$work/held" || umount "$work/held"
    rm -rf --one-file-system "$work"
}
trap cleanup EXIT
parts=("$@")
[ ${#parts[@]} -gt 0 ] || parts=(here)

# What goes into the machine.
payload() {
    mkdir -p "$work/payload/programs" "$work/payload/tests/suites"
    strip --strip-debug -o "$work/payload/programs/keiki" "$programs/keiki"
    strip --strip-debug -o "$work/payload/programs/keiki-monitor" "$programs/keiki-monitor"
    cp -r tests/lib tests/rig "$work/payload/tests/"
    cp -r tests/suites/faults "$work/payload/tests/suites/"
}
in_machine() { tests/rig/run-vm.sh -q -t 1500 -p "$work/payload" "$@"; }

# The numbers of a part that ran elsewhere become claims here, so that the last line has them all.
count_in() {
    local log=$1 counts
    counts=$(grep -aoE '^[0-9]+ passed, [0-9]+ failed' "$log" | tail -1)
    if [ -z "$counts" ]; then
        echo "FAIL $2 broke off"
        tail -n 20 "$log" | sed 's/^/       /'
        claims_failed=$((claims_failed + 1))
        return
    fi
    set -- $counts
    claims_passed=$((claims_passed + $1)) claims_failed=$((claims_failed + $3))
}

for part in "${parts[@]}"; do
    echo "--- $part"
    if [ "$part" = here ]; then
        . tests/suites/faults/common.sh
        . tests/suites/faults/here.sh
        continue
    fi
    if ! prepare_machine; then
        echo "skipped: needs $machine_missing"
        skipped=$((${skipped:-0} + 1))
        continue
    fi
    [ -e "$work/payload" ] || payload
    if [ "$part" = reboot ]; then
        truncate -s 6G "$work/lvm.disk" "$work/zfs.disk"
        truncate -s 1G "$work/kept.disk"
        stores="KEIKI_FAULT_STORES=${KEIKI_FAULT_STORES:-lvm lvm-thin zfs}"
        kept=(-D "lvm:$work/lvm.disk" -D "zfs:$work/zfs.disk" -D "kept:$work/kept.disk")
        in_machine "${kept[@]}" -- env "$stores" tests/suites/faults/reboot.sh cut >"$work/log" 2>&1
        grep -qa 'rig: reset' "$work/log" || cat "$work/log"
        in_machine "${kept[@]}" -- env "$stores" tests/suites/faults/reboot.sh heal >"$work/log" 2>&1
    elif [[ $part = promote || $part = streams || $part = space ]]; then
        in_machine -d zfs:8G -- tests/rig/in-vm.sh "tests/suites/faults/$part.sh" >"$work/log" 2>&1
    else
        in_machine -d lvm:8G -d zfs:8G -- tests/rig/in-vm.sh tests/suites/faults/machine.sh "$part" >"$work/log" 2>&1
    fi
    grep -a -e '^ok  ' -e '^FAIL ' -e '^       ' "$work/log"
    count_in "$work/log" "$part"
done
[ -z "${skipped:-}" ] || echo "$skipped skipped"
restore_packages
finish_claims
