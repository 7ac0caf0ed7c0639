# The ground that a demonstration or a suite stands on: a directory on ext4, btrfs or xfs, and a Debian tree.
#
# `make_ground DIR KIND` gives an empty directory on a file system of that kind (`here` is the machine's own), backed by a
# sparse image and a loop device where needed; `drop_ground DIR` takes all of it away, whatever happened before.

make_ground() {
    local dir=$1 kind=$2 image="$1.img"
    mkdir -p "$dir"
    case $kind in
        here) return 0 ;;
        ext4) truncate -s 6G "$image" && mkfs.ext4 -q -F "$image" ;;
        btrfs) truncate -s 6G "$image" && mkfs.btrfs -q -f "$image" ;;
        xfs) truncate -s 6G "$image" && mkfs.xfs -q -f "$image" ;;
        *) echo "error: no file system \`$kind\` here; choose here, ext4, btrfs or xfs" >&2; return 2 ;;
    esac || return
    mount -o loop "$image" "$dir"
}

drop_ground() {
    local dir=$1
    mountpoint -q "$dir" && umount "$dir"
    rm -rf --one-file-system "$dir" "$dir.img"
}

# Makes DIR a minimal Debian by debootstrap, once; later calls unpack the copy in the cache outside the tree.
debian_tree() {
    local dir=$1 cache=${KEIKI_CACHE:-/var/cache/keiki}/debian.tar
    local suite
    suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-bookworm}")
    if [ ! -f "$cache" ]; then
        echo "==> making a Debian $suite by debootstrap (once; kept as $cache)"
        mkdir -p "$(dirname "$cache")"
        local work
        work=$(mktemp -d)
        debootstrap --variant=minbase --include=systemd-sysv "$suite" "$work/root" "$(debian_mirror)" >"$work/log" 2>&1 || {
            tail -5 "$work/log" >&2
            rm -rf "$work"
            echo "error: debootstrap failed" >&2
            return 1
        }
        rm -rf "$work/root/var/cache/apt/archives/"*.deb
        tar -C "$work/root" --numeric-owner --xattrs --acls -cf "$cache.part" . && mv "$cache.part" "$cache"
        rm -rf --one-file-system "$work"
    fi
    mkdir -p "$dir" && tar -C "$dir" --numeric-owner --xattrs --acls -xf "$cache"
}

# Prints the mirror that this machine uses already.
debian_mirror() {
    local found
    found=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
        grep -oE '(http|https)://[^ ]+' | grep -v security | head -1)
    echo "${found:-http://deb.debian.org/debian}"
}

# Prints what must not change: mounts, loop devices, cgroups of containers, runtime directories. `lxc.pivot` is where LXC's own
# monitors go to die; LXC leaves it, we never make it.
host_state() {
    awk '{ print "mount", $5 }' /proc/self/mountinfo
    losetup -n -O NAME,BACK-FILE 2>/dev/null | sed 's/^/loop /'
    find /sys/fs/cgroup -maxdepth 3 \( -name 'lxc.*' -o -name 'keiki*' \) ! -name lxc.pivot 2>/dev/null | sort | sed 's/^/cgroup /'
    [ ! -d /run/keiki ] || find /run/keiki -mindepth 2 -maxdepth 2 | sort | sed 's/^/run /'
}
