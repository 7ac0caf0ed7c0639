//! Threads of their own for mounts that need another mount namespace or another file system user.
//!
//! What a thread mounts in a private namespace is seen by nobody and goes with the thread, also when the process is
//! killed. Descriptors are shared with the process, so that a detached copy made inside can be handed out. Threads of a
//! pool are never used: what was changed on them could not be given back.

use rustix::io::Errno;

use super::{MountError, Result};

/// Runs `work` on a new thread in a mount namespace of its own, from which nothing propagates.
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN`, `EAGAIN` when no thread could be made, and what `work` returns.
pub fn in_private_namespace<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    on_own_thread(enter, work)
}

/// Runs `work` on a new thread that makes files as the user `uid` and the group `gid`, with every capability that we have.
///
/// Overlayfs makes its own files as whoever mounted it; on id-mapped layers that must be one who exists there.
///
/// # Errors
/// `EPERM` without `CAP_SETUID` and `CAP_SETGID`, `EAGAIN` when no thread could be made, and what `work` returns.
pub fn as_owner<T: Send>(uid: u32, gid: u32, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    on_own_thread(|| become_owner(uid, gid), work)
}

fn on_own_thread<T: Send>(
    prepare: impl FnOnce() -> Result<()> + Send,
    work: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("mounts".to_owned()).spawn_scoped(scope, || {
            prepare()?;
            work()
        });
        let thread = thread.map_err(|_| MountError::new("clone(CLONE_THREAD)", Errno::AGAIN))?;
        // A panic in `work` has been reported by the runtime already; here it is a failed call.
        thread.join().unwrap_or_else(|_| Err(MountError::new("a thread for mounts", Errno::CANCELED)))
    })
}

fn become_owner(uid: u32, gid: u32) -> Result<()> {
    let (user, group) = (nix::unistd::Uid::from_raw(uid), nix::unistd::Gid::from_raw(gid));
    nix::unistd::setfsgid(group);
    nix::unistd::setfsuid(user);
    // Both calls answer with the id before, whether they succeeded or not.
    if nix::unistd::setfsgid(group) != group || nix::unistd::setfsuid(user) != user {
        return Err(MountError::new(format!("setfsuid({uid}), setfsgid({gid})"), Errno::PERM));
    }
    // The change took the capabilities about files from the effective set.
    let refused = |call: &'static str| move |errno| MountError::new(call, errno);
    let mut sets = rustix::thread::capabilities(None).map_err(refused("capget()"))?;
    sets.effective = sets.permitted;
    rustix::thread::set_capabilities(None, sets).map_err(refused("capset(effective = permitted)"))
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
    fn files_are_made_as_another_user_and_only_on_that_thread() {
        use std::os::unix::fs::MetadataExt;
        let directory = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            std::fs::write(directory.path().join(name), "x").unwrap();
            std::fs::metadata(directory.path().join(name)).unwrap().uid()
        };
        match as_owner(1234, 1234, || Ok(make("theirs"))) {
            Err(error) if error.errno == Errno::PERM => println!("skipped: needs CAP_SETUID"),
            other => assert_eq!(other.unwrap(), 1234),
        }
        assert_eq!(make("ours"), rustix::process::geteuid().as_raw());
    }

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
