#!/bin/bash
# Streams of zfs's own, through `keiki send --native` and `keiki receive`, inside the rig's virtual machine: between two pools, whole
# and changes, cut and damaged, foreign and hostile; what is in the way is named and stays.
set -uo pipefail
cd "$(dirname "$0")/../../.."
. tests/lib/claims.sh
. tests/lib/pools.sh
work=/var/tmp/faults programs=$PWD/programs
mkdir -p "$work"
. tests/suites/faults/common.sh
make_pool zfs || exit 1
options=("${pool_options[@]}")
truncate -s 512M /dev/shm/other.disk
zpool create -f -m none -O compression=off other /dev/shm/other.disk && zfs create other/lxc || exit 1
trap 'zpool destroy -f other; rm -f /dev/shm/other.disk; drop_pools' EXIT

here() { yard here; }
there() { yard there; }
# `sent NAME… ` from here, received there with what follows `--`.
pass() {
    local sending=()
    while [ "$1" != -- ]; do sending+=("$1"); shift; done
    shift
    here
    keiki send --native "${sending[@]}" >"$work/stream" || return
    there
    keiki receive "$@" <"$work/stream"
}
state_of() { keiki run "$1" -- /bin/sh -c 'cat /state'; }
has_state() { local found; found=$(state_of "$1" 2>&1); [ "$found" = "$2" ] || { echo "found: $found"; return 1; }; }
sets() { zfs list -H -o name -r -t all other/lxc | sed 's|other/lxc/\{0,1\}||;/^$/d' | paste -sd' '; }
change() { keiki run "$1" -- /bin/sh -c "echo '$2' > /state; sync"; }
snapshots_of() { keiki snapshot list "$1" --format csv | tail -n +2 | cut -d, -f1 | paste -sd' '; }

here
claim "a container" marked web "${options[@]}"
quiet change web one
claim "a snapshot" keiki snapshot create web
quiet change web two
claim "and another" keiki snapshot create web
quiet change web three
claim "the stream says that it is zfs's" eval 'keiki send --native web >"$work/stream" && head -c 4096 "$work/stream" | grep -aq zfs-1'
claim "it is received in another pool" pass web -- --bdev zfs --zfsroot other/lxc
claim "as what it was" eval 'has_mark web "of web" && has_state web three'
claim "with its snapshots" test "$(snapshots_of web)" = "snap0 snap1"
claim "which hold what they held" eval 'keiki clone --snapshot web@snap0 old && has_state old one && keiki destroy old'
claim "and nothing besides" test "$(sets | wc -w)" -eq 3
claim "the check finds nothing there" keiki check
here
claim "nor here" eval 'keiki check && test "$(snapshots_of web)" = "snap0 snap1"'

# --- changes -----------------------------------------------------------------------------------------------------------
quiet change web four
claim "a third snapshot" keiki snapshot create web
quiet change web five
claim "only what changed is sent" pass web --since snap1 -- --overwrite
claim "which is little" test "$(stat -c %s "$work/stream")" -lt 1000000
claim "the container there follows" has_state web five
claim "with one snapshot more" test "$(snapshots_of web)" = "snap0 snap1 snap2"
claim "the check finds nothing behind it" keiki check
here
claim "up to a snapshot" eval 'change web six && keiki snapshot create web && pass web@snap3 --since snap2 -- --overwrite && has_state web six'
there
claim "a stream whose base is missing is refused" eval 'here; keiki snapshot create web && keiki send --native web@snap4 --since snap3 >"$work/stream"; there; keiki snapshot destroy web snap3; refused_any snap3 keiki receive --overwrite <"$work/stream"'
claim "nothing changed by that" has_state web six

# --- what is in the way --------------------------------------------------------------------------------------------------
zfs snapshot other/lxc/web@mine
before=$(sets)
here
claim "somebody's snapshot there would be lost" eval 'keiki send --native web@snap4 --since snap2 >"$work/stream"; there; refused_any mine keiki receive --overwrite <"$work/stream"'
claim "it is there" test "$(sets)" = "$before"
zfs destroy other/lxc/web@mine
there
claim "a clone there would be, too" eval 'keiki clone --snapshot web shop && refused_any "keiki-clone-" keiki receive --overwrite <"$work/stream"'
claim "with the clone gone it is received" eval 'keiki destroy shop && keiki receive --overwrite <"$work/stream"'
zfs create other/lxc/taken
claim "a foreign dataset under the name is refused" eval 'keiki receive --as taken --bdev zfs --zfsroot other/lxc <"$work/stream"; here; keiki send --native web >"$work/whole"; there; refused 4 other/lxc/taken keiki receive --as taken --bdev zfs --zfsroot other/lxc <"$work/whole"'
claim "and untouched" quiet zfs list other/lxc/taken
zfs destroy other/lxc/taken
claim "another store does not understand it" refused_any zfs-1 keiki receive --as odd --bdev dir <"$work/whole"

# --- cut, damaged, hostile ----------------------------------------------------------------------------------------------
there
size=$(stat -c %s "$work/whole")
before=$(sets)
claim "a stream that is cut is refused" eval 'head -c $((size * 2 / 3)) "$work/whole" | fails_with_any keiki receive --as cut --bdev zfs --zfsroot other/lxc'
claim "and can be discarded" eval '! keiki receive --pending | grep -q cut || keiki receive --discard cut'
claim "nothing is left of it" test "$(sets)" = "$before"
cp "$work/whole" "$work/damaged"
printf 'XXXX' | dd of="$work/damaged" bs=1 seek=$((size / 2)) conv=notrunc status=none
claim "a damaged one is refused" eval 'fails_with_any keiki receive --as bad --bdev zfs --zfsroot other/lxc <"$work/damaged"'
claim "and discarded, too" eval '! keiki receive --pending | grep -q bad || keiki receive --discard bad'
claim "nothing is left of that either" test "$(sets)" = "$before"
claim "killed while it is received" eval '! KEIKI_FAILPOINT=zfs.mark:kill quiet keiki receive --as dead --bdev zfs --zfsroot other/lxc <"$work/whole"'
claim "nothing is left of that" eval 'names >/dev/null; ! keiki receive --pending | grep -q dead || keiki receive --discard dead; test "$(sets)" = "$before"'
here
claim "nobody reads: the sender says so" eval '(keiki send --native web; echo $? >"$work/code") 2>"$work/said" | head -c 100 >/dev/null; test "$(cat "$work/code")" -ne 0'
# What was taken for a stream that broke off may stay, so that it can be continued.
for name in $(snapshots_of web | tr ' ' '\n' | grep ^keiki-send-); do quiet keiki snapshot destroy web "$name"; done
claim "and its snapshots are as before" test "$(snapshots_of web)" = "snap0 snap1 snap2 snap3 snap4"

# --- the end -----------------------------------------------------------------------------------------------------------
claim "a container restored in place is sent in the common form" eval 'keiki snapshot restore web snap1 && keiki snapshot create web && (refused 7 --native keiki send --native web >/dev/null || true) && keiki send web >"$work/tree"'
there
claim "and received" eval 'keiki receive --as tree --bdev zfs --zfsroot other/lxc <"$work/tree" && has_state tree two'
claim "all go there" keiki destroy --with-snapshots web tree
claim "nothing is left there" test "$(sets)" = ""
here
claim "all go here" keiki destroy --with-snapshots web
finish_claims
