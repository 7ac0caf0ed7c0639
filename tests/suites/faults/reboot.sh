#!/bin/bash
# A machine that is reset in the middle of a clone, and what the next boot finds. Two boots on the same disks:
#
#   reboot.sh cut    makes pools and containers, has clones killed at several steps, and resets the machine without a sync
#   reboot.sh heal   looks at what is left, and puts its claims
#
# KEIKI_FAULT_STORES chooses among lvm, lvm-thin and zfs (all of them).
#
# Every step has a catalogue of its own, so that all interrupted clones are there at once.
set -uo pipefail
cd "$(dirname "$0")/../../.."
. tests/lib/claims.sh
. tests/lib/pools.sh
work=/var/tmp/kept programs=$PWD/programs
mkdir -p "$work"
read -ra stores <<<"${KEIKI_FAULT_STORES:-lvm lvm-thin zfs}"
steps=(clone.volume clone.config clone.publish clone.record)
. tests/suites/faults/common.sh

options_of() {
    case $1 in
        lvm) options=(--bdev lvm --vgname tank --fssize 100M) ;;
        lvm-thin) options=(--bdev lvm --vgname tank --thinpool pool --fssize 100M) ;;
        zfs) options=(--bdev zfs --zfsroot tank/lxc) ;;
    esac
}

cut_short() {
    mke2fs -q -t ext4 /dev/rig/kept && mount /dev/rig/kept "$work" || exit 1
    make_group && lvm_quietly lvcreate -q -y --type thin-pool -L 3G --poolmetadatasize 16M -n pool tank && make_zpool || exit 1
    local store step
    for store in "${stores[@]}"; do
        options_of "$store"
        for step in "${steps[@]}"; do
            yard "$store-$step"
            local tail=$store-${step#clone.}
            marked "base-$tail" "${options[@]}" || exit 1
            KEIKI_FAILPOINT=$step:kill quiet keiki clone --snapshot "base-$tail" "web-$tail"
        done
    done
    echo "rig: reset"
    echo b >/proc/sysrq-trigger
    sleep 60
}

heal() {
    mount /dev/rig/kept "$work" || exit 1
    quiet vgchange -ay tank
    # A pool on a whole disk is in a partition of it, which has no link in /dev/rig.
    modprobe zfs && { zpool import -d /dev/rig -f tank 2>/dev/null || zpool import -d /dev -f tank; } || exit 1
    local store step
    for store in "${stores[@]}"; do
        options_of "$store"
        for step in "${steps[@]}"; do
            yard "$store-$step"
            local tail=$store-${step#clone.}
            claim "$store: after a reset at $step the parent is listed" says "base-$tail" keiki ls
            claim "$store: the check finds nothing" keiki check
            claim "$store: the parent is whole" has_mark "base-$tail" "of base-$tail"
            if grep -qw "web-$tail" <<<"$(names)"; then
                claim "$store: the clone is whole" has_mark "web-$tail" "of base-$tail"
            else
                claim "$store: the clone can be made" keiki clone --snapshot "base-$tail" "web-$tail"
            fi
            claim "$store: the clone goes" keiki destroy "web-$tail"
            claim "$store: the parent goes" keiki destroy "base-$tail"
        done
    done
    claim "no volume is left" test "$(lvs --noheadings -o lv_name tank | tr -d ' ' | paste -sd' ')" = pool
    claim "no dataset is left" test "$(zfs list -H -o name -r -t all tank | paste -sd' ')" = "tank tank/lxc"
    drop_pools
    umount "$work"
    finish_claims
}

case $1 in cut) cut_short ;; heal) heal ;; esac
