//! Which devices the processes of a cgroup (version 2) may make, read and write: a small program for the kernel's own
//! virtual machine, compiled from rules and attached to the cgroup.
//!
//! The program decides by the first rule that matches, else by the default. It is made of loads, comparisons and
//! returns, so that the kernel's verifier has nothing to doubt.
#![expect(unsafe_code, reason = "bpf(2) has no safe wrapper")]

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use crate::call::{CallError, Result};

/// The kind of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Either.
    Any,
    /// A block device.
    Block,
    /// A character device.
    Character,
}

/// May make the node.
pub const MAKE: u8 = 1;
/// May read.
pub const READ: u8 = 2;
/// May write.
pub const WRITE: u8 = 4;

/// What a filter answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The access is allowed.
    Allow,
    /// The access fails with `EPERM`.
    Deny,
}

/// An exception from the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Of which kind the device is.
    pub kind: Kind,
    /// Its major number; `None` is any.
    pub major: Option<u32>,
    /// Its minor number; `None` is any.
    pub minor: Option<u32>,
    /// [`MAKE`], [`READ`], [`WRITE`], or several of them.
    pub access: u8,
}

/// Loads the filter whose exceptions from `default` are `rules` and attaches it to the cgroup open as `cgroup`.
///
/// # Behavior
/// The filter lives as long as the cgroup. With [`Verdict::Deny`] as default, a rule allows a request when it names
/// everything that is asked for; with [`Verdict::Allow`], it denies one when it names anything of it.
///
/// # Requires
/// Linux 4.15 with `CONFIG_CGROUP_BPF`, and `CAP_BPF` or `CAP_SYS_ADMIN`. `cgroup` is open for reading.
///
/// # Errors
/// `EPERM`, `EINVAL` when the kernel has no such filters, `E2BIG` for thousands of rules.
pub fn attach(cgroup: impl AsFd, default: Verdict, rules: &[Rule]) -> Result<()> {
    let program = load(&compile(default, rules))?;
    let attributes = AttachAttributes {
        target: cgroup.as_fd().as_raw_fd(),
        program: program.as_raw_fd(),
        kind: CGROUP_DEVICE,
        flags: ALLOW_MULTIPLE,
    };
    bpf(PROG_ATTACH, &attributes, "bpf(BPF_PROG_ATTACH, BPF_CGROUP_DEVICE)").map(drop)
}

const PROG_LOAD: i32 = 5;
const PROG_ATTACH: i32 = 8;
const TYPE_CGROUP_DEVICE: u32 = 15;
const CGROUP_DEVICE: u32 = 6;
const ALLOW_MULTIPLE: u32 = 2;

#[repr(C)]
struct LoadAttributes {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

#[repr(C)]
struct AttachAttributes {
    target: RawFd,
    program: RawFd,
    kind: u32,
    flags: u32,
}

fn load(instructions: &[Instruction]) -> Result<OwnedFd> {
    let shown = "bpf(BPF_PROG_LOAD, BPF_PROG_TYPE_CGROUP_DEVICE)";
    let count =
        u32::try_from(instructions.len()).map_err(|_| CallError::new(shown, rustix::io::Errno::TOOBIG))?;
    let attributes = LoadAttributes {
        kind: TYPE_CGROUP_DEVICE,
        count,
        instructions: instructions.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
    };
    let fd = bpf(PROG_LOAD, &attributes, shown)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn bpf<T>(command: i32, attributes: &T, shown: &str) -> Result<RawFd> {
    // SAFETY: bpf(2) reads `size_of::<T>()` bytes, and what the addresses in them point at: instructions and a licence,
    // which the caller keeps alive through the call. It writes nothing without a log.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) };
    RawFd::try_from(result).ok().filter(|fd| *fd >= 0).ok_or_else(|| CallError::last(shown))
}

/// One instruction of the kernel's virtual machine.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Instruction {
    operation: u8,
    /// Destination in the low four bits, source in the high four.
    registers: u8,
    offset: i16,
    immediate: i32,
}

const LOAD_WORD: u8 = 0x61;
const AND_32: u8 = 0x54;
const SHIFT_RIGHT_32: u8 = 0x74;
const MOVE_32: u8 = 0xbc;
const SET: u8 = 0xb7;
const JUMP_UNLESS_EQUAL: u8 = 0x55;
const JUMP_IF_EQUAL: u8 = 0x15;
const EXIT: u8 = 0x95;

/// The answer; the request, whose place is scratch once it is loaded; and its parts.
const R_ANSWER: u8 = 0;
const R_REQUEST: u8 = 1;
const R_KIND: u8 = 2;
const R_ACCESS: u8 = 3;
const R_MAJOR: u8 = 4;
const R_MINOR: u8 = 5;

fn instruction(operation: u8, destination: u8, source: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction { operation, registers: destination | (source << 4), offset, immediate }
}

fn compile(default: Verdict, rules: &[Rule]) -> Vec<Instruction> {
    // struct bpf_cgroup_dev_ctx: kind in the low half of the first word and access in the high, then the numbers.
    let mut program = vec![
        instruction(LOAD_WORD, R_KIND, R_REQUEST, 0, 0),
        instruction(AND_32, R_KIND, 0, 0, 0xffff),
        instruction(LOAD_WORD, R_ACCESS, R_REQUEST, 0, 0),
        instruction(SHIFT_RIGHT_32, R_ACCESS, 0, 0, 16),
        instruction(LOAD_WORD, R_MAJOR, R_REQUEST, 4, 0),
        instruction(LOAD_WORD, R_MINOR, R_REQUEST, 8, 0),
    ];
    let exception = if default == Verdict::Deny { Verdict::Allow } else { Verdict::Deny };
    for rule in rules {
        let mut conditions = access_conditions(default, rule.access);
        let kind = match rule.kind {
            Kind::Any => None,
            Kind::Block => Some(1),
            Kind::Character => Some(2),
        };
        let numbers = [(R_KIND, kind), (R_MAJOR, rule.major), (R_MINOR, rule.minor)];
        for (register, number) in numbers {
            // Compared as 32 bits with their sign, as the loads above are not: such devices do not exist.
            if let Some(number) = number.map(|number| i32::try_from(number).unwrap_or(i32::MAX)) {
                conditions.push(instruction(JUMP_UNLESS_EQUAL, register, 0, 0, number));
            }
        }
        program.extend(guarded(conditions, exception));
    }
    program.extend(answer(default));
    program
}

/// Asks whether the request is covered by an allowing rule, or touched by a denying one.
fn access_conditions(default: Verdict, access: u8) -> Vec<Instruction> {
    let (mask, jump) = match default {
        Verdict::Deny => (!i32::from(access), JUMP_UNLESS_EQUAL),
        Verdict::Allow => (i32::from(access), JUMP_IF_EQUAL),
    };
    vec![
        instruction(MOVE_32, R_REQUEST, R_ACCESS, 0, 0),
        instruction(AND_32, R_REQUEST, 0, 0, mask),
        instruction(jump, R_REQUEST, 0, 0, 0),
    ]
}

/// Lets every jump of the conditions go behind the answer.
fn guarded(mut conditions: Vec<Instruction>, verdict: Verdict) -> Vec<Instruction> {
    let behind = conditions.len() + 2;
    for (at, condition) in conditions.iter_mut().enumerate() {
        if matches!(condition.operation, JUMP_UNLESS_EQUAL | JUMP_IF_EQUAL) {
            // At most eight instructions.
            condition.offset = i16::try_from(behind - at - 1).unwrap_or(i16::MAX);
        }
    }
    conditions.extend(answer(verdict));
    conditions
}

fn answer(verdict: Verdict) -> [Instruction; 2] {
    let number = i32::from(verdict == Verdict::Allow);
    [instruction(SET, R_ANSWER, 0, 0, number), instruction(EXIT, 0, 0, 0, 0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    const NULL: Rule = Rule { kind: Kind::Character, major: Some(1), minor: Some(3), access: READ | WRITE };

    #[test]
    fn jumps_of_a_rule_end_right_behind_it() {
        let program = compile(Verdict::Deny, &[NULL]);
        assert_eq!(program.len(), 6 + 3 + 3 + 2 + 2);
        for (at, instruction) in program.iter().enumerate() {
            if matches!(instruction.operation, JUMP_UNLESS_EQUAL | JUMP_IF_EQUAL) {
                assert_eq!(at + 1 + usize::try_from(instruction.offset).unwrap(), program.len() - 2);
            }
        }
    }

    #[test]
    fn the_kernel_accepts_filters_and_they_decide() {
        let base = crate::cgroup::layout().base();
        let name = format!("keiki-devices-{}", std::process::id());
        let (Ok(made), true) =
            (crate::cgroup::Cgroup::make(&base, &name), crate::cgroup::layout().has_version_2())
        else {
            println!("skipped: needs a writable cgroup tree of version 2");
            return;
        };
        let open = std::fs::File::open(made.path()).unwrap();
        let script = format!(
            "echo $$ > {}/cgroup.procs; echo x > /dev/null && ! head -c 1 /dev/zero > /dev/null 2>&1",
            made.path().display()
        );
        let run = || std::process::Command::new("sh").args(["-c", &script]).status().unwrap().success();
        assert!(!run());
        attach(&open, Verdict::Deny, &[NULL]).unwrap();
        let passed = run();
        made.remove().unwrap();
        assert!(passed, "null is allowed and zero is not");
    }
}
