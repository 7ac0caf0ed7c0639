#!/bin/bash
# Clones and snapshots of zfs through the whole of Keiki against the bare commands; ratios of one run.
#
#   tests/bench/zfs.sh [COUNT]
#
# Runs in the rig's virtual machine (started by this script from outside, with a disk for the pool). The bare primitive of a clone of a
# head is `zfs snapshot` and `zfs clone` with the same properties, for a batch one snapshot and COUNT clones one after the other, and of a
# snapshot `zfs snapshot`. Keiki adds identity, configuration, relations and two durable transactions. Leaves nothing behind.
set -euo pipefail
count=${1:-100}
if [ ! -e /dev/rig/zfs ]; then
    cd "$(dirname "$0")/../.."
    cargo build --release --quiet --bins -p keiki -p keiki-runtime
    payload=$(mktemp -d)
    trap 'rm -rf "$payload"' EXIT
    cp "${CARGO_TARGET_DIR:-target}"/release/keiki "${CARGO_TARGET_DIR:-target}"/release/keiki-monitor tests/bench/zfs.sh "$payload/"
    exec tests/rig/run-vm.sh -q -t 900 -p "$payload" -d zfs:4G -- bash ./zfs.sh "$count"
fi

modprobe zfs
truncate -s 2G /dev/shm/pool
zpool create -f -O mountpoint=none bench /dev/shm/pool
zfs create bench/lxc
zfs create bench/bare
export KEIKI_STATE=/dev/shm/state
mkdir -p /dev/shm/lxc
trap 'zpool destroy -f bench; rm -rf /dev/shm/pool /dev/shm/lxc /dev/shm/state' EXIT
k() { ./keiki -P /dev/shm/lxc --quiet "$@" >/dev/null; }
options=(-o mountpoint=legacy -o canmount=noauto -o acltype=posix -o xattr=sa -o keiki:id=x)
bare_clone() { zfs snapshot bench/bare/base@"$1"; zfs clone "${options[@]}" bench/bare/base@"$1" bench/bare/"$1"; }
bare_batch() { local n; zfs snapshot bench/bare/base@"$1"; for n in $(seq "$count"); do zfs clone "${options[@]}" bench/bare/base@"$1" bench/bare/"$1-$n"; done; }
milliseconds() { local begin end; begin=$(date +%s%N); "$@"; end=$(date +%s%N); echo $(((end - begin) / 1000000)); }
median() { sort -n | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)] }'; }
ratio() { awk -v a="$2" -v b="$3" -v what="$1" 'BEGIN { printf "%s: keiki %d ms, bare %d ms, ratio %.2f\n", what, a, b, a / b }'; }

k create base --bdev zfs --zfsroot bench/lxc --template none
zfs create "${options[@]}" bench/bare/base
k clone --snapshot base warm
bare_clone warm
for n in 1 2 3 4 5 6 7; do
    milliseconds k clone --snapshot base "one$n" >>/dev/shm/keiki-one
    milliseconds bare_clone "one$n" >>/dev/shm/bare-one
    milliseconds k snapshot create base >>/dev/shm/keiki-snapshot
    milliseconds zfs snapshot -o keiki:id=x "bench/bare/base@snap$n" >>/dev/shm/bare-snapshot
done
ratio "one clone" "$(median </dev/shm/keiki-one)" "$(median </dev/shm/bare-one)"
ratio "one snapshot" "$(median </dev/shm/keiki-snapshot)" "$(median </dev/shm/bare-snapshot)"
for n in 1 2 3; do
    # shellcheck disable=SC2046
    milliseconds k clone --snapshot base $(seq -f "batch$n-%g" "$count") >>/dev/shm/keiki-batch
    milliseconds bare_batch "batch$n" >>/dev/shm/bare-batch
done
ratio "$count clones in one command" "$(median </dev/shm/keiki-batch)" "$(median </dev/shm/bare-batch)"
