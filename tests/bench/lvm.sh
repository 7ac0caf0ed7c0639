#!/bin/bash
# Clones and snapshots in a thin pool through the whole of Keiki against the bare commands; ratios of one run.
#
#   tests/bench/lvm.sh [COUNT]
#
# Runs in the rig's virtual machine (started by this script from outside, with a disk for the group). The bare primitive of one clone and of one
# snapshot is `lvcreate -s` with a tag, of a batch COUNT of them one after the other, as somebody without Keiki makes them. Keiki adds the look
# at the pool's fill, identity, configuration and two durable transactions. Leaves nothing behind.
set -euo pipefail
count=${1:-100}
if [ ! -e /dev/rig/lvm ]; then
    cd "$(dirname "$0")/../.."
    programs=${KEIKI_BENCH_PROGRAMS:-${CARGO_TARGET_DIR:-target}/release}
    [ -n "${KEIKI_BENCH_PROGRAMS:-}" ] || cargo build --release --quiet --bins -p keiki -p keiki-runtime
    payload=$(mktemp -d)
    trap 'rm -rf "$payload"' EXIT
    cp "$programs/keiki" "$programs/keiki-monitor" tests/bench/lvm.sh "$payload/"
    exec tests/rig/run-vm.sh -q -t 1200 -p "$payload" -d lvm:6G -- bash ./lvm.sh "$count"
fi

export LVM_SUPPRESS_FD_WARNINGS=1 KEIKI_STATE=/dev/shm/state
modprobe -a dm-mod dm-thin-pool
pvcreate -q -y -ff /dev/rig/lvm >/dev/null
vgcreate -q bench /dev/rig/lvm >/dev/null
lvcreate -q -y --type thin-pool -L 4G --poolmetadatasize 64M -n pool bench >/dev/null
mkdir -p /dev/shm/lxc
trap 'vgremove -q -y -f bench >/dev/null; pvremove -q -y -ff /dev/rig/lvm >/dev/null; rm -rf /dev/shm/lxc /dev/shm/state /dev/shm/*-one /dev/shm/*-snapshot /dev/shm/*-batch' EXIT
k() { ./keiki -P /dev/shm/lxc --quiet "$@" >/dev/null; }
bare() { lvcreate -y -qq -s -ky --addtag x -n "$1" bench/bare >/dev/null 2>&1; }
bare_batch() { local n; for n in $(seq "$count"); do bare "$1-$n"; done; }
milliseconds() { local begin end; begin=$(date +%s%N); "$@"; end=$(date +%s%N); echo $(((end - begin) / 1000000)); }
median() { sort -n | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)] }'; }
ratio() { awk -v a="$2" -v b="$3" -v what="$1" 'BEGIN { printf "%s: keiki %d ms, bare %d ms, ratio %.2f\n", what, a, b, a / b }'; }

k create base --bdev lvm --vgname bench --thinpool pool --fssize 64M --template none
lvcreate -q -y --thinpool pool -V 64M -n bare bench >/dev/null && mkfs.ext4 -q /dev/bench/bare && lvchange -q -an bench/bare
k clone --snapshot base warm
bare warmbare
for n in 1 2 3 4 5 6 7; do
    milliseconds k clone --snapshot base "one$n" >>/dev/shm/keiki-one
    milliseconds bare "bareone$n" >>/dev/shm/bare-one
    milliseconds k snapshot create base >>/dev/shm/keiki-snapshot
done
ratio "one clone" "$(median </dev/shm/keiki-one)" "$(median </dev/shm/bare-one)"
ratio "one snapshot" "$(median </dev/shm/keiki-snapshot)" "$(median </dev/shm/bare-one)"
# shellcheck disable=SC2046
milliseconds k clone --snapshot base $(seq -f "batch-%g" "$count") >>/dev/shm/keiki-batch
milliseconds bare_batch barebatch >>/dev/shm/bare-batch
ratio "$count clones in one command" "$(median </dev/shm/keiki-batch)" "$(median </dev/shm/bare-batch)"
