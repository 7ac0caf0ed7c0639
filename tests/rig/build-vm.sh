#!/bin/bash
# Builds the virtual machine of the rig from Debian packages: LVM with thin pools, ZFS, btrfs, XFS, AppArmor, pure cgroup v2,
# systemd, and LXC with its tools.  `tests/rig/run-vm.sh` boots it.
#
#   tests/rig/build-vm.sh [-f] [CACHE]
#
#   CACHE   where the tree, the built ZFS modules and the image are kept (default ${KEIKI_CACHE:-/var/cache/keiki}/rig).
#           An image that was built by this very script from this very list of packages is used as it is.
#   -f      forget everything in CACHE and start anew
#
# CACHE/image gets vmlinuz, initrd, root.img, versions.txt and key. About 4 minutes and 3 GB the first time.
#
# Three decisions:
# - ZFS is built by an explicit `dkms install … -k KERNEL`: by itself zfs-dkms builds for `uname -r`, another kernel here.
# - The initrd is our own, a static busybox and the few modules that reach the root disk: a tenth of Debian's, and seconds
#   faster under emulation.
# - By default the machine runs no systemd: `rig-init` mounts what a kernel needs and runs the command. Tests of systemd
#   ask for it by `run-vm.sh -s`.
set -euo pipefail

suite=trixie size=6G fresh=
[ "${1:-}" = -f ] && { fresh=1; shift; }
cache=${1:-${KEIKI_CACHE:-/var/cache/keiki}/rig}
self=$(realpath "$0")
packages="linux-image-cloud-amd64 zstd lxc lxcfs uidmap dnsmasq-base nftables busybox-static apparmor apparmor-utils
    lvm2 thin-provisioning-tools btrfs-progs xfsprogs e2fsprogs rsync criu crun acl attr dbus dbus-user-session strace psmisc
    procps iproute2 sudo adduser xz-utils kmod"

say() { echo "rig: $(date +%T) $*"; }
fail() { echo "rig: $*" >&2; exit 1; }
[ "$(id -u)" = 0 ] || fail "needs root"
for tool in debootstrap mke2fs unshare cpio; do
    command -v $tool >/dev/null || fail "no $tool here (apt-get install debootstrap e2fsprogs util-linux cpio)"
done
mkdir -p "$cache"
cache=$(realpath "$cache")
key=$(sha256sum <"$self" | cut -c1-16)
image=$cache/image
if [ -z "$fresh" ] && [ "$(cat "$image/key" 2>/dev/null)" = "$key" ]; then
    say "the image in $image is this script's own; nothing to do"
    exit 0
fi
# Everything that mounts happens in a private mount namespace: stopped anywhere, nothing stays mounted.
if [ -z "${KEIKI_RIG_INNER:-}" ]; then
    KEIKI_RIG_INNER=1 exec unshare -m --propagation private bash "$self" ${fresh:+-f} "$cache"
fi

root=$cache/root
export DEBIAN_FRONTEND=noninteractive LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
unset TMPDIR LANG
in_root() { chroot "$root" env DEBIAN_FRONTEND=noninteractive PATH="$PATH" HOME=/root "$@"; }
apt() {
    in_root apt-get -o Dpkg::Options::=--force-confold install -y --no-install-recommends "$@" >>"$cache/apt.log" 2>&1 ||
        { tail -20 "$cache/apt.log" >&2; fail "apt-get could not install $*"; }
}

# The mirror that this machine's own apt uses.
find_mirror() {
    . /etc/os-release
    mirror=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
        awk -v c="${VERSION_CODENAME:-}" '$4 == "main" && ($2 == c || $3 == c) { print $1; exit }')
    [ -n "$mirror" ] || fail "found no mirror in this machine's apt sources (run apt-get update first?)"
    local P
    eval "$(apt-config shell P Acquire::http::Proxy)"
    [ -z "${P:-}" ] || export http_proxy=$P
}

base_tree() {
    [ -e "$root/.base" ] && return
    say "debootstrap $suite"
    rm -rf --one-file-system "$root"
    debootstrap --variant=minbase --include=systemd,systemd-sysv,udev,ca-certificates "$suite" "$root" "$mirror" \
        >"$cache/debootstrap.log" 2>&1 || { tail -20 "$cache/debootstrap.log" >&2; fail "debootstrap failed"; }
    echo "deb $mirror $suite main contrib" >"$root/etc/apt/sources.list"
    touch "$root/.base"
}

install_packages() {
    local stamp
    stamp=$(echo "$packages" | sha256sum | cut -c1-16)
    [ -e "$root/.packages-$stamp" ] && return
    say "packages"
    : >"$cache/apt.log"
    in_root apt-get update >>"$cache/apt.log" 2>&1 || fail "apt-get update failed in the tree"
    # shellcheck disable=SC2086
    apt $packages
    touch "$root/.packages-$stamp"
}

build_zfs() {
    [ -e "$root/.zfs" ] && return
    apt zfsutils-linux
    local version cached
    version=$(in_root apt-cache show zfs-dkms | sed -n 's/^Version: //p' | head -1)
    cached=$cache/zfs-modules-$kernel-${version//[:\/]/_}.tar
    if [ ! -e "$cached" ]; then
        say "ZFS $version for $kernel"
        apt "linux-headers-$kernel" dkms
        # Its own build is for the wrong kernel and may fail; the next line is what counts.
        in_root apt-get install -y --no-install-recommends zfs-dkms >>"$cache/apt.log" 2>&1 || true
        version=$(ls "$root/usr/src" | sed -n 's/^zfs-//p' | head -1)
        if [ -z "$(find "$root/lib/modules/$kernel/updates" -name 'zfs.ko*' 2>/dev/null)" ]; then
            in_root dkms install "zfs/$version" -k "$kernel" >"$cache/dkms.log" 2>&1 ||
                { tail -20 "$cache/dkms.log" >&2; fail "the ZFS module does not build"; }
        fi
        in_root dpkg --configure -a >>"$cache/apt.log" 2>&1 || true
        tar -C "$root" -cf "$cached.part" "lib/modules/$kernel/updates" && mv "$cached.part" "$cached"
        in_root apt-get purge -y zfs-dkms dkms "linux-headers-*" >>"$cache/apt.log" 2>&1 || true
        in_root apt-get autoremove -y --purge >>"$cache/apt.log" 2>&1 || true
    fi
    tar -C "$root" --keep-directory-symlink -xf "$cached"
    in_root depmod "$kernel"
    touch "$root/.zfs"
}

# What runs as process 1 when no systemd is asked for.
write_init() {
    mkdir -p "$root/usr/local/sbin"
    cat >"$root/usr/local/sbin/rig-init" <<'GUEST'
#!/bin/bash
# Mounts what a kernel needs, starts udev (LVM waits for it), runs the payload, powers off.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root USER=root TERM=linux
mountpoint -q /proc || mount -t proc proc /proc
mountpoint -q /sys || mount -t sysfs sysfs /sys
mountpoint -q /dev || mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /run/lvm
mount -t cgroup2 -o nsdelegate cgroup2 /sys/fs/cgroup
mount -t securityfs securityfs /sys/kernel/security 2>/dev/null
# A process may not sit in the root cgroup when controllers are delegated below it.
mkdir /sys/fs/cgroup/rig && echo $$ >/sys/fs/cgroup/rig/cgroup.procs
for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control; done
ip link set lo up
hostname rigvm
exec </dev/console >/dev/console 2>&1
/lib/systemd/systemd-udevd --daemon
rig-run
GUEST
    cat >"$root/usr/local/sbin/rig-run" <<'GUEST'
#!/bin/bash
# Unpacks the payload disk, runs its command, writes the results to the other disk, powers off.
disk() {
    local name
    for name in /sys/block/vd*; do
        [ "$(cat "$name/serial" 2>/dev/null)" = "$1" ] && echo "/dev/${name##*/}" && return
    done
    return 1
}
mkdir -p /payload /rig-out /dev/rig
mount -t tmpfs -o size=90% tmpfs /payload
tar -C /payload -xf "$(disk rigpayload)" 2>/dev/null
# The data disks by their names, whatever the order in which the kernel found them.
for name in /sys/block/vd*; do
    serial=$(cat "$name/serial" 2>/dev/null)
    [ -n "$serial" ] && ln -sf "/dev/${name##*/}" "/dev/rig/$serial"
done
echo "rig: up after $(cut -d' ' -f1 /proc/uptime) s"
export OUT=/rig-out SHELL=/bin/bash
cd /payload
bash .rig-command
code=$?
echo $code >/rig-out/.rig-code
echo "rig: command ended with $code after $(cut -d' ' -f1 /proc/uptime) s"
tar -C /rig-out -cf "$(disk rigout)" . || echo "rig: the results do not fit the results disk"
sync
if [ $$ = 1 ] || [ "$PPID" = 1 ] && [ "$(cat /proc/1/comm)" != systemd ]; then
    echo o >/proc/sysrq-trigger
    sleep 10
fi
systemctl poweroff --force --no-block
GUEST
    chmod +x "$root/usr/local/sbin/"rig-{init,run}
}

write_units() {
    local units=$root/etc/systemd/system unit
    cat >"$units/rig-run.service" <<'UNIT'
[Unit]
Description=run the payload
After=multi-user.target
[Service]
Type=exec
ExecStart=/usr/local/sbin/rig-run
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
TimeoutStartSec=infinity
Delegate=yes
TasksMax=infinity
UNIT
    cat >"$units/rig.target" <<'UNIT'
[Unit]
Description=multi-user system that runs the payload
Requires=multi-user.target
After=multi-user.target
Wants=rig-run.service
AllowIsolate=yes
UNIT
    ln -sf /etc/systemd/system/rig.target "$units/default.target"
    for unit in apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer \
        dpkg-db-backup.timer man-db.timer serial-getty@ttyS0.service getty@tty1.service lxc.service lxc-net.service \
        lxc-monitord.service zfs-zed.service zfs-import-cache.service zfs-import-scan.service zfs-mount.service \
        zfs-share.service zfs-load-module.service systemd-udev-settle.service lvm2-monitor.service lxcfs.service \
        ldconfig.service systemd-binfmt.service systemd-networkd-wait-online.service systemd-timesyncd.service; do
        ln -sf /dev/null "$units/$unit"
    done
    mkdir -p "$root/etc/systemd/journald.conf.d"
    printf '[Journal]\nStorage=volatile\n' >"$root/etc/systemd/journald.conf.d/rig.conf"
}

# A busybox and the modules that reach the root disk, in the order in which they are loaded.
make_initrd() {
    local tree module file
    tree=$(mktemp -d)
    mkdir -p "$tree"/{bin,proc,sys,dev,mnt,modules}
    cp "$root/bin/busybox" "$tree/bin/busybox"
    : >"$tree/modules/order"
    for module in virtio_pci virtio_blk ext4 virtio_rng; do
        in_root modprobe --show-depends -S "$kernel" $module | awk '$1 == "insmod" { print $2 }'
    done | awk '!seen[$0]++' | while read -r file; do
        cp "$root$file" "$tree/modules/"
        case $file in *.xz) xz -d "$tree/modules/${file##*/}" && file=${file%.xz} ;; esac
        echo "${file##*/}" >>"$tree/modules/order"
    done
    cat >"$tree/init" <<'INIT'
#!/bin/busybox sh
busybox mount -t proc proc /proc
busybox mount -t devtmpfs devtmpfs /dev
while read -r module; do busybox insmod /modules/$module; done </modules/order
tries=0
until busybox mount -t ext4 -o noatime /dev/vda /mnt 2>/dev/null; do
    tries=$((tries + 1)); [ $tries -gt 100 ] && echo "rig: no root disk" && busybox poweroff -f
    busybox usleep 50000
done
busybox mount -o move /dev /mnt/dev
busybox mount -o move /proc /mnt/proc
init=/usr/local/sbin/rig-init
busybox grep -qw rig.systemd /mnt/proc/cmdline && init=/sbin/init
exec busybox switch_root /mnt $init
INIT
    chmod +x "$tree/init"
    (cd "$tree" && find . | cpio --quiet -o -H newc) >"$image/initrd"
    rm -rf "$tree"
}

make_image() {
    say "image"
    rm -rf "$image"
    mkdir -p "$image"
    cp "$root/boot/vmlinuz-$kernel" "$image/vmlinuz"
    make_initrd
    truncate -s $size "$image/root.img"
    mke2fs -q -t ext4 -L rig -O ^has_journal -d "$root" "$image/root.img"
    {
        echo "suite $suite"
        echo "kernel $kernel"
        in_root dpkg-query -W -f '${Package} ${Version}\n' lxc systemd zfsutils-linux lvm2 btrfs-progs apparmor crun
    } >"$image/versions.txt"
    cat "$image/versions.txt"
    echo "$key" >"$image/key"
    say "done: $(du -sh "$image" | cut -f1)"
}

[ -z "$fresh" ] || rm -rf --one-file-system "$root" "$image" "$cache"/zfs-modules-*
find_mirror
base_tree
cp /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null || true
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod +x "$root/usr/sbin/policy-rc.d"
install_packages
kernel=$(ls "$root/lib/modules" | sort -V | tail -1)
build_zfs
say "settings"
echo rigvm >"$root/etc/hostname"
printf '127.0.0.1 localhost rigvm\n::1 localhost\n' >"$root/etc/hosts"
printf '/dev/vda / ext4 defaults 0 1\n' >"$root/etc/fstab"
in_root passwd -d root >/dev/null 2>&1
in_root apt-get clean
write_init
write_units
rm -f "$root/usr/sbin/policy-rc.d"
umount "$root/proc" "$root/sys"
make_image
