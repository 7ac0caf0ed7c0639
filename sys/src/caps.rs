//! Capabilities by the names that configurations use.

use rustix::io::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::call::{CallExt, Result};

/// The names, by number; a kernel may know fewer or more.
pub const NAMES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

/// Returns the number of the capability that a configuration calls `name`: `sys_time`, `CAP_SYS_TIME` or `25`.
#[must_use]
pub fn number(name: &str) -> Option<u8> {
    let lower = name.to_ascii_lowercase();
    let word = lower.strip_prefix("cap_").unwrap_or(&lower);
    let by_name = NAMES.iter().position(|known| *known == word).and_then(|at| u8::try_from(at).ok());
    by_name.or_else(|| word.parse::<u8>().ok().filter(|number| *number < 64))
}

/// Returns the set with one bit for each number.
#[must_use]
pub fn mask(numbers: &[u8]) -> u64 {
    numbers.iter().fold(0, |mask, number| mask | (1 << number))
}

/// Reduces the bounding set of this thread to `kept`.
///
/// # Errors
/// `EPERM` without `CAP_SETPCAP`.
pub fn bound(kept: u64) -> Result<()> {
    for number in 0_u8..64 {
        if kept & (1 << number) != 0 {
            continue;
        }
        let single = CapabilitySet::from_bits_retain(1 << number);
        match rustix::thread::remove_capability_from_bounding_set(single) {
            Ok(()) => {}
            // The first number that the kernel does not have; there are none behind it.
            Err(Errno::INVAL) => break,
            Err(errno) => return Err(errno).of_call(|| format!("prctl(PR_CAPBSET_DROP, {number})")),
        }
    }
    Ok(())
}

/// Empties what a program would inherit over `execve` besides its user's own: inheritable and ambient capabilities.
///
/// # Errors
/// There is no known case.
pub fn clear_inheritable() -> Result<()> {
    rustix::thread::clear_ambient_capability_set()
        .of_call(|| "prctl(PR_CAP_AMBIENT_CLEAR_ALL)".to_owned())?;
    let own = rustix::thread::capabilities(None).of_call(|| "capget()".to_owned())?;
    let sets = CapabilitySets { inheritable: CapabilitySet::empty(), ..own };
    rustix::thread::set_capabilities(None, sets).of_call(|| "capset()".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_by_name_and_number() {
        let table = [
            ("sys_time", Some(25)),
            ("CAP_SYS_TIME", Some(25)),
            ("25", Some(25)),
            ("chown", Some(0)),
            ("no", None),
        ];
        for (name, expected) in table {
            assert_eq!(number(name), expected, "{name}");
        }
        assert_eq!(mask(&[0, 25]), (1 << 25) | 1);
    }
}
