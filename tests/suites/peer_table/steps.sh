#!/bin/bash
# The steps of the peer's table on one store, each with what it must answer.
#
#   steps.sh STORE PROGRAMS      dir, overlay, btrfs, loop, loop-xfs (images that share extents), lvm, lvm-thin or zfs
#
# Prints claims, and for each step `cell STEP|STORE|ANSWER`, of which peer_table.sh makes the table. The answer is the exit code that was
# seen, with a word on what was done.
set -uo pipefail
cd "$(dirname "$0")/../../.."
. tests/lib/claims.sh
. tests/lib/ground.sh
. tests/lib/pools.sh
store=$1 programs=$2
work=$(mktemp -d /var/tmp/keiki-peer.XXXXXX)
export KEIKI_STATE=$work/ground/state KEIKI_RUN=$work/run KEIKI_LXC_CONF=$work/lxc.conf
: >"$work/lxc.conf"
P=$work/ground/lxc
keiki() { "$programs/keiki" -P "$P" "$@"; }
finish() {
    for name in $(keiki ls -1 --running 2>/dev/null); do keiki stop --kill "$name" >/dev/null 2>&1; done
    for _ in 1 2 3; do
        for name in $(keiki ls -1 2>/dev/null); do keiki destroy -q --with-dependents "$name" >/dev/null 2>&1; done
    done
    drop_pools
    drop_ground "$work/ground"
    rm -rf --one-file-system "$work"
}
trap finish EXIT

# What differs between the stores, in words of their capabilities.
ground=here shares=0 depends=0 chain=0 parent=0 stacks=0 sort=$store
case $store in
    dir | overlay) depends=1 parent=5 stacks=1 ;;
    btrfs) ground=btrfs ;;
    loop) shares=7 ;; # on a ground without reflinks
    loop-xfs) ground=xfs ;;
    lvm) depends=1 chain=7 parent=5 ;;
    zfs) depends=1 ;;
esac
kind=${store%%-*}
make_ground "$work/ground" "$ground" && make_pool "${store%-xfs}" || exit 9
mkdir -p "$P"
# Small ones will do.
pool_options=("${pool_options[@]/%2G/64M}")

# `step NAME CODE TEXT COMMAND…`: the command must answer with the code; `TEXT` goes into the cell.
step() {
    local name=$1 want=$2 text=$3 code=0 output
    shift 3
    output=$("$@" 2>&1) || code=$?
    echo "cell $name|$store|=> $code${text:+ $text}"
    said=$output
    if [ "$code" -eq "$want" ]; then
        claims_passed=$((claims_passed + 1))
        echo "ok   $store: $name: exit code $code"
    else
        claims_failed=$((claims_failed + 1))
        echo "FAIL $store: $name: exit code $code, expected $want: $*"
        sed 's/^/       /' <<<"$output"
    fi
}
source_of() { sed -n 's/^lxc.rootfs.path = //p' "$P/$1/config"; }
origin_of() { keiki info "$1" --format json | sed -n 's/^  "origin": "\{0,1\}\([^",]*\)"\{0,1\},*$/\1/p'; }
put() { keiki run "$1" -- sh -c "mkdir -p /etc; echo $2 >/etc/state; sync"; }
holds() { says "$2" keiki run --rm "$1" -- cat /etc/state; }
gone() { keiki destroy -q "$@" >/dev/null; }
new() { keiki create -q "$1" --template busybox "${pool_options[@]}"; }

# --- create
step "create" 0 "" keiki create a --template busybox "${pool_options[@]}"
case $kind in
    dir | btrfs) want="$kind:$P/a/rootfs" ;;
    overlay) want="overlay:$P/a/rootfs:$P/a/overlay/delta" ;;
    loop) want="loop:$P/a/rootdev" ;;
    lvm) want="lvm:/dev/tank/a" ;;
    zfs) want="zfs:tank/lxc/a" ;;
esac
claim "$store: lxc.rootfs.path is as LXC writes it" test "$(source_of a)" = "$want"
claim "$store: a container runs and is written" put a first
step "create, name taken" 4 "" keiki create a --template busybox "${pool_options[@]}"

# --- copies and clones
step "copy" 0 "independent" keiki clone --copy a copy
claim "$store: the copy holds what its source held" holds copy first
step "copy -s" $shares "$([ $shares -ne 0 ] && echo 'no reflinks on this ground' || { [ $depends -eq 1 ] && echo 'shares data, dependent' || echo 'shares data, independent'; })" keiki clone --snapshot a s
if [ $shares -eq 0 ]; then
    claim "$store: the clone holds what its source held" holds s first
    step "clone of clone" $chain "$([ $chain -eq 0 ] || echo 'no snapshot of a snapshot')" keiki clone --snapshot s t
    step "full copy of a snapshot clone" 0 "independent" keiki clone --copy s full
    claim "$store: the full copy holds what the clone held" holds full first
    if [ $depends -eq 1 ]; then
        claim "$store: lxc_snapshots and lxc_rdepends tell the relation" grep -qx s "$P/a/lxc_snapshots"
        echo "cell lxc_snapshots, lxc_rdepends|$store|written"
    else
        claim "$store: no relation is written where none is" test ! -e "$P/a/lxc_snapshots"
        echo "cell lxc_snapshots, lxc_rdepends|$store|none: nobody depends"
    fi
    if [ "$chain" -eq 0 ]; then
        step "destroy of the middle clone" $parent "$([ $parent -eq 0 ] && [ $depends -eq 1 ] && echo 'ghost until the last clone goes')" keiki destroy s
        claim "$store: the end of the chain is whole" holds t first
        gone t
    fi
    [ $parent -eq 0 ] && [ "$chain" -eq 0 ] && keiki clone -q --snapshot a s
    step "rename of a snapshot clone" 0 "$([ $depends -eq 1 ] && echo 'stays one: nothing is copied' || echo 'nothing is copied')" keiki rename s r
    claim "$store: it still comes from its origin" test "$(origin_of r)" = a
    case $store in
        dir | overlay) step "rename of a parent of snapshots" 5 "names the clone" keiki rename a z ;;
        *) step "rename of a parent of snapshots" 0 "the clones follow" keiki rename a z && keiki rename -q z a ;;
    esac
    claim "$store: the clone is whole" holds r first
    step "destroy of a parent with snapshot children" $parent "$([ $parent -ne 0 ] && echo 'names the clone' || { [ $depends -eq 1 ] && echo 'ghost; the clone goes on' || echo 'the clone goes on'; })" keiki destroy a
    claim "$store: the clone of it is whole (defect 1)" holds r first
    gone r
    [ $parent -ne 0 ] || new a
else
    for cell in "clone of clone" "full copy of a snapshot clone" "lxc_snapshots, lxc_rdepends" "destroy of the middle clone" \
        "rename of a snapshot clone" "rename of a parent of snapshots" "destroy of a parent with snapshot children"; do
        echo "cell $cell|$store|- (no snapshot clones here)"
    done
fi
for name in copy full; do [ ! -e "$P/$name" ] || gone $name; done
step "rename, no relations" 0 "nothing is copied" keiki rename a z
keiki rename -q z a

# --- snapshots
put a one >/dev/null
step "snapshot" 0 "" keiki snapshot create a -c "the first"
put a two >/dev/null
step "snapshot, again" 0 "" keiki snapshot create a
step "snapshot -L" 0 "by time, with comments" keiki snapshot list a
claim "$store: the list has the comment" grep -q "the first" <<<"$said"
step "-r snap0 -N new" 0 "$([ "$store" = lvm ] && echo 'by a copy, and says so')" keiki snapshot restore a snap0 --as new
claim "$store: it holds what the snapshot held" holds new one
step "-r snap0 in place" 0 "$([ "$store" = lvm ] && echo 'by a copy')" keiki snapshot restore a snap0
claim "$store: it holds what the snapshot held" holds a one
case $store in
    dir) step "-d snap0 while a restored container depends on it" 5 "names it" keiki snapshot destroy a snap0; gone new; keiki snapshot destroy -q a snap0 ;;
    overlay) step "-d snap0 while a restored container depends on it" 0 "its layer stays" keiki snapshot destroy a snap0 ;;
    *) step "-d snap0 while a restored container depends on it" 0 "" keiki snapshot destroy a snap0 ;;
esac
[ ! -e "$P/new" ] || claim "$store: the restored container is whole" holds new one
claim "$store: the container is whole" holds a one
step "next snapshot after deleting snap0 of {0,1}" 0 "" keiki snapshot create a
claim "$store: it is snap0 again" grep -q "a@snap0" <<<"$said"
step "-d of a snapshot that is not there" 3 "" keiki snapshot destroy a snap7
step "destroy with snapshots, no -s" 5 "names them" keiki destroy a
[ ! -e "$P/new" ] || gone new
step "destroy -s" 0 "all or nothing" keiki destroy --with-snapshots a

# --- what runs
new a
step "copy -e" 0 "gone after stop" keiki run --rm a -- true
claim "$store: nothing of it is left" test "$(keiki ls -1)" = a
step "copy -e -t (tmpfs)" $((stacks ? 0 : 7)) "$([ $stacks -eq 1 ] || echo 'said, not pretended')" keiki run --rm --tmpfs a -- true
keiki start -q a -- sleep 600 >/dev/null 2>&1
step "start while running" 6 "" keiki start a
step "destroy while running" 6 "" keiki destroy a
case $store in
    btrfs | zfs | lvm | lvm-thin) live=0 word="consistent" ;;
    *) live=6 word="" ;;
esac
step "snapshot while running" $live "$word" keiki snapshot create a
# A plain volume that is mounted for writing cannot be mounted again for reading.
[ "$store" != lvm ] || live=6 word="copy its snapshot"
step "copy of a running one" $live "$word" keiki clone --copy a while
keiki stop -q --kill a
[ ! -e "$P/while" ] || gone while
keiki destroy -q --with-snapshots a
new a

# --- between stores
onto=7
case $store in dir | overlay | btrfs) onto=0 ;; esac
step "copy -s -B overlay" $onto "" keiki clone --snapshot --bdev overlay a over
[ ! -e "$P/over" ] || gone over
step "copy -B dir" 0 "" keiki clone --copy --bdev dir a flat
case $store in
    btrfs) step "copy -B btrfs" 0 "" keiki clone --copy --bdev btrfs a other ;;
    *) step "copy -B btrfs, not on a btrfs" 9 "nothing is made (defect 3)" keiki clone --copy --bdev btrfs a other ;;
esac
claim "$store: nothing is pretended to be btrfs" test "$store" = btrfs -o ! -e "$P/other"
step "copy -B loop" 0 "" keiki clone --copy --bdev loop --fssize 64M a image
mkdir -p "$work/ground/elsewhere"
through_a_pipe() { keiki send -q a | "$programs/keiki" -P "$work/ground/elsewhere" receive -q; }
step "copy -p OTHERPATH" 0 "by send and receive" through_a_pipe
claim "$store: it is there" says a "$programs/keiki" -P "$work/ground/elsewhere" ls -1
"$programs/keiki" -P "$work/ground/elsewhere" destroy -q a >/dev/null 2>&1

# --- objects of somebody else (defect 2)
plant() {
    case $kind in
        zfs) zfs create -o mountpoint="$work/theirs" tank/lxc/foreign && echo precious >"$work/theirs/file" && zfs umount tank/lxc/foreign ;;
        lvm) LVM_SUPPRESS_FD_WARNINGS=1 lvcreate -q -y -L 8M -n foreign tank >/dev/null ;;
        *) mkdir -p "$P/foreign/rootfs" && echo precious >"$P/foreign/rootfs/file" ;;
    esac
}
is_theirs() {
    case $kind in
        zfs) zfs mount tank/lxc/foreign && grep -q precious "$work/theirs/file" ;;
        lvm) LVM_SUPPRESS_FD_WARNINGS=1 lvs tank/foreign >/dev/null 2>&1 ;;
        *) grep -q precious "$P/foreign/rootfs/file" ;;
    esac
}
plant
step "create onto an existing target" 4 "nothing foreign is touched (defect 2)" keiki create foreign --template busybox "${pool_options[@]}"
claim "$store: it is as it was" is_theirs
case $kind in zfs) zfs destroy tank/lxc/foreign ;; lvm) LVM_SUPPRESS_FD_WARNINGS=1 lvremove -q -y tank/foreign >/dev/null ;; *) rm -rf "$P/foreign" ;; esac
echo "no archive" >"$work/broken.tar.xz"
step "create with a failing template" 2 "nothing is left" keiki create broken --template local "${pool_options[@]}" -- --rootfs "$work/broken.tar.xz"
claim "$store: nothing of it is left (defect 7)" test ! -e "$P/broken"
for name in $(keiki ls -1); do gone "$name"; done
claim "$store: everything can be destroyed again" test -z "$(keiki ls -1)"
finish_claims
