#!/bin/bash
# Faults by hand of a store with a pool of its own, inside the rig's virtual machine.
#
#   machine.sh lvm|lvm-thin|zfs
set -uo pipefail
cd "$(dirname "$0")/../../.."
. tests/lib/claims.sh
. tests/lib/pools.sh
store=$1
work=/var/tmp/faults programs=$PWD/programs
mkdir -p "$work"
. tests/suites/faults/common.sh

# What each store's tools are called.
case $store in
    zfs)
        tools="zfs zpool" package=zfsutils-linux
        object() { echo "tank/lxc/$1"; }
        make_object() { zfs create -o canmount=noauto -o mountpoint=legacy "tank/lxc/$1" && mount -t zfs "tank/lxc/$1" /mnt && echo precious >/mnt/file && umount /mnt; }
        object_state() { zfs get -Hp -o value guid,createtxg,written "tank/lxc/$1"; mount -t zfs -o ro "tank/lxc/$1" /mnt && cat /mnt/file && umount /mnt; }
        there() { zfs list -H -o name "tank/lxc/$1" >/dev/null 2>&1; }
        mount_object() { mount -t zfs "tank/lxc/$1" "$2"; }
        pool_away() { zpool export tank; }
        pool_back() { zpool import -d /dev/rig tank 2>/dev/null || zpool import tank; }
        leftovers() { zfs list -H -o name -r -t all tank | grep -vx -e tank -e tank/lxc; }
        ;;
    *)
        tools="lvm lvs lvcreate" package=lvm2
        object() { echo "tank/$1"; }
        make_object() { lvm_quietly lvcreate -q -y -W y -n "$1" -L 32M tank && echo precious | dd of="/dev/tank/$1" conv=fsync status=none; }
        object_state() { lvs --noheadings -o lv_uuid,lv_tags,lv_size "tank/$1"; head -c 4096 "/dev/tank/$1" | sha256sum; }
        there() { lvs "tank/$1" >/dev/null 2>&1; }
        mount_object() { lvchange -y -ay -K "tank/$1"; mount "/dev/tank/$1" "$2"; }
        pool_away() { vgchange -q -an tank >/dev/null && vgrename -q tank away >/dev/null; }
        pool_back() { vgrename -q away tank >/dev/null; vgchange -q -ay tank >/dev/null; }
        leftovers() { lvs --noheadings -o lv_name tank | tr -d ' ' | grep -vx pool; }
        ;;
esac
holder=
make_pool "$store" || exit 1
options=("${pool_options[@]}")
trap 'drop_pools' EXIT
yard "$store"
claim "a container in $store" marked base "${options[@]}"
claim "a clone of it" keiki clone --snapshot base web
claim "with a mark of its own" keiki run web -- /bin/sh -c 'echo "of web" > /mark; sync'

# --- somebody else's object under the name ---------------------------------------------------------------------------
make_object taken
before=$(object_state taken)
claim "an object of somebody else under the name is refused" refused 4 "$(object taken)" keiki create taken --template none "${options[@]}"
claim "for a clone as well" refused 4 "$(object taken)" keiki clone --snapshot base taken
claim "for a rename as well" refused 4 "$(object taken)" keiki rename web taken
claim "it is untouched" test "$before" = "$(object_state taken)"
claim "no directory is left for it" test ! -e "$P/taken"
claim "nothing else changed" test "$(names)" = "base web"

# --- the tool is not there, or talks nonsense ------------------------------------------------------------------------
claim "without $tools a create is refused with the package" refused 9 "$package" hidden "$tools" create other --template none "${options[@]}"
claim "a clone as well" refused 9 "$package" hidden "$tools" clone --snapshot base other
claim "a destroy as well" refused 9 "$package" hidden "$tools" destroy web
claim "the list needs no tool" says web hidden "$tools" ls
claim "the tree needs no tool" says web hidden "$tools" tree
claim "stores say what is missing" says "$package" hidden "$tools" stores
claim "a tool that babbles is not understood" refused_any "cannot understand" babbling "$tools" destroy web
claim "a create with it fails" fails_with_any babbling "$tools" create other --template none "${options[@]}"
claim "the check does not take babble for absence" fails_with_any babbling "$tools" check
claim "nothing of all that happened" test "$(names)" = "base web"
claim "the clone is as it was" has_mark web "of web"
claim "the parent too" has_mark base "of base"

# --- held open by another process ------------------------------------------------------------------------------------
mkdir -p "$work/held" && mount_object web "$work/held" && { (cd "$work/held" && exec sleep 600) & } && holder=$!
claim "a volume that is held open is not destroyed" refused 6 "" keiki destroy web
claim "the holder is named" says "sleep" keiki destroy web
kill "$holder" 2>/dev/null && wait "$holder" 2>/dev/null
umount "$work/held"
claim "its content is there" has_mark web "of web"

# --- somebody else's snapshot of ours --------------------------------------------------------------------------------
case $store in
    zfs)
        zfs snapshot tank/lxc/web@backup
        claim "a snapshot of somebody else keeps the dataset" refused_any "backup" keiki destroy web
        claim "the snapshot is there" quiet zfs list -t snapshot tank/lxc/web@backup
        zfs destroy tank/lxc/web@backup
        ;;
    lvm)
        claim "another container" marked kept "${options[@]:0:${#options[@]}-1}" 100M
        lvm_quietly lvcreate -q -y -s -n backup -L 32M tank/kept
        claim "a snapshot of somebody else keeps the volume" refused_any "backup" keiki destroy kept
        claim "the snapshot is there" there backup
        claim "the volume too" has_mark kept "of kept"
        lvm_quietly lvremove -q -y tank/backup
        claim "without it the volume goes" keiki destroy kept
        ;;
esac

# --- larger while it runs --------------------------------------------------------------------------------------------
blocks_of() { keiki exec "$1" -- /bin/sh -c 'df -k / | tail -n 1' | awk '{ print $2 }'; }
grew() { local now; now=$(blocks_of "$1"); [ "$now" -gt "$2" ] || { echo "it has $now blocks, and had $2"; return 1; }; }
if [ "$store" != zfs ]; then
    claim "a small container" marked small "${options[@]:0:${#options[@]}-1}" 100M
    claim "it starts" keiki start small
    blocks=$(blocks_of small)
    claim "it grows while it runs" keiki resize small 200M
    claim "and sees it" grew small "$((blocks + 80000))"
    claim "what it held is there" says "of small" keiki exec small -- /bin/sh -c 'cat /mark'
    claim "a running one does not shrink" refused 6 "running" keiki resize small 100M
    claim "it stops" keiki stop --kill small
    claim "it shrinks when it is stopped" keiki resize small 100M
    claim "what it held is still there" has_mark small "of small"
    claim "it goes" keiki destroy small
fi

# --- the pool is not there -------------------------------------------------------------------------------------------
case $store in zfs) nowhere=(--bdev zfs --zfsroot nopool/lxc) ;; *) nowhere=(--bdev lvm --vgname nopool) ;; esac
claim "a pool that does not exist is named" refused 9 "nopool" keiki create other --template none "${nowhere[@]}"
pool_away
claim "with the pool away everything is listed" says web keiki ls
claim "a start is refused" refused_any "tank" keiki start web
claim "a destroy does not take away for gone" refused 9 "tank" keiki destroy web
claim "a clone is refused" refused_any "tank" keiki clone --snapshot base other
claim "the check says so and repairs nothing" fails_with_any keiki check
pool_back
claim "with the pool back nothing is lost" test "$(names)" = "base web"
claim "the clone is there" has_mark web "of web"
claim "the parent is there" has_mark base "of base"
claim "the check finds nothing" keiki check

# --- the pool is full ------------------------------------------------------------------------------------------------
. "tests/suites/faults/full-$store.sh"

# --- the end ---------------------------------------------------------------------------------------------------------
claim "the foreign object is still untouched" test "$before" = "$(object_state taken)"
claim "the family goes" keiki destroy --with-dependents base
[ -z "$(names)" ] || claim "the clones go" keiki destroy --with-snapshots $(names)
claim "only the foreign object is left" test "$(leftovers)" = "$(leftovers | grep -x -e taken -e tank/lxc/taken)"
finish_claims
