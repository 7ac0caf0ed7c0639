//! Filters of system calls: seccomp(2).
#![expect(unsafe_code, reason = "seccomp(2) has no safe wrapper")]

use crate::call::{CallError, Result};
use rustix::io::Errno;

/// One instruction, as `struct sock_filter` has it: code, two distances, operand.
pub type Instruction = (u16, u8, u8, u32);

const SECCOMP_SET_MODE_FILTER: u32 = 1;

/// Lets the kernel ask `program` about every further system call of this thread and of what it starts; there is no way back.
///
/// # Requires
/// `CAP_SYS_ADMIN` in the thread's user namespace, or no new privileges.
///
/// # Errors
/// `EACCES` without either, `EINVAL` for a program that the kernel does not take, `ENOSYS` or `EINVAL` without `CONFIG_SECCOMP_FILTER`.
pub fn load(program: &[Instruction]) -> Result<()> {
    let shown = || format!("seccomp(SECCOMP_SET_MODE_FILTER, {} instructions)", program.len());
    let mut instructions: Vec<libc::sock_filter> =
        program.iter().map(|&(code, jt, jf, k)| libc::sock_filter { code, jt, jf, k }).collect();
    let len =
        libc::c_ushort::try_from(instructions.len()).map_err(|_| CallError::new(shown(), Errno::TOOBIG))?;
    let filter = libc::sock_fprog { len, filter: instructions.as_mut_ptr() };
    // SAFETY: the kernel copies `len` instructions from behind the pointer during the call; both live through it.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &raw const filter) };
    if result == 0 { Ok(()) } else { Err(CallError::last(shown())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_none_is_refused() {
        // A jump beyond its end.
        assert_eq!(load(&[(0x05, 0, 0, 7)]).unwrap_err().errno, Errno::INVAL);
        assert_eq!(load(&[]).unwrap_err().errno, Errno::INVAL);
    }
}
