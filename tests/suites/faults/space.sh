#!/bin/bash
# What `keiki df` says of a zpool against what zfs says and what a destroy really gives back, inside the rig's virtual machine.
set -uo pipefail
cd "$(dirname "$0")/../../.."
. tests/lib/claims.sh
. tests/lib/pools.sh
work=/var/tmp/faults programs=$PWD/programs
mkdir -p "$work"
. tests/suites/faults/common.sh
make_pool zfs || exit 1
trap 'drop_pools' EXIT
yard space

write() { keiki run "$1" -- /bin/sh -c "dd if=/dev/urandom of=/$2 bs=64k count=$3 2>/dev/null; sync" && zpool sync tank; }
# What the pool holds, when everything that was destroyed is given back.
used() { zpool wait -t free tank && zpool sync tank && zfs get -Hp -o value used tank/lxc; }
field() { keiki df --format csv "$1" | tail -n 1 | cut -d, -f"$2"; }
# freed EXACTNESS NAME…: prints what destroying the set would free, if it is told with this exactness.
freed() {
    local want=$1 told
    shift
    told=$(keiki df --total --format json "$@")
    grep -q "\"exactness\": *\"$want\"" <<<"$told" || { echo "told: $told" >&2; return 1; }
    grep -oE '"freed": *[0-9]+' <<<"$told" | grep -oE '[0-9]+$'
}
# Data is counted to the byte; what a dataset itself takes beside it (its directory of properties) is not data.
close() { local gap=$(($1 - $2)); [ ${gap#-} -le "$3" ] || { echo "$1 and $2 are $gap apart"; return 1; }; }

claim "a container" marked base --bdev zfs --zfsroot tank/lxc
quiet write base one 64
quiet keiki snapshot create base
quiet write base one 64
quiet keiki snapshot create base
quiet write base two 32
quiet keiki run base -- /bin/sh -c 'rm /one; sync' && zpool sync tank
claim "a clone" keiki clone --snapshot base web
quiet write web own 48
quiet keiki snapshot create web
quiet write web own 48

claim "referenced is what zfs says" test "$(field web 3)" = "$(zfs get -Hp -o value referenced tank/lxc/web)"
claim "exclusive too" test "$(field web 4)" = "$(zfs get -Hp -o value usedbydataset tank/lxc/web)"
claim "shared is the rest" test "$(field web 5)" = "$(($(field web 3) - $(field web 4)))"
claim "a snapshot alone frees what zfs says" test "$(field web 6)" = "$(zfs destroy -nvp "tank/lxc/web@$(zfs list -H -t snapshot -o name tank/lxc/web | cut -d@ -f2)" | sed -n 's/^reclaim\t//p')"
claim "a whole container is told exactly" freed exact web
told=$(freed exact web) before=$(used)
quiet keiki destroy --with-snapshots web
after=$(used)
echo "     told $told, free since $((before - after))"
claim "and frees that" close "$told" "$((before - after))" 131072
claim "another clone, and a row of snapshots" eval 'keiki clone --snapshot base shop && keiki snapshot create base'
row=$(zfs list -Hp -t snapshot -o name -s createtxg tank/lxc/base | grep -v keiki-clone | head -n 2)
first=$(head -n 1 <<<"$row") last=$(tail -n 1 <<<"$row")
reclaim=$(zfs destroy -nvp "$first%${last#*@}" | sed -n 's/^reclaim\t//p')
sum=$(($(zfs get -Hp -o value used "$first") + $(zfs get -Hp -o value used "$last")))
echo "     a row of two: $sum each for itself, $reclaim together"
claim "snapshots of a row share what neither has alone" test "$reclaim" -ge "$sum"
told=$(freed exact shop base) before=$(used)
quiet keiki destroy --with-dependents base
after=$(used)
echo "     told $told, free since $((before - after))"
claim "a family is told exactly and frees that" close "$told" "$((before - after))" 262144
claim "nothing is left" test "$(zfs list -H -o name -r -t all tank/lxc)" = tank/lxc
finish_claims
