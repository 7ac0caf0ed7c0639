# Plain LVM: a volume group without room, and a snapshot that overflows.
claim "a volume larger than the group is refused" refused_any "tank" keiki create other --template none --bdev lvm --vgname tank --fssize 900G
free=$(vgs --noheadings --units m --nosuffix -o vg_free tank | cut -d. -f1)
lvm_quietly lvcreate -q -y -n ballast -L "$((free - 64))M" tank
claim "a group without room refuses a create" refused_any "" keiki create other --template none "${options[@]}"
claim "and a snapshot clone" refused_any "" keiki clone --snapshot base other
claim "and a snapshot" refused_any "" keiki snapshot create base
claim "nothing of it is left" test "$(names)" = "base web"
claim "no volume of it is left" test "$(leftovers | sort | paste -sd' ')" = "ballast base taken web"
lvm_quietly lvremove -q -y tank/ballast
claim "with room again the clone is made" keiki clone --snapshot base roomy
claim "and goes" keiki destroy roomy
