#!/bin/bash
# Runs the conformance kit of stores that need a machine of their own, inside the rig's virtual machine.
#
#   tests/rig/kit-in-vm.sh [-t SECONDS] [-s SCALE] [-c SECTIONS] [-o DIR] [-x TEST] STORE[,STORE…] [FILTER]
#
#   STORE    lvm-plain, lvm-thin, zfs: the word before the @ in the kit's rigs
#   FILTER   as for `cargo test`: part of a test's name
#   -t       limit for everything, boot included (default 1500)
#   -s       KEIKI_KIT_SCALE (default vm: an emulated machine is ten times slower than this one)
#   -c       sections of the kit, with commas; the cases of others are counted as skipped (default: all)
#   -o       what the machine brings back comes here: kit.log
#   -x       the kit's test program (default conformance): `matrix` copies between all stores
#
# The test program goes in on a small disk, with a data disk for each store (/dev/rig/lvm, /dev/rig/zfs). Its output streams to
# standard output and ends with the usual counts. A second line of counts is for the machine itself: no volume group, pool,
# loop device, device-mapper device or mount may be left in it. Exit code: 0 when all is well.
set -uo pipefail
cd "$(dirname "$0")/../.."

limit=1500 scale=vm sections= out= test=conformance
usage() { sed -n '2,/^set -uo/{/^set -uo/d;s/^# \{0,1\}//;p}' "$0" >&2; exit 2; }
while getopts t:s:c:o:x:h option; do
    case $option in t) limit=$OPTARG ;; s) scale=$OPTARG ;; c) sections=$OPTARG ;; o) out=$OPTARG ;; x) test=$OPTARG ;;
        *) usage ;; esac
done
shift $((OPTIND - 1))
[ $# -ge 1 ] || usage
stores=$1 filter=${2:-}

program=$(cargo test -q -p keiki-kit --test "$test" --no-run --message-format=json |
    sed -n 's/.*"executable":"\([^"]*\/'"$test"'-[^"]*\)".*/\1/p' | tail -1)
[ -x "$program" ] || { echo "rig: the kit does not build" >&2; exit 1; }
payload=$(mktemp -d) || exit 2
trap 'rm -rf "$payload"' EXIT
strip --strip-debug -o "$payload/$test" "$program" 2>/dev/null || cp "$program" "$payload/$test"
cp tests/rig/in-vm.sh "$payload/"

disks=()
case ,$stores, in *,lvm*) disks+=(-d lvm:12G) ;; esac
case ,$stores, in *,zfs,*) disks+=(-d zfs:12G) ;; esac
tests/rig/run-vm.sh -q -t "$limit" -p "$payload" ${out:+-o "$out"} ${disks[@]+"${disks[@]}"} -- \
    ./in-vm.sh env KEIKI_KIT_SCALE="$scale" KEIKI_KIT_RIGS="$stores" ${sections:+KEIKI_KIT_SECTIONS="$sections"} \
    ./"$test" --color never ${filter:+"$filter"}
