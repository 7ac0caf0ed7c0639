#!/bin/sh
# Compares keiki's tree copy with `cp -a` and `rsync -aHAXS` on a tree of about 70,000 entries, in one run.
#
# usage: tests/bench/copy.sh [ENTRIES]
#
# For each file system a fresh image is mounted in a private mount namespace, so that nothing is left behind when the
# script ends or dies. Nothing is deleted between copies: ext4 passes over inodes freed in the last minute, which
# would punish whoever comes second. Every tool copies a warm tree, ROUNDS times in turn; the medians count.
set -eu

here=$(cd "$(dirname "$0")/../.." && pwd)
entries=${1:-70000}
rounds=${ROUNDS:-3}
systems=${SYSTEMS:-"ext4 xfs btrfs"}

if [ -z "${KEIKI_BENCH_INSIDE:-}" ]; then
    [ "$(id -u)" = 0 ] || { echo "skipped: needs root"; exit 0; }
    (cd "$here" && cargo build --quiet --release -p keiki-tree --example tree)
    work=$(mktemp -d "${TMPDIR:-/var/tmp}/keiki-bench.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' INT TERM
    KEIKI_BENCH_INSIDE=$work unshare --mount --propagation private "$0" "$entries"
    exit
fi

work=$KEIKI_BENCH_INSIDE
tree=$here/target/release/examples/tree
[ -x "$tree" ] || tree=${CARGO_TARGET_DIR:?}/release/examples/tree

# Prints the seconds that a command takes, without the write-back of what came before.
seconds() {
    sync -f .
    begin=$(date +%s%N)
    "$@" >/dev/null
    end=$(date +%s%N)
    awk -v n=$((end - begin)) 'BEGIN { printf "%.3f\n", n / 1e9 }'
}

median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }

ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'; }

printf '%-8s %-22s %8s %8s %10s\n' "system" "copy" "seconds" "of cp" "of rsync"
for system in $systems; do
    command -v "mkfs.$system" >/dev/null || { echo "skipped: needs mkfs.$system"; continue; }
    image=$work/$system.img
    truncate -s 24G "$image"
    case $system in
        ext4) mkfs.ext4 -q -N 1500000 "$image" ;;
        *) "mkfs.$system" -q "$image" >/dev/null 2>&1 ;;
    esac
    mkdir "$work/$system"
    mount -o loop "$image" "$work/$system"
    cd "$work/$system"
    "$tree" make src "$entries"
    sync -f .
    "$tree" hash src > "$work/hash"
    for round in $(seq "$rounds"); do
        seconds cp -a --reflink=never src "cp$round" >> "$work/$system.cp"
        seconds "$tree" copy-bytes src "bytes$round" >> "$work/$system.bytes"
        seconds rsync -aHAXS src/ "rsync$round/" >> "$work/$system.rsync"
        if [ "$system" != ext4 ]; then
            seconds cp -a --reflink=always src "cpreflink$round" >> "$work/$system.cpreflink"
            seconds "$tree" copy src "reflink$round" >> "$work/$system.reflink"
        fi
    done
    "$tree" hash bytes1 | cmp - "$work/hash"
    [ "$system" = ext4 ] || "$tree" hash reflink1 | cmp - "$work/hash"
    cp_time=$(median < "$work/$system.cp")
    rsync_time=$(median < "$work/$system.rsync")
    for tool in cp rsync bytes cpreflink reflink; do
        [ -e "$work/$system.$tool" ] || continue
        time=$(median < "$work/$system.$tool")
        case $tool in
            cp) name="cp -a" ;;
            rsync) name="rsync -aHAXS" ;;
            bytes) name="keiki" ;;
            cpreflink) name="cp -a --reflink" cp_time=$time ;;
            reflink) name="keiki, reflink" ;;
        esac
        printf '%-8s %-22s %8s %8s %10s\n' "$system" "$name" "$time" \
            "$(ratio "$time" "$cp_time")" "$(ratio "$time" "$rsync_time")"
    done
    cd "$work"
    umount "$work/$system"
    rm "$image"
done
