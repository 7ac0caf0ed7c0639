#!/bin/bash
# A Debian by debootstrap: /sbin/init started, commands run in it, cloned 100 times as snapshot clones.
set -uo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/claims.sh
. tests/lib/ground.sh
command -v debootstrap >/dev/null || { echo "skipped: needs debootstrap"; echo "0 passed, 0 failed, 1 skipped"; exit 0; }
cargo build --quiet --bins -p keiki -p keiki-runtime || exit 1
target=${CARGO_TARGET_DIR:-$PWD/target}/debug
work=$(mktemp -d /var/tmp/keiki-clones.XXXXXX)
P=$work/lxc
mkdir -p "$P"
export KEIKI_STATE=$work/state
keiki() { "$target/keiki" -P "$P" "$@"; }
cleanup() {
    keiki stop --kill clone1 clone100 2>/dev/null
    rm -rf --one-file-system "$work"
}
trap cleanup EXIT
debian_tree "$work/rootfs" || exit 1
count() { keiki ls --format csv | tail -n +2 | wc -l; }

claim "a Debian becomes a container" keiki create debian --template local -- --rootfs "$work/rootfs"
claim "it is cloned a hundred times in one command" keiki clone --snapshot debian $(seq -f 'clone%g' 1 100)
claim "a hundred and one containers are listed" test "$(count)" = 101
claim "the hundred clones take little space" test "$(du -sm --exclude=debian "$P" | cut -f1)" -lt 60
claim "the first starts its own init" keiki start clone1
claim "pid 1 is init" says systemd keiki exec clone1 -- cat /proc/1/comm
claim "its packages are there" says "install ok installed" keiki exec clone1 -- dpkg-query -W -f '${Status}' bash
claim "the exit code of a command comes back" fails_with 42 keiki exec clone1 -- /bin/bash -c 'exit 42'
claim "the last one runs /bin/bash as its init" says clone100 keiki run clone100 -- /bin/bash -c hostname
claim "what one clone writes" keiki exec clone1 -- /bin/bash -c 'echo one > /root/mark'
claim "no other clone sees" fails_with 1 keiki run clone2 -- test -e /root/mark
claim "clone1 stops" keiki stop clone1 --timeout 30
claim "the parent refuses to go and names its dependents" says clone57 keiki destroy debian
claim "parent and clones go together" keiki destroy --with-dependents debian
claim "nothing is left" test "$(count)" = 0
finish_claims
