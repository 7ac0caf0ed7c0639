#!/bin/bash
# Native clones and snapshots through the whole of Keiki against the kernel's bare primitive, on btrfs; ratios of one run.
#
#   tests/bench/native.sh [COUNT]
#
# The primitive is the ioctl itself, from a process that is running already, into a directory of its own; Keiki's time is that of
# the command: a process, identity, configuration, two durable transactions, a barrier. COUNT containers (10,000) are made for
# the last part. Containers and catalogue are on one btrfs in an image below TMPDIR (/dev/shm by default, where a commit is
# cheapest and our share is seen most clearly; TMPDIR=/var/tmp for a disk). Needs root, btrfs-progs, python3; leaves nothing behind.
set -euo pipefail

here=$(cd "$(dirname "$0")/../.." && pwd)
count=${1:-10000}
if [ -z "${KEIKI_BENCH_INSIDE:-}" ]; then
    [ "$(id -u)" = 0 ] || { echo "skipped: needs root"; exit 0; }
    command -v mkfs.btrfs >/dev/null || { echo "skipped: needs mkfs.btrfs"; exit 0; }
    [ -n "${KEIKI_BIN:-}" ] || (cd "$here" && cargo build --quiet --release -p keiki -p keiki-runtime --bins)
    work=$(mktemp -d "${TMPDIR:-/dev/shm}/keiki-bench.XXXXXX")
    trap 'rm -rf --one-file-system "$work"' EXIT
    trap 'exit 130' INT TERM
    KEIKI_BENCH_INSIDE=$work unshare --mount --propagation private "$0" "$count"
    exit
fi

work=$KEIKI_BENCH_INSIDE
keiki=${KEIKI_BIN:-${CARGO_TARGET_DIR:-$here/target}/release}/keiki
truncate -s 16G "$work/image"
mkfs.btrfs -q "$work/image" >/dev/null 2>&1
mkdir "$work/mount"
mount -o loop "$work/image" "$work/mount"
cd "$work/mount"
export KEIKI_STATE=$PWD/state
echo "load: $(cut -d' ' -f1-3 /proc/loadavg); kernel $(uname -r); image below ${TMPDIR:-/dev/shm}"
"$keiki" -q -P "$PWD/lxc" create base --bdev btrfs --template none
mkdir "lxc/base/rootfs/d"
for n in $(seq 500); do echo "$n" > "lxc/base/rootfs/d/$n"; done
sync -f .
python3 - "$keiki" "$PWD" "$count" <<'PYTHON'
import fcntl, os, statistics, struct, subprocess, sys, time
from concurrent.futures import ThreadPoolExecutor

keiki, top, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
lxc = f"{top}/lxc"
SNAP_CREATE_V2 = 0x50009417
READ_ONLY = 2
source = os.open(f"{lxc}/base/rootfs", os.O_RDONLY)

def k(*words):
    begin = time.monotonic()
    subprocess.run([keiki, "-q", "-P", lxc, *words], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - begin

def bare(name, flags=0):
    begin = time.monotonic()
    os.makedirs(f"{top}/bare/{name}")
    parent = os.open(f"{top}/bare/{name}", os.O_RDONLY)
    args = bytearray(struct.pack("=qQQ4Q4040s", source, 0, flags, 0, 0, 0, 0, b"rootfs"))
    fcntl.ioctl(parent, SNAP_CREATE_V2, args)
    os.close(parent)
    return time.monotonic() - begin

def settle():
    subprocess.run(["btrfs", "filesystem", "sync", top], check=True, stdout=subprocess.DEVNULL)

def drop_bare():
    for name in os.listdir(f"{top}/bare"):
        subprocess.run(["btrfs", "-q", "subvolume", "delete", f"{top}/bare/{name}/rootfs"], check=True)
        os.rmdir(f"{top}/bare/{name}")
    settle()

def tell(what, ours, theirs, goal):
    verdict = "met" if ours / theirs <= goal else "MISSED"
    print(f"{what:44} keiki {ours * 1000:9.2f} ms   bare {theirs * 1000:9.2f} ms   ratio {ours / theirs:5.2f}  goal {goal}: {verdict}", flush=True)

os.makedirs(f"{top}/bare")
ones = {"clone": ([], []), "snapshot": ([], [])}
for n in range(15):
    ones["clone"][0].append(k("clone", "--snapshot", "base", f"one{n}"))
    ones["clone"][1].append(bare(f"one{n}"))
    ones["snapshot"][0].append(k("snapshot", "create", "base"))
    ones["snapshot"][1].append(bare(f"snap{n}", READ_ONLY))
for what, (ours, theirs) in ones.items():
    tell(f"one {what}", statistics.median(ours), statistics.median(theirs), 1.25)
start = statistics.median(k("info", "base") for _ in range(15))
print(f"  of which any command (keiki info base)       keiki {start * 1000:9.2f} ms")

ours, serial, threads = [], [], []
for n in range(5):
    settle()
    ours.append(k("clone", "--snapshot", "base", *[f"batch{n}x{m}" for m in range(100)]))
    settle()
    begin = time.monotonic()
    for m in range(100):
        bare(f"batch{n}x{m}")
    serial.append(time.monotonic() - begin)
    settle()
    begin = time.monotonic()
    with ThreadPoolExecutor(64) as pool:
        list(pool.map(lambda m: bare(f"threads{n}x{m}"), range(100)))
    threads.append(time.monotonic() - begin)
tell("100 clones against 100 ioctls", statistics.median(ours), statistics.median(serial), 1.1)
tell("100 clones against 100 ioctls by 64 threads", statistics.median(ours), statistics.median(threads), 1.1)
drop_bare()

thousand = k("clone", "--snapshot", "base", *[f"thousand{m}" for m in range(1000)])
settle()
begin = time.monotonic()
for m in range(1000):
    os.makedirs(f"{top}/bare/{m}")
    subprocess.run(["btrfs", "-q", "subvolume", "snapshot", f"{lxc}/base/rootfs", f"{top}/bare/{m}/rootfs"], check=True)
tell("1,000 clones against `btrfs subvolume snapshot`", thousand, time.monotonic() - begin, 0.25)
drop_bare()

def latencies(tag):
    create = statistics.median(k("create", f"{tag}create{n}", "--bdev", "btrfs", "--template", "none") for n in range(9))
    clone = statistics.median(k("clone", "--snapshot", "base", f"{tag}clone{n}") for n in range(9))
    info = statistics.median(k("info", "base") for _ in range(9))
    ls = statistics.median(k("ls") for _ in range(5))
    return {"create": create, "clone": clone, "info": info, "ls": ls}

# A lxcpath and a catalogue of their own, so that ten are ten.
def fresh(size):
    global lxc, source
    lxc = f"{top}/lxc{size}"
    os.environ["KEIKI_STATE"] = f"{top}/state{size}"
    k("create", "base", "--bdev", "btrfs", "--template", "none")
    for first in range(1, size, 500):
        k("clone", "--snapshot", "base", *[f"c{n}" for n in range(first, min(first + 500, size))])
    settle()
    return latencies("x")

few, many = fresh(10), fresh(count)
for what in ("create", "clone", "info"):
    tell(f"{what} among {count:,} against among 10", many[what], few[what], 1.2)
print(f"ls of {count:,}: {many['ls'] * 1000:.0f} ms, of 10: {few['ls'] * 1000:.1f} ms; for one {many['ls'] / count * 1e6:.1f} us and {few['ls'] / 10 * 1e6:.1f} us")
PYTHON
