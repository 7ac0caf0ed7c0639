#!/bin/bash
# Clones through the whole of Keiki against bare mkdirs, and answers about 10,000 containers; ratios of one run.
#
#   tests/bench/clones.sh [COUNT]
#
# The bare primitive of an overlay clone is its directories: home, overlay, delta, work. Keiki adds what makes it a clone: identity,
# configuration, relations, two durable transactions and a barrier. Needs hyperfine; leaves nothing behind.
set -euo pipefail
cd "$(dirname "$0")/../.."
count=${1:-10000}
command -v hyperfine >/dev/null || { echo "error: no hyperfine here (apt-get install hyperfine)" >&2; exit 9; }
cargo build --release --quiet --bins -p keiki -p keiki-runtime
keiki=${CARGO_TARGET_DIR:-$PWD/target}/release/keiki
work=$(mktemp -d /var/tmp/keiki-bench.XXXXXX)
trap 'rm -rf --one-file-system "$work"' EXIT
export KEIKI_STATE=$work/state
lxcpath=$work/lxc
mkdir -p "$lxcpath"
k() { "$keiki" -P "$lxcpath" --quiet "$@"; }
seconds() { local begin end; begin=$(date +%s.%N); "$@" >/dev/null; end=$(date +%s.%N); echo "$end - $begin" | bc -l; }
bare() { # COUNT: the directories of so many clones, durable
    local n
    for n in $(seq "$1"); do echo "$work/bare/c$n/overlay/delta"; echo "$work/bare/c$n/overlay/work"; done | xargs mkdir -p
    sync -f "$work"
    rm -rf "$work/bare"
}

echo "load: $(cut -d' ' -f1-3 /proc/loadavg); kernel $(uname -r)"
k create base --template none
echo
echo "== one clone, and one bare set of directories (sync included in both)"
hyperfine --style none --warmup 3 --runs 20 --export-json "$work/one.json" \
    --prepare "sh -c '$keiki -P $lxcpath --quiet destroy one 2>/dev/null || true'" -N -i "$keiki -P $lxcpath --quiet clone --snapshot base one" \
    --prepare "rm -rf $work/b" "sh -c 'mkdir -p $work/b/overlay/delta $work/b/overlay/work && sync -f $work/b'" >/dev/null
python3 - "$work/one.json" <<'P'
import json, sys
clone, bare = json.load(open(sys.argv[1]))["results"]
print(f"keiki clone {clone['median'] * 1000:.1f} ms, bare mkdirs {bare['median'] * 1000:.1f} ms, ratio {clone['median'] / bare['median']:.2f}")
P
k destroy one 2>/dev/null || true

echo
echo "== 1,000 clones in one command"
batch=$(seconds k clone --snapshot base $(seq -f 'batch%g' 1 1000))
plain=$(seconds bare 1000)
echo "keiki clone x1000 $(printf %.2f "$batch") s, bare mkdirs x1000 $(printf %.2f "$plain") s, ratio $(echo "$batch / $plain" | bc -l | xargs printf %.2f)"

echo
echo "== answers about $count containers"
for from in $(seq 1001 1000 "$count"); do
    k clone --snapshot base $(seq -f 'batch%g' "$from" $((from + 999))) >/dev/null
done
hyperfine --style none --warmup 2 --runs 15 --export-json "$work/answers.json" -N \
    "$keiki -P $lxcpath ls" "$keiki -P $lxcpath tree" "$keiki -P $lxcpath info batch500" "$keiki -P $lxcpath info base" >/dev/null
python3 - "$work/answers.json" <<'P'
import json, sys
for result in json.load(open(sys.argv[1]))["results"]:
    command = result["command"].split("/lxc ")[1]
    print(f"keiki {command}: median {result['median'] * 1000:.0f} ms, min {result['min'] * 1000:.0f} ms (goal 150 ms)")
P
echo "processes run by keiki ls: $(strace -f -e trace=execve "$keiki" -P "$lxcpath" ls 2>&1 >/dev/null | grep -c execve || true) (its own start is one)"
