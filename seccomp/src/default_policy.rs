//! The policy of a container that names none.
//!
//! It refuses what administers the host and what has been a way out of containers again and again, as if the kernel did not
//! have it, so that programs fall back; everything that Debian, Alpine and busybox need to boot stays. Arguments are compared in the 32
//! bits that the kernel looks at.

use crate::policy::{Action, Comparison, Condition, Policy, Reach, Rule, Unknown};

/// Whether containers and sandboxes may be made inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nesting {
    /// User namespaces can be made.
    Allowed,
    /// They cannot: most of what the kernel does only for its own root is out of reach.
    Refused,
}

const EPERM: u16 = 1;
const EACCES: u16 = 13;
const ENOSYS: u16 = 38;
const EAFNOSUPPORT: u16 = 97;
/// Arguments of these calls are `int` or `unsigned int`.
const INT: u64 = 0xffff_ffff;

/// What only the host's administrator has a use for: kernels, modules, ports, accounting, swap, quotas.
const OF_THE_HOST: [&str; 17] = [
    "kexec_load",
    "kexec_file_load",
    "open_by_handle_at",
    "init_module",
    "finit_module",
    "delete_module",
    "acct",
    "swapon",
    "swapoff",
    "quotactl",
    "quotactl_fd",
    "iopl",
    "ioperm",
    "lookup_dcookie",
    "nfsservctl",
    "vm86",
    "vm86old",
];

/// Large parts of the kernel, reachable by anybody, with a history: programs in the kernel, its performance counters, its own
/// queue of system calls, faults in user space, keyrings that know no namespaces.
const OF_HISTORY: [&str; 9] = [
    "bpf",
    "perf_event_open",
    "userfaultfd",
    "io_uring_setup",
    "io_uring_enter",
    "io_uring_register",
    "add_key",
    "request_key",
    "keyctl",
];

/// `AF_UNIX`, `AF_INET`, `AF_INET6`, `AF_NETLINK`, `AF_PACKET`.
const FAMILIES: [u64; 5] = [1, 2, 10, 16, 17];
const AF_NETLINK: u64 = 16;
const NETLINK_AUDIT: u64 = 9;

/// `TIOCSTI` types into a terminal, `TIOCLINUX` and `TIOCCONS` act upon the host's console.
const TERMINAL_REQUESTS: [u64; 3] = [0x5412, 0x541c, 0x541d];

/// Linux, Linux of 32 bits, either without a random layout, either as an old kernel; and the question what it is.
const PERSONALITIES: [u64; 6] = [0, 0x0008, 0x0004_0000, 0x0002_0000, 0x0002_0008, INT];

const CLONE_NEWUSER: u64 = 0x1000_0000;
const MNT_FORCE: u64 = 1;

/// Returns the policy of a container that names none.
#[must_use]
pub fn default_policy(nesting: Nesting) -> Policy {
    let mut rules: Vec<Rule> =
        OF_THE_HOST.iter().chain(&OF_HISTORY).map(|call| rule(call, ENOSYS, Vec::new())).collect();
    for call in ["socket", "socketpair"] {
        rules.push(rule(call, EAFNOSUPPORT, FAMILIES.map(|family| differs(0, family)).to_vec()));
    }
    rules.push(rule("socket", EAFNOSUPPORT, vec![is(0, AF_NETLINK), is(2, NETLINK_AUDIT)]));
    // It hides its arguments from every filter; who still uses it falls back to the calls above.
    rules.push(rule("socketcall", ENOSYS, Vec::new()));
    rules.extend(TERMINAL_REQUESTS.map(|request| rule("ioctl", EPERM, vec![is(1, request)])));
    rules.push(rule("personality", EPERM, PERSONALITIES.map(|known| differs(0, known)).to_vec()));
    rules.push(rule("umount2", EACCES, vec![has(1, MNT_FORCE)]));
    if nesting == Nesting::Refused {
        rules.extend(["unshare", "clone"].map(|call| rule(call, EPERM, vec![has(0, CLONE_NEWUSER)])));
        // Its flags are behind a pointer; the C library falls back to the older call.
        rules.push(rule("clone3", ENOSYS, Vec::new()));
    }
    Policy { default: Action::Allow, unknown: Unknown::Missing, rules }
}

fn rule(call: &str, errno: u16, conditions: Vec<Condition>) -> Rule {
    Rule { reach: Reach::All, call: call.to_owned(), action: Action::Errno(errno), conditions }
}

fn is(argument: u8, value: u64) -> Condition {
    Condition { argument, comparison: Comparison::EqualIn(INT), value }
}

fn has(argument: u8, bit: u64) -> Condition {
    Condition { argument, comparison: Comparison::EqualIn(bit), value: bit }
}

fn differs(argument: u8, value: u64) -> Condition {
    Condition { argument, comparison: Comparison::NotEqualIn(INT), value }
}
