//! One bed a test: directories that vanish, containers that are stopped, output that reads the same everywhere.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

/// The stores that every scenario runs on.
pub(crate) const STORES: [&str; 2] = ["dir", "overlay"];

/// What one run of the command did.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) code: i32,
}

impl Run {
    /// Asserts success and returns stdout.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self}");
        self.stdout
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.stdout)?;
        if !self.stderr.is_empty() {
            write!(f, "--- stderr\n{}", self.stderr)?;
        }
        write!(f, "--- exit {}", self.code)
    }
}

/// An lxcpath, a catalogue and a run directory; gone with the value.
#[derive(Debug)]
pub(crate) struct Bed {
    root: TempDir,
}

impl Bed {
    pub(crate) fn new() -> Self {
        // Not on tmpfs: overlay uppers want extended attributes that old kernels lack there.
        let root = tempfile::Builder::new().prefix("keiki-cli.").tempdir_in("/var/tmp").unwrap();
        std::fs::create_dir(root.path().join("lxc")).unwrap();
        std::fs::write(root.path().join("lxc.conf"), "").unwrap();
        Self { root }
    }

    pub(crate) fn path(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn lxcpath(&self) -> PathBuf {
        self.path().join("lxc")
    }

    /// Returns the command with nothing in its environment but this bed; no arguments yet.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keiki"));
        command
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LC_ALL", "C.UTF-8")
            .env("HOME", self.path().join("home"))
            .env("KEIKI_STATE", self.path().join("state"))
            .env("KEIKI_RUN", self.path().join("run"))
            .env("KEIKI_LXC_CONF", self.path().join("lxc.conf"))
            .current_dir(self.path())
            .stdin(Stdio::null());
        command
    }

    /// Runs `keiki -P <this bed> ARGS`.
    pub(crate) fn keiki<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Run {
        let mut command = self.command();
        command.arg("-P").arg(self.lxcpath()).args(args);
        self.run(command)
    }

    /// Runs a line whose words are split at spaces.
    pub(crate) fn line(&self, line: &str) -> Run {
        self.keiki(line.split_whitespace())
    }

    /// Makes `base` from busybox in a store; returns what was said.
    pub(crate) fn base(&self, store: &str) -> String {
        self.line(&format!("create base --template busybox --bdev {store}")).ok()
    }

    /// Returns the names of the containers, one a line.
    pub(crate) fn names(&self) -> String {
        self.line("ls -1").ok()
    }

    /// Writes a file in a stopped container, through the container itself.
    pub(crate) fn write(&self, name: &str, file: &str, text: &str) {
        let script = format!("mkdir -p /etc && printf %s '{text}' > /{file}");
        self.keiki(["run", name, "--", "sh", "-c", &script]).ok();
    }

    /// Reads a file in a stopped container, through an ephemeral clone, so that the container is not changed.
    pub(crate) fn read(&self, name: &str, file: &str) -> String {
        self.keiki(["run", "--rm", name, "--", "cat", &format!("/{file}")]).ok()
    }

    /// Asserts that nothing is mounted below the bed, and that no work in progress lies about.
    #[track_caller]
    pub(crate) fn assert_clean(&self) {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let bed = self.path().to_string_lossy().into_owned();
        assert!(!mounts.contains(&bed), "something is mounted below {bed}");
        for place in ["staging", "trash"] {
            let place = self.lxcpath().join(".keiki").join(place);
            let count = std::fs::read_dir(&place).map_or(0, Iterator::count);
            assert_eq!(count, 0, "{} is not empty", place.display());
        }
    }

    pub(crate) fn run(&self, mut command: Command) -> Run {
        let output = command.output().unwrap();
        Run {
            stdout: self.normal(&String::from_utf8_lossy(&output.stdout)),
            stderr: self.normal(&String::from_utf8_lossy(&output.stderr)),
            code: output.status.code().unwrap_or(-1),
        }
    }

    /// Replaces what differs from run to run: this bed's paths, moments, identities and process ids.
    fn normal(&self, text: &str) -> String {
        let text = text.replace(&*self.path().to_string_lossy(), "$BED");
        words(&text)
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let names = self.keiki(["ls", "-1", "--running"]);
        for name in names.stdout.lines() {
            self.keiki(["stop", "--kill", name]);
        }
    }
}

/// Replaces moments by `TIME`, 32 hexadecimal digits by `ID`, and `(pid 123)` by `(pid N)`.
fn words(text: &str) -> String {
    let mut normal = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let run = rest.bytes().take_while(|b| b.is_ascii_alphanumeric() || b"-:".contains(b)).count();
        let word = &rest[..run.max(c.len_utf8())];
        rest = &rest[word.len()..];
        let is_moment = word.len() == 20 && word.ends_with('Z') && word.as_bytes()[10] == b'T';
        let is_id = word.len() == 32 && word.bytes().all(|b| b.is_ascii_hexdigit());
        let is_pid = normal.ends_with("(pid ") && word.bytes().all(|b| b.is_ascii_digit());
        normal.push_str(match (is_moment, is_id, is_pid) {
            (true, _, _) => "TIME",
            (_, true, _) => "ID",
            (_, _, true) => "N",
            _ => word,
        });
    }
    normal
}

/// Returns why no container can run here, after building the monitor beside the command; `None` is good news.
pub(crate) fn cannot_run() -> Option<&'static str> {
    static REASON: OnceLock<Option<&'static str>> = OnceLock::new();
    *REASON.get_or_init(|| {
        if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
            return Some("root");
        }
        if !Path::new("/bin/busybox").exists() {
            return Some("the package busybox-static");
        }
        build_monitor();
        None
    })
}

/// `cargo test -p keiki` builds no binary of another package; the monitor is one.
fn build_monitor() {
    let program = Path::new(env!("CARGO_BIN_EXE_keiki"));
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "-p", "keiki-runtime", "--bin", "keiki-monitor"]);
    build.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    if program.parent().is_some_and(|profile| profile.ends_with("release")) {
        build.arg("--release");
    }
    assert!(build.status().unwrap().success(), "cannot build keiki-monitor");
}

/// Ends a test that cannot run here, and says why.
#[macro_export]
macro_rules! need_host {
    () => {
        if let Some(reason) = $crate::harness::cannot_run() {
            println!("skipped: needs {reason}");
            return;
        }
    };
}
