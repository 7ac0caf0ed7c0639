# Faults of the stores that need no machine of their own: dir, overlay and loop, on this one.

yard dir
claim "dir: a container to stand on" marked base
mkdir -p "$P/taken/rootfs" && echo precious >"$P/taken/rootfs/file"
before=$(find "$P/taken" -printf '%p %i %T@ %s\n' | sort)
claim "dir: a foreign directory under the name is refused" refused 4 "is not a container" keiki create taken --template busybox
claim "dir: for a clone as well" refused 4 "is not a container" keiki clone base taken
claim "dir: for a rename as well" refused 4 "" keiki rename base taken
claim "dir: and is untouched" test "$before" = "$(find "$P/taken" -printf '%p %i %T@ %s\n' | sort)"
claim "dir: nothing but the base is listed" test "$(names)" = base

# Another boot: the owner of an unfinished operation is of a machine that is gone, whoever has its process id now.
rebooted() {
    echo 11111111-2222-3333-4444-555555555555 >"$work/boot_id"
    unshare -m --propagation private bash -c '
        mount --bind "$1" /proc/sys/kernel/random/boot_id; keiki=$2 lxcpath=$3; shift 3; exec "$keiki" -P "$lxcpath" "$@"' \
        rebooted "$work/boot_id" "$programs/keiki" "$P" "$@"
}
for step in clone.staging clone.config clone.volume clone.sync clone.publish clone.relations clone.record; do
    yard "reboot-$step"
    claim "overlay: a container before $step" marked base
    KEIKI_FAILPOINT=$step:kill quiet keiki clone --snapshot base web
    claim "overlay: after a reboot at $step the list is whole" says base rebooted ls
    claim "overlay: the check finds nothing" rebooted check
    if grep -qw web <<<"$(names)"; then
        claim "overlay: the clone is whole" has_mark web "of base"
    else
        claim "overlay: the clone can be made" keiki clone --snapshot base web
    fi
    claim "overlay: nothing is left in the making" test -z "$(ls "$P/.keiki/staging" 2>/dev/null)"
    claim "overlay: both go" keiki destroy --with-dependents base
done

if quiet keiki stores && keiki stores --format csv | cut -d, -f1 | grep -qx loop; then
    yard loop
    claim "loop: a container" marked base --bdev loop --fssize 200M
    claim "loop: without mkfs.ext4 a create is refused with the package" refused 9 "e2fsprogs" \
        hidden mkfs.ext4 create other --template none --bdev loop --fssize 100M
    claim "loop: and leaves nothing" test "$(names)" = base
    claim "loop: no image is left" test -z "$(ls -d "$P/other" 2>/dev/null)"
    claim "loop: without mkfs.ext4 the others are listed" says base hidden mkfs.ext4 ls
    claim "loop: a mkfs that makes nothing is noticed" fails_with_any babbling mkfs.ext4 create other --template none --bdev loop --fssize 100M
    claim "loop: and leaves nothing either" test "$(names)" = base
    mkdir -p "$P/taken/rootdev" "$P/odd" && echo precious >"$P/odd/rootdev"
    claim "loop: a foreign image under the name is refused" refused 4 "is not a container" keiki create odd --template none --bdev loop --fssize 100M
    claim "loop: and untouched" test "$(cat "$P/odd/rootdev")" = precious
    rm -rf "$P/odd" "$P/taken"
    device=$(losetup -f --show "$P/base/rootdev" 2>/dev/null)
    mkdir -p "$work/held" && mount "$device" "$work/held" && { (cd "$work/held" && exec sleep 600) & } && holder=$!
    claim "loop: an image that a process holds open is not destroyed" fails_with 6 keiki destroy base
    kill $holder 2>/dev/null && wait $holder 2>/dev/null
    umount "$work/held"
    losetup -d "$device" 2>/dev/null
    claim "loop: its content is there" has_mark base "of base"
    KEIKI_FAILPOINT=clone.sync:kill quiet keiki clone --copy base web
    claim "loop: after a reboot in a clone the check finds nothing" rebooted check
    claim "loop: what was there is there" has_mark base "of base"
    claim "loop: the clone can be made" keiki clone --copy base again
    claim "loop: all go" keiki destroy base again
    claim "loop: no loop device is left" test -z "$(losetup -n -O BACK-FILE | grep -F "$work")"
fi
