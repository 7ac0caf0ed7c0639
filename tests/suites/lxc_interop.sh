#!/bin/bash
# Containers of LXC's own tools under Keiki, and of Keiki under LXC's tools, on one lxcpath.
set -uo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/claims.sh
command -v lxc-start >/dev/null || { echo "skipped: needs Debian's lxc package"; echo "0 passed, 0 failed, 1 skipped"; exit 0; }
cargo build --quiet --bins -p keiki -p keiki-runtime || exit 1
target=${CARGO_TARGET_DIR:-$PWD/target}/debug
work=$(mktemp -d /var/tmp/keiki-interop.XXXXXX)
P=$work/lxc
mkdir -p "$P"
export KEIKI_STATE=$work/state
keiki() { "$target/keiki" -P "$P" "$@"; }
cleanup() {
    for name in made-by-lxc made-by-keiki clone-of-lxc; do
        lxc-stop -k -P "$P" -n $name 2>/dev/null
        "$target/keiki" -P "$P" stop --kill $name 2>/dev/null
    done
    rm -rf --one-file-system "$work"
}
trap cleanup EXIT
# No bridge on a test machine.
printf 'lxc.net.0.type = empty\n' >"$work/net.conf"
state_of() { lxc-info -P "$P" -n "$1" -s -H; }
eventually() { for _ in $(seq 100); do "$@" >/dev/null 2>&1 && return 0; sleep 0.05; done; "$@"; }

claim "lxc-create makes a busybox container" lxc-create -P "$P" -n made-by-lxc -t busybox -f "$work/net.conf"
config_before=$(cat "$P/made-by-lxc/config")
claim "keiki ls lists it" says made-by-lxc keiki ls
claim "keiki info knows its store" says dir keiki info made-by-lxc
claim "keiki starts it" keiki start made-by-lxc
claim "keiki runs a command in it" says made-by-lxc keiki exec made-by-lxc -- hostname
claim "lxc-info sees it run" says RUNNING state_of made-by-lxc
claim "keiki stops it" keiki stop made-by-lxc --kill
claim "its configuration is unchanged" test "$config_before" = "$(cat "$P/made-by-lxc/config")"
claim "lxc-start starts it" lxc-start -P "$P" -n made-by-lxc
claim "keiki ls sees it run under lxc" says RUNNING keiki ls --format csv
claim "keiki refuses to clone it while it runs" fails_with 6 keiki clone --snapshot made-by-lxc clone-of-lxc
claim "keiki refuses to destroy it while it runs" fails_with 6 keiki destroy made-by-lxc
claim "keiki exec works in a container that lxc started" says made-by-lxc keiki exec made-by-lxc -- hostname
claim "lxc-stop stops it" lxc-stop -k -P "$P" -n made-by-lxc
claim "keiki clones it as a snapshot clone" keiki clone --snapshot made-by-lxc clone-of-lxc
claim "LXC's own relation file names the clone" grep -qx clone-of-lxc "$P/made-by-lxc/lxc_snapshots"
claim "LXC's own relation file names the parent" grep -qx made-by-lxc "$P/clone-of-lxc/lxc_rdepends"
claim "keiki refuses to start the parent" fails_with 5 keiki start made-by-lxc
claim "keiki refuses to destroy the parent" fails_with 5 keiki destroy made-by-lxc
claim "lxc-destroy refuses too" fails_with 1 lxc-destroy -P "$P" -n made-by-lxc
claim "lxc-start starts keiki's clone" lxc-start -P "$P" -n clone-of-lxc
claim "lxc-attach reads its name" says clone-of-lxc lxc-attach -P "$P" -n clone-of-lxc -- hostname
claim "lxc-stop stops keiki's clone" lxc-stop -k -P "$P" -n clone-of-lxc
claim "keiki destroys the clone" keiki destroy clone-of-lxc
claim "the relation is gone" test ! -s "$P/made-by-lxc/lxc_snapshots"
claim "keiki destroys the container of lxc" keiki destroy made-by-lxc
claim "nothing of it is left" test ! -e "$P/made-by-lxc"

claim "keiki makes a container" keiki create made-by-keiki --template busybox
claim "lxc-ls lists it" says made-by-keiki lxc-ls -P "$P"
claim "lxc-start starts it" lxc-start -P "$P" -n made-by-keiki
claim "lxc-info sees it run" eventually says RUNNING state_of made-by-keiki
claim "lxc-attach runs a command in it" says made-by-keiki lxc-attach -P "$P" -n made-by-keiki -- hostname
claim "lxc-stop stops it" lxc-stop -P "$P" -n made-by-keiki -t 10
claim "keiki starts it" keiki start made-by-keiki
claim "lxc-ls -f sees it run" says RUNNING lxc-ls -P "$P" -f
claim "lxc-stop stops what keiki runs" lxc-stop -k -P "$P" -n made-by-keiki
claim "keiki agrees that it is stopped" eventually says STOPPED keiki ls --format csv
claim "lxc-snapshot takes a snapshot" lxc-snapshot -P "$P" -n made-by-keiki
claim "keiki lists the snapshot of lxc" says snap0 keiki snapshot list made-by-keiki
claim "lxc-copy makes a snapshot clone" lxc-copy -P "$P" -n made-by-keiki -N clone-of-lxc -s
claim "keiki sees the clone that lxc made as a dependent" fails_with 5 keiki destroy made-by-keiki
claim "keiki starts the clone that lxc made" keiki start clone-of-lxc
claim "keiki stops it" keiki stop clone-of-lxc --kill
claim "lxc-destroy destroys its clone" lxc-destroy -P "$P" -n clone-of-lxc
claim "keiki destroys the container and the snapshot of lxc" keiki destroy --with-snapshots made-by-keiki
claim "nothing of it is left" test ! -e "$P/made-by-keiki"
finish_claims
