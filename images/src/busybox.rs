//! A system of one program: the host's busybox, statically linked, with a link for each of its applets, an init, and the few
//! files that it reads.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use keiki_core::context::Context;
use keiki_core::engine::Fill;
use keiki_core::tool::Tool;
use keiki_core::{Error, ErrorKind, Result, ResultExt};
use rustix::fs::{Mode, OFlags, chmodat, mkdirat, openat, symlinkat};
use rustix::io::Errno;

/// Where Debian and others keep it.
const PROGRAMS: [&str; 3] = ["/bin/busybox", "/usr/bin/busybox", "/usr/local/bin/busybox"];

/// Directories and their modes, parents first.
const DIRECTORIES: [(&str, u32); 24] = [
    ("bin", 0o755),
    ("dev", 0o755),
    ("dev/pts", 0o755),
    ("dev/shm", 0o1777),
    ("etc", 0o755),
    ("etc/init.d", 0o755),
    ("home", 0o755),
    ("lib", 0o755),
    ("lib64", 0o755),
    ("mnt", 0o755),
    ("proc", 0o755),
    ("root", 0o700),
    ("run", 0o755),
    ("sbin", 0o755),
    ("selinux", 0o755),
    ("sys", 0o755),
    ("tmp", 0o1777),
    ("usr", 0o755),
    ("usr/bin", 0o755),
    ("usr/lib", 0o755),
    ("usr/lib64", 0o755),
    ("usr/sbin", 0o755),
    ("var", 0o755),
    ("var/log", 0o755),
];

/// Files and their modes.
const FILES: [(&str, u32, &str); 8] = [
    // init restarts a shell on the console; there is no getty to wait for.
    (
        "etc/inittab",
        0o644,
        "::sysinit:/etc/init.d/rcS\nconsole::askfirst:/bin/sh\n::ctrlaltdel:/sbin/reboot\n::shutdown:/bin/umount -a -r\n",
    ),
    ("etc/init.d/rcS", 0o755, "#!/bin/sh\n/bin/mount -a 2>/dev/null\n/bin/syslogd 2>/dev/null\nexit 0\n"),
    ("etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
    ("etc/group", 0o644, "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n"),
    ("etc/shadow", 0o640, "root:*:19000:0:99999:7:::\n"),
    ("etc/hosts", 0o644, "127.0.0.1 localhost\n::1 localhost\n"),
    ("etc/fstab", 0o644, "# mounted by the container manager\n"),
    ("etc/issue", 0o644, "A busybox system made by keiki\n"),
];

/// A busybox system.
#[derive(Debug, Clone)]
pub struct Busybox {
    program: PathBuf,
}

impl Busybox {
    /// What its init wants in the container's configuration, in LXC's language.
    pub const CONFIG: &'static str =
        "lxc.signal.halt = SIGUSR1\nlxc.signal.reboot = SIGTERM\nlxc.init.cmd = /sbin/init\n";

    /// Finds the host's busybox.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when there is none, or it is not static: it would miss its libraries inside.
    pub fn find() -> Result<Self> {
        let found = PROGRAMS.iter().map(Path::new).find(|path| path.is_file());
        let path = found.ok_or_else(|| {
            Error::new(
                ErrorKind::Unavailable,
                "the template `busybox` needs a static busybox, and there is none here",
            )
            .with_hint("apt install busybox-static")
        })?;
        Self::at(path)
    }

    /// Takes another busybox.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub fn at(path: &Path) -> Result<Self> {
        let shown = || format!("cannot read `{}`", path.display());
        let mut head = Vec::new();
        File::open(path).and_then(|file| file.take(4096).read_to_end(&mut head)).or_err(shown)?;
        match is_static(&head) {
            Some(true) => Ok(Self { program: path.to_owned() }),
            Some(false) => {
                let text =
                    format!("`{}` is linked against libraries that the container would lack", path.display());
                Err(Error::new(ErrorKind::Unavailable, text).with_hint("apt install busybox-static"))
            }
            None => {
                Err(Error::new(ErrorKind::InvalidArgument, format!("`{}` is not a program", path.display())))
            }
        }
    }
}

impl Fill for Busybox {
    fn fill(&mut self, context: &Context, root: BorrowedFd<'_>) -> Result<()> {
        for (name, mode) in DIRECTORIES {
            make_directory(root, name, mode)?;
        }
        for (name, mode, content) in FILES {
            write_file(root, name, mode, &mut content.as_bytes())?;
        }
        let mut program =
            File::open(&self.program).or_err(|| format!("cannot read `{}`", self.program.display()))?;
        write_file(root, "bin/busybox", 0o755, &mut program)?;
        let answer = Tool::at(&self.program)?.call().arg("--list-full").run(context)?;
        for applet in answer.text()?.lines() {
            link_applet(root, applet)?;
        }
        // Some busyboxes list neither.
        for applet in ["bin/sh", "sbin/init"] {
            link_applet(root, applet)?;
        }
        Ok(())
    }
}

fn make_directory(root: BorrowedFd<'_>, name: &str, mode: u32) -> Result<()> {
    let mode = Mode::from_raw_mode(mode);
    match mkdirat(root, name, mode) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno).or_err(|| format!("cannot make `/{name}`")),
    }
    // The process's umask had its say above.
    chmodat(root, name, mode, rustix::fs::AtFlags::empty())
        .or_err(|| format!("cannot set the mode of `/{name}`"))
}

fn write_file(root: BorrowedFd<'_>, name: &str, mode: u32, content: &mut dyn Read) -> Result<()> {
    let shown = || format!("cannot write `/{name}`");
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd: OwnedFd = openat(root, name, flags, Mode::from_raw_mode(mode)).or_err(shown)?;
    rustix::fs::fchmod(&fd, Mode::from_raw_mode(mode)).or_err(shown)?;
    let mut file = File::from(fd);
    std::io::copy(content, &mut file).or_err(shown)?;
    file.flush().or_err(shown)
}

/// Links `usr/bin/awk` and the like to the program, wherever the applet belongs.
fn link_applet(root: BorrowedFd<'_>, applet: &str) -> Result<()> {
    let path = Path::new(applet);
    let known =
        path.parent().is_some_and(|parent| DIRECTORIES.iter().any(|(name, _)| OsStr::new(name) == parent));
    if !known || applet == "bin/busybox" {
        return Ok(());
    }
    match symlinkat("/bin/busybox", root.as_fd(), path) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno).or_err(|| format!("cannot make `/{applet}`")),
    }
}

/// Tells whether an ELF program asks for no interpreter; `None` when it is not an ELF program. elf(5).
fn is_static(head: &[u8]) -> Option<bool> {
    const PT_INTERP: u64 = 3;
    let wide = match head.get(..6)? {
        [0x7f, b'E', b'L', b'F', 2, 1] => true,
        [0x7f, b'E', b'L', b'F', 1, 1] => false,
        _ => return None,
    };
    let number = |at: usize, size: usize| -> Option<u64> {
        let bytes = head.get(at..at.checked_add(size)?)?;
        Some(bytes.iter().rev().fold(0, |value, byte| (value << 8) | u64::from(*byte)))
    };
    let (table, size, count) = if wide {
        (number(32, 8)?, number(54, 2)?, number(56, 2)?)
    } else {
        (number(28, 4)?, number(42, 2)?, number(44, 2)?)
    };
    for index in 0..count {
        let at = usize::try_from(table.checked_add(index * size)?).ok()?;
        if number(at, 4)? == PT_INTERP {
            return Some(false);
        }
    }
    Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dynamic_program_and_a_script_are_told_from_a_static_one() {
        let head = |path: &str| {
            let mut head = Vec::new();
            File::open(path).unwrap().take(4096).read_to_end(&mut head).unwrap();
            head
        };
        assert_eq!(is_static(&head("/bin/ls")), Some(false));
        assert_eq!(is_static(b"#!/bin/sh\n"), None);
        assert_eq!(is_static(b""), None);
        match Busybox::find() {
            Ok(busybox) => assert_eq!(is_static(&head(busybox.program.to_str().unwrap())), Some(true)),
            Err(_) => println!("skipped: needs a static busybox"),
        }
    }

    #[test]
    fn a_system_is_made_with_an_init_and_applets() {
        let Ok(mut busybox) = Busybox::find() else {
            println!("skipped: needs a static busybox");
            return;
        };
        let directory = tempfile::tempdir().unwrap();
        let root = File::open(directory.path()).unwrap();
        busybox.fill(&Context::default(), root.as_fd()).unwrap();
        for name in ["sbin/init", "bin/sh", "bin/ls", "etc/inittab", "bin/busybox"] {
            assert!(std::fs::symlink_metadata(directory.path().join(name)).is_ok(), "{name}");
        }
    }
}
