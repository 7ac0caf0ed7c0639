//! A place of its own for each test: lxcpath, catalogue and run directory below one temporary directory, a busybox
//! system, and a check at the end that nothing is left.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use keiki_core::Result;
use keiki_core::context::Context;
use keiki_core::engine::{ContainerKey, CreateContainer, Fill};
use keiki_core::name::ContainerName;
use keiki_core::registry::{Registry, StoreChoice};
use keiki_core::volume::{Properties, StoreKind};
use keiki_runtime::{
    AttachCommand, Runtime, RuntimeOptions, StartOptions, StopMode, StopOptions, Terminal, default_config,
};
use rustix::fs::{CWD, Mode, OFlags};

/// Where one test plays.
pub(crate) struct Ground {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) runtime: Runtime,
    names: Vec<ContainerName>,
}

/// Returns a ground, or says why there is none.
pub(crate) fn ground() -> Option<Ground> {
    if !rustix::process::geteuid().is_root() || !Path::new("/bin/busybox").exists() {
        println!("skipped: needs root and /bin/busybox (busybox-static)");
        return None;
    }
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("lxc")).unwrap();
    let runtime = open(directory.path());
    Some(Ground { directory, runtime, names: Vec::new() })
}

/// Opens the installation of a ground once more.
pub(crate) fn open(directory: &Path) -> Runtime {
    open_with(directory, env!("CARGO_BIN_EXE_keiki-monitor").into())
}

pub(crate) fn open_with(directory: &Path, monitor: PathBuf) -> Runtime {
    Runtime::open(RuntimeOptions {
        registry: Registry::new()
            .with(std::sync::Arc::new(keiki_dir::DirStore::new()))
            .with(std::sync::Arc::new(keiki_overlay::OverlayStore::new())),
        state: directory.join("state"),
        run: directory.join("run"),
        monitor,
    })
    .unwrap()
}

impl Ground {
    pub(crate) fn key(&self, name: &str) -> ContainerKey {
        ContainerKey { lxcpath: self.directory.path().join("lxc"), name: ContainerName::parse(name).unwrap() }
    }

    /// Makes a busybox container with further lines of configuration; names are unique on the host.
    pub(crate) fn create(&mut self, stem: &str, lines: &str) -> ContainerKey {
        let unique = self.directory.path().file_name().unwrap().to_str().unwrap().replace('.', "");
        let key = self.key(&format!("{stem}-{unique}"));
        let mut config = default_config(&key.name);
        config.extend_from_slice(lines.as_bytes());
        let request = CreateContainer {
            key: key.clone(),
            store: StoreChoice::FirstOf(vec![StoreKind::new("dir")]),
            options: Properties::new(),
            config,
            fill: Some(&mut Busybox),
        };
        self.runtime.engine().create(&Context::default(), request).unwrap();
        self.names.push(key.name.clone());
        key
    }

    /// Forgets a container that was destroyed.
    pub(crate) fn forget(&mut self, key: &ContainerKey) {
        self.names.retain(|name| *name != key.name);
    }

    pub(crate) fn start(&self, key: &ContainerKey, command: &[&str]) -> u32 {
        self.runtime.start(&Context::default(), key, &options(command)).unwrap().pid
    }

    /// Starts something that stays until it is killed.
    pub(crate) fn start_sleeper(&self, key: &ContainerKey) -> u32 {
        self.start(key, &["/bin/sleep", "1000"])
    }

    pub(crate) fn kill(&self, key: &ContainerKey) {
        self.runtime.stop(key, &StopOptions { mode: StopMode::Kill, timeout: Duration::ZERO }).unwrap();
    }

    /// Runs a script inside and returns its exit code; output goes to a file of the container's.
    pub(crate) fn script(&self, key: &ContainerKey, script: &str) -> i32 {
        self.runtime.attach(key, &command(&["/bin/sh", "-c", script])).unwrap()
    }

    /// Returns what a script prints inside.
    pub(crate) fn output(&self, key: &ContainerKey, script: &str) -> String {
        let code = self.script(key, &format!("{{ {script}\n}} > /out 2>&1"));
        let text = std::fs::read_to_string(key.home().join("rootfs/out")).unwrap();
        assert_eq!(code, 0, "{script}: {text}");
        text
    }

    pub(crate) fn run_directory(&self) -> PathBuf {
        self.directory.path().join("run")
    }

    /// Returns the files that monitors left in the run directory.
    pub(crate) fn left_in_run(&self) -> Vec<PathBuf> {
        walk(&self.run_directory()).into_iter().filter(|path| path.is_file()).collect()
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        for name in &self.names {
            let key = ContainerKey { lxcpath: self.directory.path().join("lxc"), name: name.clone() };
            let stopped =
                self.runtime.stop(&key, &StopOptions { mode: StopMode::Kill, timeout: Duration::ZERO });
            if std::thread::panicking() {
                continue;
            }
            stopped.unwrap();
            assert_eq!(cgroups_of(name.as_str()), Vec::<PathBuf>::new());
        }
        if !std::thread::panicking() {
            assert_eq!(self.left_in_run(), Vec::<PathBuf>::new());
            let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
            assert!(!table.contains(self.directory.path().to_str().unwrap()), "a mount is left: {table}");
        }
    }
}

pub(crate) fn options(command: &[&str]) -> StartOptions {
    let command: Vec<OsString> = command.iter().map(OsString::from).collect();
    StartOptions { command: (!command.is_empty()).then_some(command), ..StartOptions::default() }
}

pub(crate) fn command(argv: &[&str]) -> AttachCommand {
    AttachCommand {
        argv: argv.iter().map(OsString::from).collect(),
        terminal: Terminal::Never,
        ..AttachCommand::default()
    }
}

/// Returns the cgroups, in every hierarchy, whose names contain `name`.
pub(crate) fn cgroups_of(name: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let roots = std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten().map(|entry| entry.path());
    for root in roots.chain(["/sys/fs/cgroup".into()]) {
        let Ok(entries) = std::fs::read_dir(root) else { continue };
        let paths = entries.flatten().map(|entry| entry.path());
        found.extend(paths.filter(|path| path.to_string_lossy().contains(name)));
    }
    found
}

fn walk(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    entries.flatten().flat_map(|entry| [vec![entry.path()], walk(&entry.path())].concat()).collect()
}

/// One static busybox and a link for each of its programs.
#[derive(Debug)]
pub(crate) struct Busybox;

impl Fill for Busybox {
    fn fill(&mut self, _context: &Context, root: BorrowedFd<'_>) -> Result<()> {
        for directory in ["bin", "sbin", "etc", "proc", "sys", "dev", "tmp", "root", "usr", "run"] {
            rustix::fs::mkdirat(root, directory, Mode::from_raw_mode(0o755)).unwrap();
        }
        let flags = OFlags::WRONLY | OFlags::CREATE;
        let target = rustix::fs::openat(root, "bin/busybox", flags, Mode::from_raw_mode(0o755)).unwrap();
        let source = rustix::fs::openat(CWD, "/bin/busybox", OFlags::RDONLY, Mode::empty()).unwrap();
        std::io::copy(&mut std::fs::File::from(source), &mut std::fs::File::from(target)).unwrap();
        for program in [
            "sh", "sleep", "true", "false", "cat", "ls", "hostname", "readlink", "mount", "id", "env",
            "kill", "stty", "reboot", "poweroff", "grep", "mknod", "echo", "wc", "tty", "touch", "test",
            "stat", "ip", "head", "mkdir", "umount",
        ] {
            rustix::fs::symlinkat("busybox", root, format!("bin/{program}")).unwrap();
        }
        rustix::fs::symlinkat("../bin/busybox", root, "sbin/init").unwrap();
        for (name, text) in [
            ("passwd", "root:x:0:0:root:/root:/bin/sh\n"),
            ("inittab", "::sysinit:/bin/touch /up\n::shutdown:/bin/touch /halted\n"),
        ] {
            let file =
                rustix::fs::openat(root, format!("etc/{name}"), flags, Mode::from_raw_mode(0o644)).unwrap();
            rustix::io::write(file.as_fd(), text.as_bytes()).unwrap();
        }
        Ok(())
    }
}
