#!/bin/bash
# Runs inside the rig's virtual machine: a command, and then the check that the machine is as it was.
#
#   in-vm.sh COMMAND…
#
# The command's output goes on; a line of counts for the check follows. Exit code: the command's, or 1 when something is left.
set -uo pipefail

# Everything that a store can leave behind in a machine, one a line.
machine_state() {
    vgs --noheadings -o vg_name,pv_count 2>/dev/null | sed 's/^ */vg /'
    pvs --noheadings -o pv_name 2>/dev/null | sed 's/^ */pv /'
    dmsetup ls 2>/dev/null | grep -v '^No devices' | sort | sed 's/^/dm /'
    if [ -e /sys/module/zfs ]; then zpool list -H -o name | sed 's/^/pool /'; fi
    losetup -n -O NAME,BACK-FILE 2>/dev/null | sed 's/^/loop /'
    awk '{ print "mount", $5 }' /proc/self/mountinfo | sort
    find /sys/fs/cgroup -maxdepth 3 \( -name 'lxc.*' -o -name 'keiki*' \) 2>/dev/null | sort | sed 's/^/cgroup /'
}

# Nobody makes it when no systemd runs.
[ -e /dev/fd ] || ln -s /proc/self/fd /dev/fd
modprobe -a loop dm-mod dm-snapshot dm-thin-pool btrfs xfs overlay 2>/dev/null
[ ! -e /dev/rig/zfs ] || modprobe zfs || exit 1
for program in ./*; do [ ! -x "$program" ] || chmod 755 "$program"; done
# Without udev nobody makes it, and process substitution needs it.
[ -e /dev/fd ] || ln -s /proc/self/fd /dev/fd
before=$(machine_state)
code=0
# Not to the console itself, where programs draw progress; nor from it, where they would wait for an answer.
"$@" </dev/null 2>&1 | cat
code=${PIPESTATUS[0]}
after=$(machine_state)
if [ "$before" = "$after" ]; then
    echo "nothing is left in the machine: 1 passed, 0 failed"
else
    echo "FAIL something is left in the machine"
    diff <(echo "$before") <(echo "$after") | sed 's/^/       /'
    echo "nothing is left in the machine: 0 passed, 1 failed"
    [ $code -ne 0 ] || code=1
fi
exit $code
