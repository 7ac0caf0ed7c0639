#!/bin/bash
# Native clones and snapshots through the whole of Keiki against the kernel's bare primitive, on btrfs; ratios of one run.
#
#   tests/bench/native.sh [COUNT]
#
# Three peers, because they promise different things:
#   bare           the ioctl from a process that runs already, into a directory of its own. It waits for one commit, so the snapshot
#                  and its directory are on the disk when it returns; there is no identity, no configuration, no record.
#   bare+durable   the same, marked as ours (one attribute) and synced (`syncfs`): what Keiki promises of the volume alone.
#   tool           `btrfs subvolume snapshot`: a process as well.
# Keiki's time is that of the command: a process, identity, configuration, journal, barrier, the home in its place. Runs are
# interleaved; medians are compared, and the best of each, which other work on the machine disturbs less. COUNT containers
# (10,000; 0 for none) are made for the last part. Containers and catalogue are on one btrfs in an image below TMPDIR (/dev/shm by default, where a commit is
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
import ctypes, fcntl, os, statistics, struct, subprocess, sys, time
from concurrent.futures import ThreadPoolExecutor

keiki, top, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
lxc = f"{top}/lxc"
SNAP_CREATE_V2 = 0x50009417
SUBVOL_SETFLAGS = 0x4008941A
READ_ONLY = 2
libc = ctypes.CDLL(None, use_errno=True)
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

def durable(name, flags=0):
    begin = time.monotonic()
    bare(name)
    made = os.open(f"{top}/bare/{name}/rootfs", os.O_RDONLY)
    os.setxattr(made, "trusted.keiki.id", b"0" * 65)
    if flags & READ_ONLY:
        fcntl.ioctl(made, SUBVOL_SETFLAGS, struct.pack("=Q", READ_ONLY))
    os.close(made)
    directory = os.open(f"{top}/bare/{name}", os.O_RDONLY)
    if libc.syncfs(directory):
        raise OSError(ctypes.get_errno(), "syncfs")
    os.close(directory)
    return time.monotonic() - begin

def tool(name, *options):
    begin = time.monotonic()
    os.makedirs(f"{top}/bare/{name}")
    words = ["btrfs", "-q", "subvolume", "snapshot", *options, f"{lxc}/base/rootfs", f"{top}/bare/{name}/rootfs"]
    subprocess.run(words, check=True)
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
def process():
    begin = time.monotonic()
    subprocess.run([keiki, "--version"], check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - begin

ways = {
    ("clone", "keiki"): lambda n: k("clone", "--snapshot", "base", f"one{n}"),
    ("clone", "bare"): lambda n: bare(f"one{n}"),
    ("clone", "bare+durable"): lambda n: durable(f"sure{n}"),
    ("clone", "tool"): lambda n: tool(f"tool{n}"),
    ("snapshot", "keiki"): lambda n: k("snapshot", "create", "base"),
    ("snapshot", "bare"): lambda n: bare(f"snap{n}", READ_ONLY),
    ("snapshot", "bare+durable"): lambda n: durable(f"suresnap{n}", READ_ONLY),
    ("snapshot", "tool"): lambda n: tool(f"toolsnap{n}", "-r"),
    ("any command", "info"): lambda n: k("info", "base"),
    ("any command", "process"): lambda n: process(),
}
seen = {way: [] for way in ways}
for n in range(30):
    for way, run in ways.items():
        seen[way].append(run(n))
for what in ("clone", "snapshot"):
    for peer in ("bare", "bare+durable", "tool"):
        ours, theirs = seen[what, "keiki"], seen[what, peer]
        tell(f"one {what} against {peer}", statistics.median(ours), statistics.median(theirs), 1.25)
        print(f"{'  the best of 30':44} keiki {min(ours) * 1000:9.2f} ms   bare {min(theirs) * 1000:9.2f} ms   ratio {min(ours) / min(theirs):5.2f}")
for what, way in (("a process that does nothing (--version)", "process"), ("one that opens and reads (info base)", "info")):
    times = seen["any command", way]
    print(f"  of which {what:35} {statistics.median(times) * 1000:9.2f} ms, best {min(times) * 1000:9.2f} ms")
drop_bare()

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
    tool(m)
tell("1,000 clones against `btrfs subvolume snapshot`", thousand, time.monotonic() - begin, 0.25)
drop_bare()

# A lxcpath and a catalogue of their own, so that ten are ten.
def among(size):
    global lxc
    lxc = f"{top}/lxc{size}"
    os.environ["KEIKI_STATE"] = f"{top}/state{size}"

def fresh(size):
    among(size)
    k("create", "base", "--bdev", "btrfs", "--template", "none")
    for first in range(1, size, 500):
        k("clone", "--snapshot", "base", *[f"c{n}" for n in range(first, min(first + 500, size))])
    settle()

if count == 0:
    sys.exit()
fresh(10)
fresh(count)
verbs = {
    "create": lambda n: k("create", f"xcreate{n}", "--bdev", "btrfs", "--template", "none"),
    "clone": lambda n: k("clone", "--snapshot", "base", f"xclone{n}"),
    "info of a clone": lambda n: k("info", "c1"),
    "info of the parent of all": lambda n: k("info", "base"),
    "ls": lambda n: k("ls"),
}
times = {(what, size): [] for what in verbs for size in (10, count)}
for n in range(21):
    for what, run in verbs.items():
        for size in (10, count):
            among(size)
            times[what, size].append(run(n))
for what in ("create", "clone", "info of a clone", "info of the parent of all"):
    many, few = times[what, count], times[what, 10]
    tell(f"{what} among {count:,} against 10", statistics.median(many), statistics.median(few), 1.2)
    print(f"{'  the best of 21':44} {min(many) * 1000:15.2f} ms        {min(few) * 1000:9.2f} ms   ratio {min(many) / min(few):5.2f}")
many, few = statistics.median(times["ls", count]), statistics.median(times["ls", 10])
print(f"ls of {count:,}: {many * 1000:.0f} ms, of 10: {few * 1000:.1f} ms; for one {many / count * 1e6:.1f} us and {few / 10 * 1e6:.1f} us")
PYTHON
