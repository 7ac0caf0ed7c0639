#!/bin/bash
# Clones and snapshots of loop containers by reflink against the bare primitive, on xfs and btrfs; ratios of one run.
#
#   tests/bench/reflink.sh [SIZE [xfs|btrfs]…]
#
# The container is an ext4 of SIZE (4G) in an image file; the file system below is in an image below TMPDIR (/dev/shm by default).
# The bare primitive is FICLONE into a file in a directory of its own, from a process that runs already; bare+durable also waits
# for the file and both directories, as durable as what Keiki makes of it. Needs root, mkfs, python3; leaves nothing behind.
set -euo pipefail

here=$(cd "$(dirname "$0")/../.." && pwd)
size=${1:-4G}
shift || true
filesystems=("$@")
[ ${#filesystems[@]} -gt 0 ] || filesystems=(xfs btrfs)
if [ -z "${KEIKI_BENCH_INSIDE:-}" ]; then
    [ "$(id -u)" = 0 ] || { echo "skipped: needs root"; exit 0; }
    command -v mkfs.ext4 >/dev/null || { echo "skipped: needs mkfs.ext4"; exit 0; }
    [ -n "${KEIKI_BIN:-}" ] || (cd "$here" && cargo build --quiet --release -p keiki -p keiki-runtime --bins)
    work=$(mktemp -d "${TMPDIR:-/dev/shm}/keiki-bench.XXXXXX")
    trap 'rm -rf --one-file-system "$work"' EXIT
    trap 'exit 130' INT TERM
    KEIKI_BENCH_INSIDE=$work unshare --mount --propagation private "$0" "$size" "${filesystems[@]}"
    exit
fi

work=$KEIKI_BENCH_INSIDE
keiki=${KEIKI_BIN:-${CARGO_TARGET_DIR:-$here/target}/release}/keiki
mkdir "$work/mount"
echo "load: $(cut -d' ' -f1-3 /proc/loadavg); kernel $(uname -r); image below ${TMPDIR:-/dev/shm}; container of $size"
for filesystem in "${filesystems[@]}"; do
    command -v "mkfs.$filesystem" >/dev/null || { echo "skipped: needs mkfs.$filesystem"; continue; }
    truncate -s 16G "$work/image"
    "mkfs.$filesystem" -q "$work/image" >/dev/null 2>&1
    mount -o loop "$work/image" "$work/mount"
    export KEIKI_STATE=$work/mount/state
    "$keiki" -q -P "$work/mount/lxc" create base --bdev loop --fssize "$size" --template none
    python3 - "$keiki" "$work/mount" "$filesystem" <<'PYTHON'
import fcntl, os, statistics, subprocess, sys, time

keiki, top, filesystem = sys.argv[1:]
lxc = f"{top}/lxc"
FICLONE = 0x40049409
image = os.open(f"{lxc}/base/rootdev", os.O_RDWR)
# Content to share: a file of extents, not one that is all hole.
for n in range(64):
    os.pwrite(image, os.urandom(1 << 20), (n * 8 + 4 << 20) if n else 512 << 20)
os.fsync(image)

def k(*words):
    begin = time.monotonic()
    subprocess.run([keiki, "-q", "-P", lxc, *words], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - begin

def bare(name, durable=()):
    begin = time.monotonic()
    os.makedirs(f"{top}/bare/{name}")
    file = os.open(f"{top}/bare/{name}/rootdev", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    fcntl.ioctl(file, FICLONE, image)
    for path in durable:
        os.setxattr(file, "trusted.keiki.id", b"0" * 32)
        os.fsync(file)
        for directory in (f"{top}/bare/{name}", f"{top}/bare"):
            fd = os.open(directory, os.O_RDONLY)
            os.fsync(fd)
            os.close(fd)
        break
    os.close(file)
    return time.monotonic() - begin

ways = {
    "clone": lambda n: k("clone", "--snapshot", "base", f"c{n}"),
    "snapshot": lambda n: k("snapshot", "create", "base"),
    "bare": lambda n: bare(f"a{n}"),
    "bare+durable": lambda n: bare(f"b{n}", ("all",)),
    "process": lambda n: k("--version"),
}
times = {way: [] for way in ways}
for n in range(25):
    for way, run in ways.items():
        times[way].append(run(n))
for what in ("clone", "snapshot"):
    for peer in ("bare", "bare+durable"):
        for kind, of in (("median", statistics.median), ("best", min)):
            ours, theirs = of(times[what]), of(times[peer])
            print(f"{filesystem + ', one ' + what + ' against ' + peer:44} {kind:6}  keiki {ours * 1000:8.2f} ms   bare {theirs * 1000:8.2f} ms   ratio {ours / theirs:5.2f}", flush=True)
print(f"  of which a process that does nothing {statistics.median(times['process']) * 1000:8.2f} ms")
PYTHON
    umount "$work/mount"
    rm "$work/image"
done
