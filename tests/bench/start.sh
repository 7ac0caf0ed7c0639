#!/bin/sh
# Compares keiki's start with `lxc-start`, and a whole life of /bin/true with `crun run`, in one run on one system.
#
# usage: tests/bench/start.sh [RUNS]
#
# Between runs the machine is idle for 100 ms: loops without gaps hide what a grace period of RCU costs, and idle is
# what users have. Medians count. Everything happens below one temporary directory; crun gets a private mount namespace
# with a pure version 2 tree of cgroups, which it needs and which suits it best.
set -eu

here=$(cd "$(dirname "$0")/../.." && pwd)
runs=${1:-30}
[ "$(id -u)" = 0 ] || { echo "skipped: needs root"; exit 0; }
for tool in lxc-start crun hyperfine busybox; do
    command -v "$tool" >/dev/null || { echo "skipped: needs $tool"; exit 0; }
done

# On a machine that does other things too, a high priority for all of them keeps the comparison fair. Real time would be
# better, but the kernel lets no real-time process into the version 1 cgroups that lxc-start uses.
if [ -z "${KEIKI_BENCH_INSIDE:-}" ]; then
    [ -n "${KEIKI_BIN:-}" ] || (cd "$here" && cargo build --quiet --release -p keiki -p keiki-runtime --bins)
    KEIKI_BENCH_INSIDE=1 exec nice -n -20 "$0" "$runs"
fi

bin=${KEIKI_BIN:-$here/target/release}
work=$(mktemp -d /var/tmp/keiki-bench.XXXXXX)
# The name is part of cgroups' names: somebody else's bench must not get in the way.
name=b$$
export KEIKI_STATE=$work/state KEIKI_RUN=$work/run KEIKI_MONITOR=$bin/keiki-monitor
PATH=$bin:$PATH

clean_up() {
    keiki -q -P "$work/lxc" stop --kill "$name" 2>/dev/null || true
    lxc-stop -P "$work/lxc" -n "$name" -k 2>/dev/null || true
    rm -rf --one-file-system "$work"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

system() {
    mkdir -p "$1/bin" "$1/sbin" "$1/dev" "$1/proc" "$1/sys" "$1/etc" "$1/tmp"
    cp "$(command -v busybox)" "$1/bin/busybox"
    for program in sh sleep true; do ln -sf busybox "$1/bin/$program"; done
}

# One container for both: LXC reads what keiki reads.
mkdir -p "$work/lxc/$name/rootfs"
system "$work/lxc/$name/rootfs"
cat >"$work/lxc/$name/config" <<CONFIG
lxc.rootfs.path = dir:$work/lxc/$name/rootfs
lxc.uts.name = $name
lxc.init.cmd = /bin/sleep 1000
lxc.tty.max = 4
lxc.pty.max = 1024
lxc.mount.auto = proc:mixed sys:mixed cgroup:mixed
lxc.cap.drop = mac_admin mac_override sys_time sys_module sys_rawio
lxc.net.0.type = empty
CONFIG

mkdir -p "$work/crun/rootfs"
system "$work/crun/rootfs"
(cd "$work/crun" && crun spec)
python3 - "$work/crun/config.json" <<'PYTHON'
import json, sys
path = sys.argv[1]
spec = json.load(open(path))
spec["process"].update(args=["/bin/true"], terminal=False)
spec["process"].pop("rlimits", None)
spec["linux"].pop("resources", None)
spec["linux"]["namespaces"].append({"type": "cgroup"})
spec["root"]["readonly"] = False
json.dump(spec, open(path, "w"))
PYTHON

cat >"$work/stop-lxc" <<STOP
#!/bin/sh
# lxc-stop answers before LXC's monitor is gone.
lxc-stop -P $work/lxc -n $name -k 2>/dev/null
while grep -q "@$work/lxc/$name/command" /proc/net/unix; do sleep 0.01; done
sleep 0.1
STOP
cat >"$work/stop-keiki" <<STOP
#!/bin/sh
keiki -q -P $work/lxc stop --kill $name
sleep 0.1
STOP
chmod +x "$work/stop-lxc" "$work/stop-keiki"

measure() {
    label=$1 prepare=$2
    shift 2
    hyperfine -N --style none --warmup 3 --runs "$runs" --prepare "$prepare" --export-json "$work/$label.json" "$@" >/dev/null
}

keiki -q -P "$work/lxc" ls >/dev/null
measure keiki-start "$work/stop-keiki" "keiki -q -P $work/lxc start $name"
"$work/stop-keiki"
measure lxc-start "$work/stop-lxc" "lxc-start -P $work/lxc -n $name"
"$work/stop-lxc"
measure keiki-run "sleep 0.1" "keiki -q -P $work/lxc run $name -- /bin/true"
measure lxc-execute "sleep 0.1" "lxc-start -F -P $work/lxc -n $name -- /bin/true"
unshare --mount --propagation private sh -c '
    umount -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup && cd "$1" && shift && "$@"
' sh "$work/crun" hyperfine -N --style none --warmup 3 --runs "$runs" --prepare "sleep 0.1" \
    --export-json "$work/crun-run.json" "crun --root $work/crun-state --cgroup-manager=cgroupfs run $name" >/dev/null

keiki -q -P "$work/lxc" start "$name"
measure keiki-attach "sleep 0.1" "keiki -P $work/lxc attach $name -- /bin/true"
keiki -q -P "$work/lxc" stop --kill "$name"
lxc-start -P "$work/lxc" -n "$name"
measure lxc-attach "sleep 0.1" "lxc-attach -P $work/lxc -n $name -- /bin/true"
"$work/stop-lxc"

python3 - "$work" <<'PYTHON'
import json, sys
median = lambda label: json.load(open(f"{sys.argv[1]}/{label}.json"))["results"][0]["median"] * 1000
print(f"load: {open('/proc/loadavg').read().split()[0]}")
pairs = [
    ("start until RUNNING", "keiki-start", "lxc-start", 0.3),
    ("life of /bin/true", "keiki-run", "crun-run", 1.0),
    ("life of /bin/true", "keiki-run", "lxc-execute", None),
    ("attach /bin/true", "keiki-attach", "lxc-attach", None),
]
for what, ours, theirs, goal in pairs:
    a, b = median(ours), median(theirs)
    verdict = "" if goal is None else f"  goal {goal}: {'met' if a / b <= goal else 'MISSED'}"
    print(f"{what:22} {ours} {a:6.2f} ms   {theirs} {b:6.2f} ms   ratio {a / b:.2f}{verdict}")
PYTHON
