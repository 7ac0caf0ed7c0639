#!/bin/bash
# `keiki promote` on a real pool, inside the rig's virtual machine: the origin goes afterwards; kills at every step; snapshots that move;
# chains; ghosts, which go with the last that needs them.
set -uo pipefail
cd "$(dirname "$0")/../../.."
. tests/lib/claims.sh
. tests/lib/pools.sh
work=/var/tmp/faults programs=$PWD/programs
mkdir -p "$work"
. tests/suites/faults/common.sh
make_pool zfs || exit 1
options=("${pool_options[@]}")
trap 'drop_pools' EXIT

datasets() { zfs list -H -o name -r -t all tank/lxc | sed 's|tank/lxc/\{0,1\}||;/^$/d' | paste -sd' '; }
origin() { zfs get -H -o value origin "tank/lxc/$1"; }
needs() { keiki destroy --dry-run "$1" 2>&1; }
consistent() { keiki check && names >/dev/null; }
nothing_left() { [ "$(datasets)" = "" ] || { datasets; return 1; }; }
family() { marked "$1" "${options[@]}" && keiki clone --snapshot "$1" "$2" && keiki run "$2" -- /bin/sh -c "echo 'of $2' > /mark; sync"; }

# --- the plain case --------------------------------------------------------------------------------------------------
yard plain
claim "a family" family base web
claim "before, the parent's data is needed" test "$(origin web)" != "-"
claim "a clone is promoted" keiki promote web
claim "it needs nobody" test "$(origin web)" = "-"
claim "its origin stands on it" test "${x:=$(origin base)}" != "${x#tank/lxc/web@}"
claim "that is what a destroy with dependents says" says base keiki destroy --dry-run --with-dependents web
claim "promoting again changes nothing" keiki promote web
claim "the check finds nothing" consistent
claim "the clone is whole" has_mark web "of web"
claim "the former parent is whole" has_mark base "of base"
claim "the former parent can be promoted back" keiki promote base
claim "and the clone again" keiki promote web
claim "the former parent goes" keiki destroy base
claim "the clone is still whole" has_mark web "of web"
claim "nothing but the clone is left" test "$(datasets)" = web
claim "it goes as well" keiki destroy web
claim "nothing is left" nothing_left

# --- killed, and failing, at every step --------------------------------------------------------------------------------
for fault in kill:promote.effect kill:zfs.promote kill:promote.relations kill:promote.record error:zfs.promote error:promote.record; do
    failure=${fault%%:*} step=${fault#*:}
    yard "$failure-$step"
    claim "$failure at $step: a family" family base web
    KEIKI_FAILPOINT=$step:$failure quiet keiki promote web
    claim "$failure at $step: it did not end well" test $? -ne 0
    claim "$failure at $step: both are listed" test "$(names)" = "base web"
    claim "$failure at $step: the check finds nothing" consistent
    claim "$failure at $step: both are whole" eval 'has_mark web "of web" && has_mark base "of base"'
    claim "$failure at $step: it succeeds now" keiki promote web
    claim "$failure at $step: the former parent goes" keiki destroy base
    claim "$failure at $step: the clone is whole" has_mark web "of web"
    claim "$failure at $step: it goes" keiki destroy web
    claim "$failure at $step: nothing is left" nothing_left
done

# --- killed behind the effect, and the origin is destroyed by the next command ------------------------------------------
yard next
claim "a family for the next command" family base web
KEIKI_FAILPOINT=promote.record:kill quiet keiki promote web
claim "the next command may be the origin's destroy" keiki destroy base
claim "then the clone is whole" has_mark web "of web"
claim "and alone" test "$(datasets)" = web
claim "it goes as the last" keiki destroy web

# --- snapshots move ----------------------------------------------------------------------------------------------------
yard moving
claim "a container with history" marked base "${options[@]}"
for n in 0 1 2; do
    quiet keiki snapshot create base
    quiet keiki run base -- /bin/sh -c "echo $n > /state; sync"
done
claim "a clone of its second snapshot" keiki clone --snapshot base@snap1 web
KEIKI_FAILPOINT=promote.files:kill quiet keiki promote web
claim "killed before configurations: the check finds nothing" consistent
claim "it is promoted" keiki promote web
claim "two snapshots moved" test "$(zfs list -H -t snapshot -o name -r tank/lxc/web | wc -l)" -eq 2
claim "the container keeps its three" test "$(keiki snapshot list base --format csv | tail -n +2 | wc -l)" -eq 3
claim "one that moved can be cloned" keiki clone --snapshot base@snap1 old
claim "with what it held" test "$(keiki run old -- /bin/sh -c 'cat /state')" = 0
claim "one that moved can be restored as another" keiki snapshot restore base snap0 --as first
claim "one that stayed as well" keiki snapshot restore base snap2
claim "the container shows it" test "$(keiki run base -- /bin/sh -c 'cat /state')" = 1
claim "one that nobody needs goes" keiki destroy first
claim "a rename takes along what moved" keiki rename base root
claim "the check finds nothing behind it" consistent
claim "a rename of the clone as well" keiki rename web shop
claim "and nothing behind that" consistent
claim "a snapshot is there still" keiki clone --snapshot root@snap0 zero
claim "with nothing in it" fails_with_any keiki run zero -- /bin/sh -c 'cat /state'
claim "the family goes" keiki destroy --with-dependents root
claim "what is left goes" eval '[ -z "$(names)" ] || keiki destroy --with-dependents $(names)'
claim "no dataset is left of it" nothing_left

# --- somebody else's snapshot of the same name -------------------------------------------------------------------------
yard conflict
claim "a container" marked base "${options[@]}"
zfs snapshot tank/lxc/base@weekly
claim "a clone of it" keiki clone --snapshot base web
zfs snapshot tank/lxc/web@weekly
claim "a foreign snapshot would move, and its name is taken there" refused 4 weekly keiki promote web
claim "nothing changed" eval 'consistent && has_mark web "of base" && has_mark base "of base"'
zfs destroy tank/lxc/web@weekly
claim "with the name free it moves" keiki promote web
claim "it is untouched" quiet zfs list tank/lxc/web@weekly
claim "and keeps the clone from going" refused_any weekly keiki destroy --with-dependents web
zfs destroy tank/lxc/web@weekly
claim "without it the next command takes away what is left" eval 'names >/dev/null; nothing_left'

# --- a chain, and ghosts -----------------------------------------------------------------------------------------------
yard chain
claim "a chain of three" eval 'family a b && keiki clone --snapshot b c'
claim "its end is promoted over both" keiki promote c
claim "it needs nobody now" test "$(origin c)" = "-"
claim "the check finds nothing in the chain" consistent
claim "the others go" keiki destroy --with-dependents a b
claim "the end is whole" has_mark c "of b"
claim "alone" test "$(datasets)" = c
claim "and goes" keiki destroy c

yard ghosts
claim "a chain for ghosts" eval 'family a b && keiki clone --snapshot b c && keiki clone --snapshot c d'
claim "its beginning goes and stays for the others" keiki destroy a
claim "its middle as well" eval 'keiki destroy b && keiki destroy c'
claim "they are kept aside" test "$(zfs list -H -o name -r tank/lxc | grep -c keiki-ghost-)" -eq 3
claim "their names are free" marked a "${options[@]}"
claim "a killed destroy of the last" eval '! KEIKI_FAILPOINT=destroy.reclaim:kill quiet keiki destroy d'
claim "is finished by the next command" test "$(names)" = a
claim "with every ghost" test "$(datasets)" = a
claim "the new one is whole" has_mark a "of a"
claim "it goes" keiki destroy a

yard ghostly
claim "a chain whose beginning is a ghost" eval 'family a b && keiki clone --snapshot b c && keiki destroy a && keiki destroy b'
claim "its end is promoted over ghosts" keiki promote c
claim "ghosts that nobody needs are gone" test "$(datasets)" = c
claim "it is whole" has_mark c "of b"
claim "the check finds nothing with it" consistent
claim "it goes at last" keiki destroy c
claim "nothing is left at all" nothing_left

yard reclaimed
claim "another chain whose beginning is a ghost" eval 'family a b && keiki destroy a'
claim "killed before the ghost goes" eval '! KEIKI_FAILPOINT=promote.reclaim:kill quiet keiki promote b'
claim "the next command finishes it" eval 'quiet keiki promote b && test "$(datasets)" = b'
claim "the check finds nothing behind a kill" consistent
claim "a snapshot that is a ghost moves, and goes with whom it serves" eval \
    'keiki snapshot create b && keiki clone --snapshot b@snap0 c && keiki snapshot destroy b snap0 && keiki promote c && keiki destroy b'
claim "nothing but the clone is left of it" test "$(datasets)" = c
claim "it goes in the end" eval 'keiki destroy c && nothing_left'
finish_claims
