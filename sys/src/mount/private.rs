//! A thread of its own in a private mount namespace, for what only `mount(2)` can do.
//!
//! What the thread mounts is seen by nobody and goes with the thread, also when the process is killed. Descriptors are
//! shared with the process, so that a detached copy made inside can be handed out. Threads of a pool are never used:
//! their namespace could not be given back.

use rustix::io::Errno;

use super::{MountError, Result};

/// Runs `work` on a new thread in a mount namespace of its own, from which nothing propagates.
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN`, `EAGAIN` when no thread could be made, and what `work` returns.
pub fn in_private_namespace<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread =
            std::thread::Builder::new().name("private-mounts".to_owned()).spawn_scoped(scope, || {
                enter()?;
                work()
            });
        let thread = thread.map_err(|_| MountError::new("clone(CLONE_THREAD)", Errno::AGAIN))?;
        // A panic in `work` has been reported by the runtime already; here it is a failed call.
        thread
            .join()
            .unwrap_or_else(|_| Err(MountError::new("a thread with private mounts", Errno::CANCELED)))
    })
}

fn enter() -> Result<()> {
    let refused = |call: &'static str| {
        move |errno: nix::Error| MountError::new(call, Errno::from_raw_os_error(errno as i32))
    };
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).map_err(refused("unshare(CLONE_NEWNS)"))?;
    let (none, flags) = (None::<&str>, nix::mount::MsFlags::MS_REC | nix::mount::MsFlags::MS_PRIVATE);
    nix::mount::mount(none, "/", none, flags, none).map_err(refused("mount(\"/\", MS_REC|MS_PRIVATE)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_made_inside_is_not_seen_outside_and_goes_with_the_thread() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().to_owned();
        let inside = in_private_namespace(|| {
            super::super::mount_classic("tmpfs", &place, b"size=1M")?;
            std::fs::write(place.join("file"), "x").unwrap();
            Ok(std::fs::read_dir(&place).unwrap().count())
        });
        match inside {
            Err(error) if error.errno == Errno::PERM => println!("skipped: needs CAP_SYS_ADMIN"),
            other => assert_eq!(other.unwrap(), 1),
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
