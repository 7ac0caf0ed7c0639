#!/bin/bash
# The peer's table of steps and stores (what LXC does is in docs/lxc-storage.md), step by step on real stores: each answer is a claim,
# and the answers make the table that the document has.
#
#   tests/suites/peer_table.sh [STORE]…
#
# Without a word: dir, overlay, btrfs, loop and loop-xfs. lvm, lvm-thin and zfs run in the rig's virtual machine, each in one boot.
# KEIKI_SUITE_PROGRAMS names a directory with keiki and keiki-monitor, which are built otherwise.
set -uo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/claims.sh
. tests/lib/packages.sh
. tests/lib/machine.sh
programs=${KEIKI_SUITE_PROGRAMS:-}
if [ -z "$programs" ]; then
    cargo build --quiet --bins -p keiki -p keiki-runtime || exit 1
    programs=${CARGO_TARGET_DIR:-$PWD/target}/debug
fi
work=$(mktemp -d /var/tmp/keiki-peer-table.XXXXXX)
trap 'rm -rf --one-file-system "$work"' EXIT
stores=("$@")
[ ${#stores[@]} -gt 0 ] || stores=(dir overlay btrfs loop loop-xfs)
skipped=0
: >"$work/cells"

payload() {
    mkdir -p "$work/payload/programs" "$work/payload/tests/suites"
    strip --strip-debug -o "$work/payload/programs/keiki" "$programs/keiki"
    strip --strip-debug -o "$work/payload/programs/keiki-monitor" "$programs/keiki-monitor"
    cp -r tests/lib tests/rig "$work/payload/tests/"
    cp -r tests/suites/peer_table "$work/payload/tests/suites/"
}

run() {
    case $1 in
        lvm | lvm-thin | zfs)
            [ -e "$work/payload" ] || payload
            tests/rig/run-vm.sh -q -t 900 -p "$work/payload" -d lvm:8G -d zfs:8G -- \
                tests/rig/in-vm.sh tests/suites/peer_table/steps.sh "$1" /payload/programs
            ;;
        *) unshare --mount tests/suites/peer_table/steps.sh "$1" "$programs" ;;
    esac
}

for store in "${stores[@]}"; do
    echo "--- $store"
    case $store in
        lvm | lvm-thin | zfs)
            if ! prepare_machine; then
                echo "skipped: needs $machine_missing"
                skipped=$((skipped + 1))
                continue
            fi
            ;;
    esac
    run "$store" >"$work/log" 2>&1
    tr -d '\r' <"$work/log" >"$work/plain"
    grep -a -e '^ok  ' -e '^FAIL ' -e '^       ' "$work/plain"
    grep -a '^cell ' "$work/plain" | cut -c6- >>"$work/cells"
    counts=$(grep -aoE '^[0-9]+ passed, [0-9]+ failed' "$work/plain" | tail -1)
    if [ -z "$counts" ]; then
        echo "FAIL $store broke off"
        tail -n 20 "$work/plain" | sed 's/^/       /'
        claims_failed=$((claims_failed + 1))
        continue
    fi
    read -r passed _ failed _ <<<"$counts"
    claims_passed=$((claims_passed + passed)) claims_failed=$((claims_failed + failed))
done

echo
awk -F'|' -v stores="${stores[*]}" '
    { if (!($1 in seen)) { seen[$1] = 1; order[++n] = $1 } cell[$1, $2] = $3 }
    END {
        count = split(stores, store, " ")
        head = "| step |"; rule = "|---|"
        for (i = 1; i <= count; i++) { head = head " " store[i] " |"; rule = rule "---|" }
        print head; print rule
        for (j = 1; j <= n; j++) {
            row = "| " order[j] " |"
            for (i = 1; i <= count; i++) row = row " " ((order[j], store[i]) in cell ? cell[order[j], store[i]] : "-") " |"
            print row
        }
    }' "$work/cells"
echo
[ $skipped -eq 0 ] || echo "$skipped skipped"
restore_packages
finish_claims
