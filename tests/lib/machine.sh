# The rig's virtual machine, for scripts that run a part of themselves in it. Source it after `packages.sh`.
#
# `prepare_machine` installs QEMU and makes the image where it is missing (kept in /var/cache/keiki/rig). Where that cannot
# be done it fails and says in $machine_missing what is needed: the part is skipped then, with that reason.

machine_missing=

prepare_machine() {
    local said
    [ "$(uname -m)" = x86_64 ] || { machine_missing="an x86_64 machine for the rig's virtual machine"; return 1; }
    need_packages qemu-system-x86 cpio debootstrap e2fsprogs || {
        machine_missing="QEMU for the rig's virtual machine (Debian's qemu-system-x86, cpio, debootstrap)"
        return 1
    }
    said=$(tests/rig/build-vm.sh 2>&1) || {
        echo "$said" | tail -n 20
        machine_missing="the image of the rig's virtual machine ($(tail -n 1 <<<"$said"))"
        return 1
    }
}

# What a part prints that needs the machine and has none.
skip_machine() {
    echo "skipped: needs $machine_missing"
    echo "0 passed, 0 failed, 1 skipped"
}
