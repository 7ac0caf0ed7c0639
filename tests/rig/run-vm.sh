#!/bin/bash
# Boots the rig's virtual machine, runs one command in it, brings its exit code and files back.
#
#   tests/rig/run-vm.sh [options] -- COMMAND…
#
#   -p DIR        payload: a copy of DIR is the command's working directory
#   -o DIR        what the command writes below $OUT comes here (default: thrown away)
#   -d NAME:SIZE  an extra empty disk, /dev/rig/NAME in the machine; may be given several times
#   -D NAME:FILE  an extra disk backed by FILE, which keeps what is written: for tests that reboot
#   -t SECONDS    limit for everything, boot included (default 1800)
#   -m MEMORY     (default 4G)
#   -s            boots systemd; without it a plain init runs the command, seconds sooner
#   -q            prints only what comes after the machine is up
#
# The console goes to standard output. Exit code: the command's own; 124 when the limit was reached, 125 when the machine ended
# without an answer. The root disk is never changed.
#
# KVM is used when a real boot with it works (it is tried once, the answer is kept in the cache), else emulation: on some
# hosts /dev/kvm opens and guests die in their first instructions.
set -uo pipefail

payload= out= limit=1800 memory=4G arguments= quiet= disks=() kept=()
usage() { sed -n '2,/^set -uo/{/^set -uo/d;s/^# \{0,1\}//;p}' "$0" >&2; exit 2; }
while getopts p:o:d:D:t:m:sqh option; do
    case $option in
        p) payload=$OPTARG ;; o) out=$OPTARG ;; d) disks+=("$OPTARG") ;; D) kept+=("$OPTARG") ;; t) limit=$OPTARG ;;
        m) memory=$OPTARG ;; s) arguments=rig.systemd ;; q) quiet=1 ;; *) usage ;;
    esac
done
shift $((OPTIND - 1))
[ $# -ge 1 ] || usage
image=${KEIKI_CACHE:-/var/cache/keiki}/rig/image
for file in vmlinuz initrd root.img; do
    [ -e "$image/$file" ] || { echo "rig: no $image/$file; tests/rig/build-vm.sh makes it" >&2; exit 2; }
done
command -v qemu-system-x86_64 >/dev/null || { echo "rig: no qemu-system-x86_64 here (apt-get install qemu-system-x86)" >&2; exit 2; }

work=$(mktemp -d) || exit 2
machine=
cleanup() {
    [ -z "$machine" ] || kill -KILL "$machine" 2>/dev/null
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

mkdir "$work/command"
if [ $# = 1 ]; then printf '%s\n' "$1"; else printf '%q ' "$@"; fi >"$work/command/.rig-command"
tar -cf "$work/payload.tar" --owner=0 --group=0 ${payload:+--exclude=./.rig-command -C "$payload" .} \
    -C "$work/command" .rig-command || exit 2
truncate -s %1M "$work/payload.tar"
truncate -s 512M "$work/out.tar"

drives=()
drive() { # file, serial number, further options
    drives+=(-drive "file=$1,if=none,id=$2,format=raw,cache=unsafe${3:+,$3}" -device "virtio-blk-pci,drive=$2,serial=$2")
}
drive "$image/root.img" rigroot snapshot=on
drive "$work/payload.tar" rigpayload readonly=on
drive "$work/out.tar" rigout
for disk in ${disks[@]+"${disks[@]}"}; do
    truncate -s "${disk#*:}" "$work/disk-${disk%%:*}" || exit 2
    drive "$work/disk-${disk%%:*}" "${disk%%:*}"
done
for disk in ${kept[@]+"${kept[@]}"}; do drive "${disk#*:}" "${disk%%:*}"; done

boot() { # accelerator arguments…
    # snapshot=on writes its temporary overlay below TMPDIR.
    TMPDIR=$work exec qemu-system-x86_64 "$@" -machine q35 -m "$memory" -smp 2 -display none -no-reboot -monitor none \
        -nic none -device virtio-rng-pci -kernel "$image/vmlinuz" -initrd "$image/initrd" \
        -append "console=ttyS0 root=/dev/vda rw quiet panic=-1 apparmor=1 security=apparmor mitigations=off systemd.show_status=0 $arguments" \
        "${drives[@]}" </dev/null
}

# Whether KVM really runs a guest here; a boot that says nothing within 15 seconds does not.
kvm_works() {
    local answer=$image/kvm pid
    [ -e /dev/kvm ] || return 1
    if [ ! -e "$answer" ]; then
        (boot -accel kvm -cpu host -serial "file:$work/kvm-console" >/dev/null 2>&1) &
        pid=$!
        for _ in $(seq 150); do
            grep -q 'rig: up' "$work/kvm-console" 2>/dev/null && break
            kill -0 $pid 2>/dev/null || break
            sleep 0.1
        done
        grep -q 'rig: up' "$work/kvm-console" 2>/dev/null && echo yes >"$answer" || echo no >"$answer"
        kill -KILL $pid 2>/dev/null
        { wait $pid; } 2>/dev/null
    fi
    grep -q yes "$answer"
}
accelerator=(-accel tcg,thread=multi -cpu max)
kvm_works && accelerator=(-accel kvm -cpu host)

started=$(date +%s)
if [ -n "$quiet" ]; then filter=(sed -u -n '/rig: up after/,$p'); else filter=(cat); fi
timed_out=
run_machine() {
    : >"$work/console"
    (boot "${accelerator[@]}" -serial stdio >"$work/console" 2>&1) &
    machine=$!
    tail -n +1 -f --pid=$machine "$work/console" 2>/dev/null | sed -u 's/\r//g' | "${filter[@]}" &
    reader=$!
    while kill -0 $machine 2>/dev/null; do
        if [ $(($(date +%s) - started)) -ge "$limit" ]; then
            timed_out=1
            kill -KILL $machine 2>/dev/null
            break
        fi
        sleep 0.2
    done
    wait $machine 2>/dev/null
    machine=
    wait $reader 2>/dev/null
}
# On a host that is very busy an emulated boot may fail; one that never came up has changed nothing and is tried again.
for _ in 1 2 3; do
    run_machine
    if [ -n "$timed_out" ] || grep -qa 'rig: up after' "$work/console"; then break; fi
    echo "rig: the machine did not come up: $(tail -n 1 "$work/console" | tr -d '\r')" >&2
done
[ -n "$quiet" ] || echo "rig: $(($(date +%s) - started)) s in all, ${accelerator[1]}"
[ -z "$timed_out" ] || { echo "rig: the limit of $limit s was reached" >&2; exit 124; }
mkdir "$work/out"
tar -C "$work/out" --no-same-owner -xf "$work/out.tar" 2>/dev/null
code=$(cat "$work/out/.rig-code" 2>/dev/null) || { echo "rig: the machine ended without an answer" >&2; exit 125; }
rm -f "$work/out/.rig-code"
[ -z "$out" ] || { mkdir -p "$out" && cp -a "$work/out/." "$out"; }
exit "$code"
