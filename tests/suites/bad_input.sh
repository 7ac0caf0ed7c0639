#!/bin/bash
# Bad input and hard times, as a user meets them: a clear message, the exit code of the manual, and nothing changed.
set -uo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/claims.sh
cargo build --quiet --bins -p keiki -p keiki-runtime || exit 1
target=${CARGO_TARGET_DIR:-$PWD/target}/debug
work=$(mktemp -d /var/tmp/keiki-bad.XXXXXX)
P=$work/lxc
mkdir -p "$P"
export KEIKI_STATE=$work/state
keiki() { "$target/keiki" -P "$P" "$@"; }
holder=
cleanup() {
    [ -z "$holder" ] || kill "$holder" 2>/dev/null
    for mount in "$P/busy/rootfs/mnt" "$work/small" "$work/readonly"; do
        mountpoint -q "$mount" && umount "$mount"
    done
    rm -rf --one-file-system "$work"
}
trap cleanup EXIT
names() { keiki ls --format csv | tail -n +2 | cut -d, -f1 | paste -sd' '; }
quiet() { "$@" >/dev/null 2>&1; }
# The refusal of a command, with its exit code: `refused CODE "text" COMMAND…`
refused() {
    local want=$1 text=$2 output code=0
    shift 2
    output=$("$@" 2>&1) || code=$?
    [ $code -eq "$want" ] && grep -qF -- "$text" <<<"$output" && return
    echo "$output"
    echo "(exit code $code, expected $want with: $text)"
    return 1
}

claim "a container to stand on" keiki create base --template busybox
claim "an unknown store is named with those there are" refused 2 "stores here: dir" keiki create x --template busybox --bdev zsf
claim "an unavailable store says why" refused 9 "is not on a btrfs file system" keiki create x --template busybox --bdev btrfs
claim "and what to do" refused 9 "choose an lxcpath on one" keiki create x --template busybox --bdev btrfs
claim "a list takes the first that works" keiki create second --template none --bdev btrfs,overlay
for name in "" . .. a/b 'a b' -x "$(printf 'a%.0s' $(seq 65))" $'a\nb'; do
    claim "the name $(printf %q "${name:0:12}") is refused" refused 2 "" keiki create --template none -- "$name"
done
claim "a missing origin is not found" refused 3 "there is no container \`nobody\`" keiki clone nobody x
claim "a missing snapshot is not found" refused 3 "no snapshot \`snap9\`" keiki snapshot restore base snap9
claim "a taken name is a conflict" refused 4 "exists" keiki create base --template none
head -c 100000 /dev/urandom >"$work/noise.tar.gz"
claim "noise is not an archive" refused 2 "is not an archive" keiki create x --template local -- --rootfs "$work/noise.tar.gz"
tar -C "$P/base/rootfs" -czf "$work/cut.tar.gz" . && truncate -s -1000 "$work/cut.tar.gz"
claim "a cut archive is told with the place" refused 2 "at byte" keiki create x --template local -- --rootfs "$work/cut.tar.gz"
printf 'lxc.net.0.type = veth\n  lxc.utsname = x\n' >"$work/bad.conf"
claim "bad configuration is told by file, line and column" refused 2 "$work/bad.conf:2:3: there is no key \`lxc.utsname\`" keiki create x --template none -f "$work/bad.conf"
claim "with the name that is meant" refused 2 "lxc.uts.name" keiki create x --template none -f "$work/bad.conf"
claim "nothing of all that is left" test "$(names)" = "base second"

mkdir "$work/small" && mount -t tmpfs -o size=600k tmpfs "$work/small"
claim "a full disk is told" refused 1 "No space left" "$target/keiki" -P "$work/small/lxc" create x --template busybox
claim "and nothing of it is left" test -z "$("$target/keiki" -P "$work/small/lxc" ls --format csv | tail -n +2)"
claim "no staging stays" test -z "$(ls "$work/small/lxc/.keiki/staging" 2>/dev/null)"
umount "$work/small"

mkdir "$work/readonly" && mount -t tmpfs tmpfs "$work/readonly" && mkdir "$work/readonly/lxc" && mount -o remount,ro "$work/readonly"
claim "a read-only lxcpath is named" refused 9 "Read-only file system" "$target/keiki" -P "$work/readonly/lxc" create x --template none
umount "$work/readonly"

claim "a second container" keiki create busy --template busybox
mkdir -p "$P/busy/rootfs/mnt" && mount -t tmpfs tmpfs "$P/busy/rootfs/mnt"
(cd "$P/busy/rootfs/mnt" && exec sleep 300) &
holder=$!
claim "a mount inside refuses the destroy" refused 6 "rootfs/mnt\` is mounted" keiki destroy busy
claim "the process that holds it is named" refused 6 "process $holder (\`sleep\`)" keiki destroy busy
claim "and nothing changed" test -d "$P/busy/rootfs/bin"
kill $holder && wait $holder 2>/dev/null
holder=
umount "$P/busy/rootfs/mnt"
claim "without the mount it goes" keiki destroy busy

claim "a clone" keiki clone --snapshot base clone1
claim "a snapshot" keiki snapshot create clone1
for file in "$KEIKI_STATE"/catalogue.sqlite*; do head -c 4096 /dev/urandom | dd of="$file" conv=notrunc status=none; done
claim "a corrupt catalogue still lists" says base keiki ls
claim "changes are refused" refused 1 "keiki check --repair" keiki clone base x
claim "destroys too" refused 1 "damaged" keiki destroy base
claim "check says what is wrong" fails_with 1 keiki check
claim "repair rebuilds it from the disk" keiki check --repair
claim "everything is there again" test "$(names)" = "base clone1 second"
claim "who depends on whom as well" refused 5 "clone1" keiki destroy base
claim "the snapshot too" says snap0 keiki snapshot list clone1
claim "the damaged file is kept aside" quiet ls "$KEIKI_STATE"/*damaged*
claim "a second check finds nothing" keiki check
claim "the family goes together" keiki destroy --with-dependents base
finish_claims
