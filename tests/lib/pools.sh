# Pools for the stores that need one: a volume group, a thin pool in it, a zpool, on the disks that the rig's virtual machine
# has for them (/dev/rig/lvm, /dev/rig/zfs).
#
# `make_pool STORE` makes what the store needs and sets $pool_options to the options of `keiki create` that choose it.
# `drop_pools` takes all of them away. A store that needs no pool gets none.

pool_options=()

make_pool() {
    case $1 in
        # A snapshot takes as much of the group as its origin has.
        lvm) make_group && pool_options=(--bdev lvm --vgname tank --fssize 1G) ;;
        lvm-thin)
            make_group && lvm_quietly lvcreate -q -y --type thin-pool -L 6G --poolmetadatasize 64M -n pool tank &&
                pool_options=(--bdev lvm --vgname tank --thinpool pool --fssize 2G)
            ;;
        zfs) make_zpool && pool_options=(--bdev zfs --zfsroot tank/lxc) ;;
        loop) pool_options=(--bdev loop --fssize 2G) ;;
        *) pool_options=(--bdev "$1") ;;
    esac
}

need_disk() {
    [ -b "/dev/rig/$1" ] && return
    echo "error: there is no disk /dev/rig/$1 here for $2" >&2
    echo "hint: \`./demo --in-vm --bdev $2\` runs in the rig's virtual machine, which has one" >&2
    return 9
}

# LVM warns of descriptors that it inherits, such as the terminal's.
lvm_quietly() { LVM_SUPPRESS_FD_WARNINGS=1 "$@" >/dev/null; }

make_group() { need_disk lvm lvm && lvm_quietly pvcreate -q -y -ff /dev/rig/lvm && lvm_quietly vgcreate -q tank /dev/rig/lvm; }
make_zpool() { need_disk zfs zfs && modprobe zfs && udevadm settle && zpool create -f -m none -O compression=off tank "$(readlink -f /dev/rig/zfs)" && zfs create tank/lxc; }

drop_pools() {
    if [ -b /dev/rig/lvm ] && vgs tank >/dev/null 2>&1; then
        lvm_quietly vgremove -q -y -f tank
        lvm_quietly pvremove -q -y -ff /dev/rig/lvm
    fi
    if [ -b /dev/rig/zfs ] && [ -e /sys/module/zfs ] && zpool list -H -o name tank >/dev/null 2>&1; then
        zpool destroy -f tank
        zpool labelclear -f "$(readlink -f /dev/rig/zfs)" 2>/dev/null || true
    fi
}

# Prints the pools and mapped devices that are there, one a line.
pool_state() {
    ! command -v vgs >/dev/null || vgs --noheadings -o vg_name 2>/dev/null | sed 's/^ */vg /'
    ! command -v dmsetup >/dev/null || dmsetup ls 2>/dev/null | grep -v '^No devices' | sort | sed 's/^/dm /'
    [ ! -e /sys/module/zfs ] || zpool list -H -o name 2>/dev/null | sed 's/^/pool /'
}
