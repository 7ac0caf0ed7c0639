# A zpool at 100 %: a small one on a file.
truncate -s 160M /dev/shm/small.disk
zpool create -f -m none -O compression=off small /dev/shm/small.disk && zfs create small/lxc
yard full
claim "a container in a small pool" marked base --bdev zfs --zfsroot small/lxc
claim "a second one" marked hungry --bdev zfs --zfsroot small/lxc
quiet keiki run hungry -- /bin/sh -c 'dd if=/dev/urandom of=/big bs=64k; sync'
claim "the pool is full" test "$(zfs get -Hp -o value available small/lxc)" -lt 2000000
claim "a copy is refused for want of space" refused_any "" keiki clone --copy hungry other
claim "a create with content as well" refused_any "" keiki create other --template busybox --bdev zfs --zfsroot small/lxc
claim "nothing of it is left" test "$(names)" = "base hungry"
claim "no dataset of it is left" test "$(zfs list -H -o name -r small/lxc | paste -sd' ')" = "small/lxc small/lxc/base small/lxc/hungry"
claim "everything is listed" says hungry keiki ls
claim "the other container is whole" has_mark base "of base"
claim "in a full pool a container can be destroyed" keiki destroy hungry
claim "with room again the clone is made" keiki clone --snapshot base other
claim "all go" keiki destroy other base
zpool destroy -f small
rm -f /dev/shm/small.disk
yard zfs
