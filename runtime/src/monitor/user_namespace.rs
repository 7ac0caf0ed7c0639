//! The user namespace of a container, from outside: its maps, and the namespace as a descriptor.
//!
//! Root writes the maps; anybody else asks `newuidmap` and `newgidmap`, which know from `/etc/subuid` and `/etc/subgid` what
//! the user may map.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use keiki_sys::process::{self, Child};
use rustix::fs::{Mode, OFlags, open};

use crate::failure::{AtStep, Failure, Step};
use crate::settings::identities::{IdRange, Identities};

/// Where Debian and everybody else have the two tools.
const TOOL_DIRECTORIES: [&str; 3] = ["/usr/bin", "/bin", "/usr/local/bin"];

/// Maps the ids of the namespace in which `child` was born, and returns the namespace.
pub(super) fn establish(child: &Child, identities: &Identities) -> Step<OwnedFd> {
    let process = Path::new("/proc").join(child.pid.to_string());
    let kinds = [("uid_map", "newuidmap", &identities.users), ("gid_map", "newgidmap", &identities.groups)];
    for (file, tool, ranges) in kinds {
        if rustix::process::geteuid().is_root() {
            // One write: the kernel takes a whole map or none.
            std::fs::write(process.join(file), text_of(ranges))
                .at("map the ids")
                .map_err(|failure| explained(failure, ranges))?;
        } else {
            ask(tool, child.pid, ranges)?;
        }
    }
    open(process.join("ns/user"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .at("open the user namespace")
}

fn text_of(ranges: &[IdRange]) -> String {
    ranges.iter().map(|range| format!("{} {} {}\n", range.inside, range.outside, range.count)).collect()
}

fn explained(failure: Failure, ranges: &[IdRange]) -> Failure {
    let mut failure = failure.about(text_of(ranges).trim_end().replace('\n', ", "));
    failure.hints.push(
        "the kernel takes at most 340 ranges, and only ids that this process's own namespace has".to_owned(),
    );
    failure
}

fn ask(tool: &str, pid: u32, ranges: &[IdRange]) -> Step {
    let missing = || {
        let mut failure = Failure::new("map the ids", format!("there is no `{tool}` here"));
        failure.hints.push("install the package `uidmap`".to_owned());
        failure
    };
    let program = TOOL_DIRECTORIES.iter().map(|directory| PathBuf::from(directory).join(tool));
    let program = program.into_iter().find(|path| path.exists()).ok_or_else(missing)?;
    let numbers = ranges.iter().flat_map(|range| [range.inside, range.outside, range.count]);
    let words =
        [tool.to_owned(), pid.to_string()].into_iter().chain(numbers.map(|number| number.to_string()));
    let words: Vec<CString> = words.map(|word| CString::new(word).unwrap_or_default()).collect();
    let standard = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    let spawned = process::spawn(&program, &words, &[], &standard).at("map the ids")?;
    let pidfd =
        rustix::process::pidfd_open(spawned, rustix::process::PidfdFlags::empty()).at("map the ids")?;
    match process::reap(pidfd.as_fd()).at("map the ids")? {
        process::Ended::Exited(0) => Ok(()),
        ended => {
            let mut failure = Failure::new("map the ids", format!("`{tool}` ended with {ended:?}"));
            failure.hints.push(format!(
                "look at /etc/sub{}: it must give you {}",
                &tool[3..6],
                text_of(ranges).trim_end()
            ));
            Err(failure)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_is_one_line_a_range() {
        let ranges = [
            IdRange { inside: 0, outside: 100_000, count: 1000 },
            IdRange { inside: 1000, outside: 1000, count: 1 },
        ];
        assert_eq!(text_of(&ranges), "0 100000 1000\n1000 1000 1\n");
    }
}
