#!/bin/bash
# The matrix of copies: a container in each of the seven stores, cloned into every store, and both trees compared by a hash.
#
#   tests/suites/copies.sh [--write]
#
# It runs in the rig's virtual machine, where all seven are. `--write` puts the table into docs/copies.md. Of the stores that the
# machine itself has, `cargo test -p keiki-kit --test matrix` shows the cells at once.
set -uo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/packages.sh
. tests/lib/machine.sh
prepare_machine || { skip_machine; exit 0; }

log=$(mktemp) || exit 2
trap 'rm -f "$log"' EXIT
code=0
tests/rig/kit-in-vm.sh -t 1500 -x matrix lvm-plain,lvm-thin,zfs | tee "$log" || code=$?
[ "${1:-}" = --write ] && [ $code -eq 0 ] || exit $code

{
    cat <<END
# Copies between stores

\`keiki clone WEB1 WEB2 --bdev STORE\` copies a container from any store to any other. Below is every store copied into every store, by
one engine, in the rig's virtual machine (\`tests/suites/copies.sh --write\`, $(date -u +%F), Linux $(sed -n 's/^kernel //p' "${KEIKI_CACHE:-/var/cache/keiki}/rig/image/versions.txt" | head -1)).

END
    sed -n '/^| from, to/,/^$/p' "$log"
    cat <<'END'
*equal*: both trees have one hash over names, types, modes (setuid, setgid, sticky), owners (beyond 65,535 too), times to the nanosecond,
user, trusted and security attributes, file capabilities, access and default ACLs, groups of hard links (of links and fifos too), link
texts, device numbers and content; files with holes take no more room than their data; and the source is what it was. *shared*: the
store copies by sharing blocks (an independent clone that costs nothing); *reflinked*: the file system shares the blocks of each file.

The tree is the one of the kit's section *fidelity*, at once: 29 features, among them paths of 6,000 bytes, names that are not
UTF-8 and a file that is one hole of 1 GiB. dir, overlay and loop are on ext4 here, lvm has ext4 in its volumes.

Not compared: access times, birth times, inode flags (`chattr +i`), the sizes of directories, and where exactly the holes lie.

## Between hosts

`keiki send` and `keiki receive` keep the same (the kit's section *transfer* sends that tree through a pipe and compares). In a store's own form
(`--native`) the kernel decides what is kept. btrfs: everything above, but no path beyond 4,096 bytes (refused), no subvolumes inside
(refused), and holes that were punched since the base arrive as stored zeros.
END
} >docs/copies.md
exit 0
