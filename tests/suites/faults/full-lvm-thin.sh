# A thin pool at 100 % data: small, and told to fail writes at once instead of holding them for a minute.
lvm_quietly lvcreate -q -y --type thin-pool -L 400M --poolmetadatasize 8M -n small tank
lvm_quietly lvchange -q -y --errorwhenfull y tank/small
yard full
claim "a container in a small pool" marked ground --bdev lvm --vgname tank --thinpool small --fssize 600M
claim "a second one" marked hungry --bdev lvm --vgname tank --thinpool small --fssize 600M
quiet keiki run hungry -- /bin/sh -c 'dd if=/dev/zero of=/big bs=1M count=580 conv=fsync'
claim "the pool is full" test "$(lvs --noheadings -o data_percent tank/small | tr -d ' ' | cut -d. -f1)" -ge 99
claim "a clone is refused with the remedy" refused_any "lvextend" keiki clone --snapshot ground other
claim "a create as well" refused_any "lvextend" keiki create other --template none --bdev lvm --vgname tank --thinpool small --fssize 100M
claim "a snapshot as well" refused_any "lvextend" keiki snapshot create ground
claim "nothing of it is left" test "$(names)" = "ground hungry"
claim "everything is listed" says hungry keiki ls
lvm_quietly lvextend -q -L +400M tank/small
claim "with room again the other container is whole" has_mark ground "of ground"
claim "and the clone is made" keiki clone --snapshot ground other
claim "all go" keiki destroy ground hungry other
lvm_quietly lvremove -q -y tank/small
yard lvm-thin
