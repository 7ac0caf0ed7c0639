#!/bin/bash
# The power fails: at every step of a clone, of a snapshot and of a create, and in the moment in which the command returned.
#
#   tests/suites/power.sh [btrfs|overlay|dir|loop]…
#
# Containers and catalogue are on one file system in an image (btrfs for btrfs, ext4 for the others). At the step the
# process is killed, the image is copied as it is — what the file system has not sent to its device is not in the copy —
# and the copy is mounted, which replays its log. Then keiki looks at it: an operation that returned stands, with its
# content; one that did not is there whole or not at all; the check finds nothing, nothing is left in the making.
# A device that loses what it acknowledged without a flush is not imitated. Needs root, mkfs; leaves nothing behind.
set -uo pipefail
cd "$(dirname "$0")/../.."
. tests/lib/claims.sh
[ "$(id -u)" = 0 ] || { echo "skipped: needs root"; exit 0; }
if [ -z "${KEIKI_POWER_WORK:-}" ]; then
    [ -n "${KEIKI_BIN:-}" ] || cargo build --quiet --bins -p keiki -p keiki-runtime || exit 1
    KEIKI_BIN=${KEIKI_BIN:-${CARGO_TARGET_DIR:-$PWD/target}/debug}
    KEIKI_POWER_WORK=$(mktemp -d "${TMPDIR:-/dev/shm}/keiki-power.XXXXXX")
    export KEIKI_BIN KEIKI_POWER_WORK
    trap 'rm -rf --one-file-system "$KEIKI_POWER_WORK"' EXIT
    trap 'exit 130' INT TERM
    unshare --mount --propagation private "$0" "$@"
    exit
fi

work=$KEIKI_POWER_WORK
stores=("$@")
[ ${#stores[@]} -gt 0 ] || stores=(btrfs overlay dir loop)
mkdir -p "$work/disk" "$work/copy"

# One keiki below a mount; the paths in configurations are those of the copy as well, because it is mounted in the same place.
keiki() { KEIKI_STATE=$work/disk/state "$KEIKI_BIN/keiki" -q -P "$work/disk/lxc" "$@"; }

fresh() {
    local filesystem=ext4
    [ "$1" = btrfs ] && filesystem=btrfs
    command -v mkfs.$filesystem >/dev/null || { echo "skipped: needs mkfs.$filesystem"; return 1; }
    rm -f "$work/image"
    truncate -s 512M "$work/image"
    "mkfs.$filesystem" -q "$work/image" >/dev/null 2>&1
    mount -o loop "$work/image" "$work/disk"
    local options=(--bdev "$1")
    [ "$1" = overlay ] && options=(--bdev dir)
    [ "$1" = loop ] && options=(--bdev loop --fssize 64M)
    keiki create base --template busybox "${options[@]}" || return 1
    sync -f "$work/disk"
}

# The disk as it is now takes the place of the disk; the rest is lost with the power.
power_fails() {
    cp --sparse=always "$work/image" "$work/after"
    umount "$work/disk" || return 1
    mv "$work/after" "$work/image"
    mount -o loop "$work/image" "$work/disk"
}

whole() { keiki df "$1" >/dev/null && keiki info "$1" >/dev/null && content "$1"; }
# A config that is empty or an unmarked volume would be found by the check; the content is compared where it can be read.
content() {
    local home=$work/disk/lxc/$1
    grep -q lxc.rootfs.path "$home/config" || { echo "the configuration is lost"; return 1; }
    [ ! -d "$home/rootfs/bin" ] || diff -r --no-dereference "$work/disk/lxc/base/rootfs" "$home/rootfs"
}
listed() { keiki ls --format csv | cut -d, -f1 | grep -qx "$1"; }
clean() {
    keiki check || return 1
    local left
    left=$(ls -A "$work/disk/lxc/.keiki/staging" 2>/dev/null)
    [ -z "$left" ] || { echo "left in the making: $left"; return 1; }
}

# What is done: the words of a command, and how it is known that it was.
act() {
    case $1 in
        clone) keiki clone --snapshot base made ;;
        copy) keiki clone --copy base made ;;
        snapshot) keiki snapshot create --name made base ;;
        create) keiki create made --template none --bdev "${2/overlay/dir}" ${3:+--fssize 64M} ;;
    esac
}
is_made() {
    if [ "$1" = snapshot ]; then
        keiki snapshot list base --format csv | grep -qw made
    else
        listed made
    fi
}
is_whole() { [ "$1" = snapshot ] || [ "$1" = create ] || whole made; }

killed() { KEIKI_FAILPOINT=$1:kill act "${@:2}"; }

# A power failure at one step; `returned` is behind the last.
fail_at() {
    local store=$1 verb=$2 step=$3 loop=
    [ "$store" = loop ] && loop=yes
    fresh "$store" || return
    if [ "$step" = returned ]; then
        claim "$store: $verb succeeds" act "$verb" "$store" $loop
    else
        claim "$store: $verb is killed at $step" fails_with 137 killed "${verb/copy/clone}.$step" "$verb" "$store" $loop
    fi
    claim "$store: $verb, the power fails at $step" power_fails
    keiki ls >/dev/null
    if [ "$step" = returned ]; then
        claim "$store: $verb had returned and stands" is_made "$verb"
    fi
    if is_made "$verb" 2>/dev/null; then
        claim "$store: $verb at $step: it is whole" is_whole "$verb"
    fi
    claim "$store: $verb at $step: the check finds nothing" clean
    umount "$work/disk"
}

for store in "${stores[@]}"; do
    verbs=(clone snapshot create)
    [ "$store" = loop ] || [ "$store" = dir ] && verbs=(copy snapshot create)
    for verb in "${verbs[@]}"; do
        for step in staging config volume sync publish record returned; do
            fail_at "$store" "$verb" "$step"
        done
    done
done
finish_claims
