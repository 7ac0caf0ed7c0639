//! From configuration to [`Settings`]: every key is applied, known to be without effect on a start, warned about by
//! name and place, or refused. None is passed over in silence.

mod devices;
mod mount_entry;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use keiki_config::{ContainerConfig, Setting};
use keiki_core::{Error, ErrorKind, Result};
use keiki_sys::caps;

use crate::plan::{Automount, Dev, Limit, Network, Rlimit, Settings};

/// `lxc.autodev.tmpfs.size` of LXC.
const DEV_SIZE: u64 = 500_000;

/// Keys, or beginnings of keys, that others act upon or that say nothing about a start.
const WITHOUT_EFFECT: [&str; 16] = [
    "lxc.rootfs.path",
    "lxc.rootfs.mount",
    "lxc.rootfs.managed",
    "lxc.arch",
    "lxc.group",
    "lxc.start.",
    "lxc.log.",
    "lxc.execute.cmd",
    "lxc.hook.clone",
    "lxc.hook.destroy",
    "lxc.hook.version",
    "lxc.signal.reboot",
    "lxc.apparmor.allow_incomplete",
    "lxc.apparmor.allow_nesting",
    "lxc.seccomp.allow_nesting",
    "lxc.net.",
];

/// Keys, or beginnings of keys, that are understood and not applied by this version.
const NOT_APPLIED: [&str; 23] = [
    "lxc.apparmor.",
    "lxc.selinux.",
    "lxc.seccomp.",
    "lxc.hook.",
    "lxc.cgroup.dir",
    "lxc.cgroup.relative",
    "lxc.console.path",
    "lxc.namespace.",
    "lxc.proc.",
    "lxc.rootfs.options",
    "lxc.sched.core",
    "lxc.time.offset.",
    "lxc.mount.fstab",
    "lxc.hook",
    "lxc.init.groups",
    "lxc.environment.hooks",
    "lxc.environment.runtime",
    "lxc.console.buffer.size",
    "lxc.console.size",
    "lxc.console.rotate",
    "lxc.tty.dir",
    "lxc.monitor.",
    "lxc.keyring.session",
];

/// Returns what a configuration says, and warnings about what of it is not applied.
///
/// # Errors
/// `InvalidArgument` with `file:line:column` for what is no configuration; `Unsupported` for what must not be left out.
pub(crate) fn read(config: &[u8], file: &Path, name: &str) -> Result<(Settings, Vec<String>)> {
    let config = ContainerConfig::parse(config, file)?;
    // The rules of both versions say the same in LXC's own files; those of version 2 are what is applied.
    let rules = if config.below("lxc.cgroup2.devices.").next().is_some() {
        "lxc.cgroup2.devices."
    } else {
        "lxc.cgroup.devices."
    };
    let devices = devices::read(config.below(rules))?;
    let mut reader = Reader { settings: defaults(name), warnings: BTreeMap::new(), dropped: 0, kept: None };
    for line in config.settings() {
        reader.take(line)?;
    }
    reader.settings.devices = devices;
    Ok(reader.finish())
}

fn defaults(name: &str) -> Settings {
    Settings {
        host_name: name.to_owned(),
        init: None,
        cwd: None,
        uid: 0,
        gid: 0,
        groups: Vec::new(),
        environment: Vec::new(),
        capabilities: u64::MAX,
        no_new_privileges: false,
        proc: Automount::None,
        sys: Automount::None,
        cgroup: Automount::None,
        dev: Dev::Made(DEV_SIZE),
        terminals: 0,
        pty_max: 0,
        entries: Vec::new(),
        cgroup_name: format!("lxc.payload.{name}"),
        limits: Vec::new(),
        devices: None,
        rlimits: Vec::new(),
        sysctls: Vec::new(),
        halt_signal: None,
        stop_signal: None,
        network: Network::Own,
        console_log: None,
        ephemeral: false,
    }
}

/// Takes lines one by one.
struct Reader {
    settings: Settings,
    /// Key → how often, and where first.
    warnings: BTreeMap<String, (usize, String, &'static str)>,
    dropped: u64,
    kept: Option<u64>,
}

impl Reader {
    fn take(&mut self, line: &Setting) -> Result<()> {
        let settings = &mut self.settings;
        match line.key.as_str() {
            "lxc.uts.name" => settings.host_name.clone_from(&line.value),
            "lxc.init.cmd" => settings.init = Some(words(&line.value)),
            "lxc.init.cwd" => settings.cwd = Some(PathBuf::from(&line.value)),
            "lxc.init.uid" => settings.uid = number(line)?,
            "lxc.init.gid" => settings.gid = number(line)?,
            "lxc.environment" => settings.environment.push(variable(line)?),
            "lxc.no_new_privs" => settings.no_new_privileges = switch(line)?,
            "lxc.ephemeral" => settings.ephemeral = switch(line)?,
            "lxc.autodev" if !switch(line)? => settings.dev = Dev::Kept,
            "lxc.autodev" => {}
            "lxc.autodev.tmpfs.size" => settings.dev = Dev::Made(number(line)?),
            "lxc.tty.max" => settings.terminals = number(line)?,
            "lxc.pty.max" => settings.pty_max = number(line)?,
            "lxc.signal.halt" => settings.halt_signal = Some(signal_of(line)?),
            "lxc.signal.stop" => settings.stop_signal = Some(signal_of(line)?),
            "lxc.console.logfile" => settings.console_log = Some(PathBuf::from(&line.value)),
            "lxc.mount.entry" => settings.entries.push(mount_entry::parse(line)?),
            "lxc.mount.auto" => self.automounts(line)?,
            "lxc.cap.drop" => self.dropped |= capabilities(line),
            "lxc.cap.keep" => self.kept = Some(self.kept.unwrap_or(0) | capabilities(line)),
            _ => return self.take_by_beginning(line),
        }
        Ok(())
    }

    fn take_by_beginning(&mut self, line: &Setting) -> Result<()> {
        let key = line.key.as_str();
        if key == "lxc.idmap" {
            return Err(refuse(
                line,
                ErrorKind::Unsupported,
                "this version of keiki runs privileged containers only",
            )
            .with_hint("start it with `lxc-start`, or remove lxc.idmap"));
        }
        if key.starts_with("lxc.cgroup.devices.") || key.starts_with("lxc.cgroup2.devices.") {
            return Ok(());
        }
        let is_profile = matches!(key, "lxc.apparmor.profile" | "lxc.selinux.context");
        if is_profile && matches!(line.value.as_str(), "unconfined" | "unchanged") {
            return Ok(());
        }
        let is_interface = key.strip_prefix("lxc.net.").is_some_and(|rest| rest.ends_with(".type"));
        if is_interface {
            self.interface(line);
        } else if let Some(name) = key.strip_prefix("lxc.prlimit.") {
            self.settings.rlimits.push(rlimit(name, line)?);
        } else if let Some(name) = key.strip_prefix("lxc.sysctl.") {
            self.settings.sysctls.push((name.to_owned(), line.value.clone()));
        } else if NOT_APPLIED.iter().any(|known| covers(known, key)) && !covers_any(&WITHOUT_EFFECT, key) {
            self.warn(line, "is not applied by this version of keiki");
        } else if let Some(file) = key.strip_prefix("lxc.cgroup2.") {
            self.settings.limits.push(limit(None, file, line));
        } else if let Some(file) = key.strip_prefix("lxc.cgroup.") {
            let controller = file.split('.').next().unwrap_or(file);
            self.settings.limits.push(limit(Some(controller), file, line));
        } else if !covers_any(&WITHOUT_EFFECT, key) {
            return Err(refuse(line, ErrorKind::InvalidArgument, "there is no such key"));
        }
        Ok(())
    }

    fn interface(&mut self, line: &Setting) {
        match line.value.as_str() {
            "empty" => {}
            "none" => self.settings.network = Network::Host,
            _ => self.warn(
                line,
                "is not applied by this version of keiki: the container has a loopback interface only",
            ),
        }
    }

    fn automounts(&mut self, line: &Setting) -> Result<()> {
        for word in line.value.split_ascii_whitespace() {
            let (what, how) = word.split_once(':').unwrap_or((word, ""));
            let how = how.split(':').next().unwrap_or("");
            let parsed = match how {
                "" | "mixed" => Automount::Mixed,
                "ro" => Automount::ReadOnly,
                "rw" => Automount::ReadWrite,
                "force" if what.starts_with("cgroup") => Automount::Mixed,
                _ if what == "shmounts" => Automount::None,
                _ => {
                    return Err(refuse(
                        line,
                        ErrorKind::InvalidArgument,
                        &format!("`{word}` is no word of it"),
                    ));
                }
            };
            match what {
                "proc" => self.settings.proc = parsed,
                "sys" => self.settings.sys = parsed,
                "cgroup" | "cgroup-full" | "cgroup2" => self.settings.cgroup = parsed,
                "shmounts" => self.warn(line, "(shmounts) is not applied by this version of keiki"),
                _ => {
                    return Err(refuse(
                        line,
                        ErrorKind::InvalidArgument,
                        &format!("`{word}` is no word of it"),
                    ));
                }
            }
        }
        Ok(())
    }

    fn warn(&mut self, line: &Setting, why: &'static str) {
        let entry = self.warnings.entry(line.key.clone()).or_insert_with(|| (0, line.place.to_string(), why));
        entry.0 += 1;
    }

    fn finish(mut self) -> (Settings, Vec<String>) {
        self.settings.capabilities = self.kept.unwrap_or(u64::MAX) & !self.dropped;
        let told = self.warnings.into_iter().map(|(key, (count, place, why))| match count {
            1 => format!("{place}: {key} {why}"),
            _ => format!("{place}: {key} {why} ({count} lines)"),
        });
        (self.settings, told.collect())
    }
}

/// Returns whether a known key, or beginning of keys (which ends with a dot), covers `key`.
fn covers(known: &str, key: &str) -> bool {
    if known.ends_with('.') { key.starts_with(known) } else { key == known }
}

fn covers_any(known: &[&str], key: &str) -> bool {
    known.iter().any(|known| covers(known, key))
}

fn words(text: &str) -> Vec<OsString> {
    text.split_ascii_whitespace().map(OsString::from).collect()
}

fn variable(line: &Setting) -> Result<(OsString, OsString)> {
    if let Some((name, value)) = line.value.split_once('=') {
        return Ok((name.into(), value.into()));
    }
    let value = std::env::var_os(&line.value)
        .ok_or_else(|| refuse(line, ErrorKind::InvalidArgument, "the variable is not set here"))?;
    Ok((line.value.clone().into(), value))
}

fn signal_of(line: &Setting) -> Result<i32> {
    let signal =
        line.signal().ok_or_else(|| refuse(line, ErrorKind::InvalidArgument, "this is no signal"))?;
    Ok(signal.0)
}

/// The configuration was read: every word is a capability, or `none`.
fn capabilities(line: &Setting) -> u64 {
    let numbers: Vec<u8> = line.value.split_ascii_whitespace().filter_map(caps::number).collect();
    caps::mask(&numbers)
}

fn rlimit(name: &str, line: &Setting) -> Result<Rlimit> {
    let parse = |text: &str| match text.trim() {
        "unlimited" | "-1" => Ok(None),
        number => {
            number.parse().map(Some).map_err(|_| refuse(line, ErrorKind::InvalidArgument, "this is no limit"))
        }
    };
    let (soft, hard) = line.value.split_once(':').unwrap_or((&line.value, &line.value));
    Ok(Rlimit { name: name.to_owned(), soft: parse(soft)?, hard: parse(hard)? })
}

fn limit(controller: Option<&str>, file: &str, line: &Setting) -> Limit {
    Limit {
        controller: controller.map(str::to_owned),
        file: file.to_owned(),
        value: line.value.clone(),
        place: format!("{}: {}", line.place, line.key),
    }
}

fn refuse(line: &Setting, kind: ErrorKind, why: &str) -> Error {
    Error::new(kind, format!("{}: `{} = {}`: {why}", line.place, line.key, line.value))
}

fn number<T: TryFrom<u64>>(line: &Setting) -> Result<T> {
    let number = line.number().and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| refuse(line, ErrorKind::InvalidArgument, "this is no number"))
}

fn switch(line: &Setting) -> Result<bool> {
    match line.number() {
        Some(0) => Ok(false),
        Some(1) => Ok(true),
        _ => Err(refuse(line, ErrorKind::InvalidArgument, "write 0 or 1")),
    }
}

#[cfg(test)]
mod tests;
