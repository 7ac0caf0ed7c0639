//! dnsmasq: DHCP and names for the containers on the bridge.
//!
//! It goes into the background by itself and writes its number into a file. A number alone proves nothing: a process is ours
//! only if its command line is the one that we gave it.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use keiki_core::context::Context;
use keiki_core::tool::Tool;
use keiki_core::{Error, ErrorKind, Result, ResultExt};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::{DhcpPing, Places, Settings, file, make_directory};

/// Users that it may run as, the first that there is.
const USERS: [&str; 3] = ["lxc-dnsmasq", "dnsmasq", "nobody"];
/// How long it may take to end.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn tool() -> Tool {
    Tool::new("dnsmasq", "dnsmasq-base")
}

/// Returns the file of leases.
pub(super) fn lease_file(settings: &Settings, places: &Places) -> PathBuf {
    places.state.join(format!("dnsmasq.{}.leases", settings.bridge))
}

/// Starts it, unless it runs with these very arguments.
pub(super) fn ensure(context: &Context, settings: &Settings, places: &Places) -> Result<()> {
    let arguments = arguments(settings, places, &user()?);
    let pid_file = file(&places.run, settings, "pid");
    if let Some(pid) = number_in(&pid_file)?
        && words_of(pid).is_some_and(|words| words.get(1..).is_some_and(|own| own == arguments))
    {
        return Ok(());
    }
    stop(settings, places)?;
    make_directory(&places.state)?;
    let started = tool().call().args(&arguments).run(context);
    started.map(drop).map_err(|error| {
        error.with_hint(format!(
            "`ss -lnp '( sport = 53 or sport = 67 )'` shows who has the ports of `{}`",
            settings.address.address
        ))
    })
}

/// Ends it and waits until it has ended; that it does not run is success.
pub(super) fn stop(settings: &Settings, places: &Places) -> Result<()> {
    let pid_file = file(&places.run, settings, "pid");
    if let Some(number) = running(settings, places)? {
        end(number).or_err(|| format!("cannot end dnsmasq (process {number})"))?;
    }
    match fs::remove_file(&pid_file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).or_err(|| format!("cannot remove `{}`", pid_file.display()))
        }
        _ => Ok(()),
    }
}

/// Returns the number of its process, if it runs.
pub(super) fn running(settings: &Settings, places: &Places) -> Result<Option<u32>> {
    let pid_file = file(&places.run, settings, "pid");
    let own = word("--pid-file=", &pid_file);
    let is_ours = |pid: &u32| words_of(*pid).is_some_and(|words| words.contains(&own));
    Ok(number_in(&pid_file)?.filter(is_ours))
}

fn end(number: u32) -> rustix::io::Result<()> {
    let Some(pid) = i32::try_from(number).ok().and_then(Pid::from_raw) else { return Ok(()) };
    let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
        Err(Errno::SRCH) => return Ok(()),
        other => other?,
    };
    for signal in [Signal::TERM, Signal::KILL] {
        match pidfd_send_signal(&pidfd, signal) {
            Err(Errno::SRCH) => return Ok(()),
            other => other?,
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let limit = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
            match poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&limit)) {
                Ok(0) => break,
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
    Err(Errno::TIMEDOUT)
}

fn number_in(path: &Path) -> Result<Option<u32>> {
    match fs::read_to_string(path) {
        // It is written in place: empty is not yet, or never.
        Ok(text) => Ok(text.trim().parse().ok()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).or_err(|| format!("cannot read `{}`", path.display())),
    }
}

/// Returns the command line of a process that is there.
fn words_of(pid: u32) -> Option<Vec<OsString>> {
    use std::os::unix::ffi::OsStringExt;
    let text = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words = text.strip_suffix(&[0])?.split(|byte| *byte == 0);
    Some(words.map(|word| OsString::from_vec(word.to_vec())).collect())
}

fn user() -> Result<String> {
    let text = fs::read_to_string("/etc/passwd").or_err(|| "cannot read `/etc/passwd`".to_owned())?;
    let exists = |user: &str| text.lines().any(|line| line.split(':').next() == Some(user));
    let found = USERS.into_iter().find(|user| exists(user));
    found.map(str::to_owned).ok_or_else(|| {
        Error::new(
            ErrorKind::Unavailable,
            format!("there is no user for dnsmasq: none of {}", USERS.join(", ")),
        )
        .with_hint("run `adduser --system --no-create-home lxc-dnsmasq`")
    })
}

fn word(option: &str, path: &Path) -> OsString {
    let mut word = OsString::from(option);
    word.push(path);
    word
}

/// The command line, as LXC has it, and with a file of fixed addresses if there is one.
fn arguments(settings: &Settings, places: &Places, user: &str) -> Vec<OsString> {
    let (first, last) = settings.range;
    // Without a file of its own it would read the system's.
    let nothing = PathBuf::from("/dev/null");
    let mut arguments = vec![
        word("--conf-file=", settings.dnsmasq_file.as_ref().unwrap_or(&nothing)),
        word("--pid-file=", &file(&places.run, settings, "pid")),
        word("--dhcp-leasefile=", &lease_file(settings, places)),
    ];
    if places.hosts.exists() {
        arguments.push(word("--dhcp-hostsfile=", &places.hosts));
    }
    let mut more = vec![
        format!("--user={user}"),
        "--strict-order".to_owned(),
        "--bind-interfaces".to_owned(),
        "--except-interface=lo".to_owned(),
        format!("--interface={}", settings.bridge),
        format!("--listen-address={}", settings.address.address),
        format!("--dhcp-range={first},{last}"),
        format!("--dhcp-lease-max={}", settings.most),
        "--dhcp-no-override".to_owned(),
        "--dhcp-authoritative".to_owned(),
    ];
    if settings.ping == DhcpPing::No {
        more.push("--no-ping".to_owned());
    }
    if let Some(domain) = &settings.domain {
        more.extend([format!("--domain={domain}"), format!("--local=/{domain}/")]);
    }
    if let Some(ipv6) = settings.ipv6 {
        let address = ipv6.address.address;
        more.extend([format!("--dhcp-range={address},ra-only"), format!("--listen-address={address}")]);
    }
    arguments.extend(more.into_iter().map(OsString::from));
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_has_what_the_settings_say_and_nothing_else_is_read() {
        let shown = |text: &str| {
            let settings = Settings::parse(text, Path::new("x")).unwrap();
            let words =
                arguments(&settings, &Places { hosts: "/dev/null".into(), ..Places::default() }, "nobody");
            words.iter().map(|word| word.to_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
        };
        let plain = shown("");
        assert!(plain.starts_with("--conf-file=/dev/null --pid-file=/run/keiki/net/lxcbr0.pid "), "{plain}");
        assert!(
            plain.contains("--dhcp-range=10.0.3.2,10.0.3.254 ")
                && plain.contains("--dhcp-hostsfile=/dev/null")
        );
        assert!(!plain.contains("--no-ping") && !plain.contains("--domain"));
        let full = shown(
            "LXC_DOMAIN=lxc\nLXC_DHCP_PING=false\nLXC_DHCP_CONFILE=/etc/x\nLXC_IPV6_ADDR=fd00::1\nLXC_IPV6_MASK=64\n\
             LXC_IPV6_NETWORK=fd00::/64\n",
        );
        assert!(
            full.contains("--local=/lxc/")
                && full.contains("--no-ping")
                && full.contains("--conf-file=/etc/x")
        );
        assert!(full.ends_with("--dhcp-range=fd00::1,ra-only --listen-address=fd00::1"), "{full}");
    }

    #[test]
    fn a_number_of_somebody_else_is_not_ours() {
        let directory = tempfile::tempdir().unwrap();
        let settings = Settings::parse("", Path::new("x")).unwrap();
        let places = Places { run: directory.path().to_owned(), ..Places::default() };
        assert_eq!(running(&settings, &places).unwrap(), None);
        for text in [std::process::id().to_string(), String::new(), "x".to_owned(), "0".to_owned()] {
            fs::write(directory.path().join("lxcbr0.pid"), text).unwrap();
            assert_eq!(running(&settings, &places).unwrap(), None);
        }
        stop(&settings, &places).unwrap();
        assert!(!directory.path().join("lxcbr0.pid").exists());
    }
}
