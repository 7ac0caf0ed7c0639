//! Runs `zfs` and `zpool`, and turns what they complain of into typed errors with a remedy.
//!
//! Both exit with 1 for what the world refuses (`zfs set` with 255) and with 2 for usage, which is also their answer to a snapshot of something
//! that is not there; so all are read, and what was said decides.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use keiki_core::context::Context;
use keiki_core::tool::{Answer, Call, Tool};
use keiki_core::volume::Volume;
use keiki_core::{Error, ErrorKind, Result};

use crate::dataset::{Place, pool_of};
use crate::parse::{self, ASKED, Object};

const PACKAGE: &str = "zfsutils-linux";

/// How long one command may take: a destroy frees in the background, but a busy pool may hold everybody up.
const TIMEOUT: Duration = Duration::from_secs(600);

/// How long "dataset is busy" is believed to be the end of an unmount that goes on in the background.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Names in one command line, well below what the kernel takes.
pub(crate) const NAMES_MAX: usize = 500;

/// Runs `zfs` with `arguments`; the answer may be a complaint.
pub(crate) fn zfs(context: &Context, arguments: &[&str]) -> Result<Answer> {
    call("zfs", arguments).timeout(TIMEOUT).run(context)
}

/// Runs `zpool` with `arguments`; the answer may be a complaint.
pub(crate) fn zpool(context: &Context, arguments: &[&str]) -> Result<Answer> {
    call("zpool", arguments).timeout(TIMEOUT).run(context)
}

/// Runs `zfs` with `arguments` and carries what it writes into `out`.
pub(crate) fn write_stream(context: &Context, arguments: &[&str], out: OwnedFd) -> Result<Answer> {
    call("zfs", arguments).run_into(context, out)
}

/// Runs `zfs` with `arguments` and carries `input` into it.
pub(crate) fn read_stream(context: &Context, arguments: &[&str], input: OwnedFd) -> Result<Answer> {
    call("zfs", arguments).run_from(context, input)
}

fn call(program: &'static str, arguments: &[&str]) -> Call {
    Tool::new(program, PACKAGE).call().args(arguments).accept(1).accept(2).accept(255)
}

/// Runs `zfs` and takes a complaint for a failure to do `what` to `name`.
pub(crate) fn require(context: &Context, arguments: &[&str], what: &str, name: &str) -> Result<Answer> {
    let answer = zfs(context, arguments)?;
    if answer.code == 0 { Ok(answer) } else { Err(complaint(&answer, what, name)) }
}

/// As [`require`], patient with a dataset that is busy.
pub(crate) fn insist(context: &Context, arguments: &[&str], what: &str, name: &str) -> Result<Answer> {
    let end = Instant::now() + PATIENCE;
    let mut nap = Duration::from_millis(10);
    loop {
        match require(context, arguments, what, name) {
            // A mount that was let go is taken down by the kernel later; there is nothing to wait upon.
            Err(error) if error.kind() == ErrorKind::Busy && Instant::now() + nap < end => {
                std::thread::sleep(nap);
                nap *= 2;
            }
            other => return other,
        }
    }
}

/// Returns the error for a complaint: what could not be done, in the tool's own words, and what helps.
pub(crate) fn complaint(answer: &Answer, what: &str, name: &str) -> Error {
    let said = String::from_utf8_lossy(&answer.stderr);
    let (kind, hint) = meaning(&said, pool_of(name));
    let first = said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it said nothing");
    let error = Error::new(kind, format!("cannot {what} `{name}`: {first}"))
        .with_context("stderr", said.trim_end())
        .with_context("exit code", answer.code.to_string());
    hint.into_iter().fold(error, Error::with_hint)
}

/// Tells what a complaint of `zfs` or `zpool` means.
fn meaning(said: &str, pool: &str) -> (ErrorKind, Option<String>) {
    use ErrorKind::{
        AlreadyExists, Busy, Corrupt, HasDependents, InvalidArgument, Io, LimitExceeded, NoSpace, NotFound,
        PermissionDenied, ReadOnly, Unavailable, Unsupported,
    };
    // The first that fits counts.
    let table: [(&str, ErrorKind, Option<String>); 36] = [
        (
            "modules are not loaded",
            Unavailable,
            Some("run `modprobe zfs`; the module is in the package `zfs-dkms`".into()),
        ),
        (
            "/dev/zfs and /proc/self/mounts are required",
            Unavailable,
            Some("run it where `/dev/zfs` is".into()),
        ),
        ("must be run as root", PermissionDenied, Some("run it as root".into())),
        ("ermission denied", PermissionDenied, Some("run it as root".into())),
        (
            "is currently suspended",
            Unavailable,
            Some(format!("bring its disks back, then `zpool clear {pool}`")),
        ),
        ("pool I/O is", Unavailable, Some(format!("look at `zpool status {pool}`"))),
        (
            "no such pool",
            Unavailable,
            Some(format!("run `zpool import {pool}`, or choose another root (`--zfsroot`)")),
        ),
        ("pool is read-only", ReadOnly, Some(format!("`zpool export {pool}`, then `zpool import {pool}`"))),
        ("read-only", ReadOnly, Some(format!("look at `zfs get readonly {pool}`"))),
        ("Read-only", ReadOnly, Some(format!("look at `zfs get readonly {pool}`"))),
        ("dataset already exists", AlreadyExists, None),
        (
            "conflicting snapshot",
            AlreadyExists,
            Some(format!("give one of the two another name: `zfs list -t snapshot -r {pool}`, `zfs rename`")),
        ),
        ("destination", AlreadyExists, None),
        ("dataset does not exist", NotFound, None),
        ("no such file or directory", NotFound, None),
        ("dataset is busy", Busy, None),
        ("pool or dataset is busy", Busy, None),
        ("snapshot has dependent clones", HasDependents, None),
        ("has dependent clones", HasDependents, None),
        ("filesystem has children", HasDependents, None),
        ("out of space", NoSpace, Some(format!("free some space: `zpool list {pool}`, `keiki df`"))),
        ("o space left", NoSpace, Some(format!("free some space: `zpool list {pool}`, `keiki df`"))),
        (
            "size is less than current used",
            InvalidArgument,
            Some("`keiki df` shows what it holds; choose more than that".into()),
        ),
        ("quota", NoSpace, Some("raise the quota: `keiki quota`".into())),
        ("name is too long", LimitExceeded, None),
        ("does not\nmatch incremental source", NotFound, None),
        ("not an earlier snapshot", Unsupported, Some("send without `--native`".into())),
        ("incomplete stream", Corrupt, None),
        ("invalid stream", Corrupt, None),
        ("invalid backup stream", Corrupt, None),
        ("failed to read from stream", Corrupt, None),
        (
            "must be upgraded to receive",
            Unsupported,
            Some("send without `--native`, or upgrade: `zpool upgrade`".into()),
        ),
        ("unsupported feature", Unsupported, Some("send without `--native`".into())),
        ("invalid", InvalidArgument, None),
        ("not supported", Unsupported, None),
        ("checksum mismatch", Corrupt, None),
    ];
    let found = table.into_iter().find(|(words, ..)| said.contains(words));
    found.map_or((Io, None), |(_, kind, hint)| (kind, hint))
}

/// What zfs says about the objects that were asked for; those that are not there are left out.
#[derive(Debug)]
pub(crate) struct Sight(Vec<Object>);

impl Sight {
    /// Returns the object called `name`.
    pub(crate) fn get(&self, name: &str) -> Option<&Object> {
        self.0.iter().find(|object| object.name == name)
    }

    /// Returns everything that was seen.
    pub(crate) fn all(&self) -> &[Object] {
        &self.0
    }
}

/// Looks at objects by name, in one run.
///
/// # Errors
/// `Unavailable` when the pool of one that is not there is not there either: that is not the same as absent.
pub(crate) fn look(context: &Context, names: &[&str]) -> Result<Sight> {
    let mut arguments = vec!["get", "-Hp", "-o", "name,property,value,source", ASKED];
    arguments.extend(names);
    // A pool that is not imported is told from a dataset that is not there by asking for both.
    let mut pools: Vec<&str> = names.iter().map(|name| pool_of(name)).collect();
    pools.sort_unstable();
    pools.dedup();
    arguments.extend(pools.iter().filter(|pool| !names.contains(pool)));
    let sight = seen(&zfs(context, &arguments)?, names.first().copied().unwrap_or_default())?;
    match pools.into_iter().find(|pool| sight.get(pool).is_none()) {
        None => Ok(sight),
        Some(pool) => Err(no_pool(pool)),
    }
}

/// Looks at a dataset and everything in it, in one run; nothing is seen when it is not there.
pub(crate) fn look_inside(context: &Context, dataset: &str) -> Result<Sight> {
    let arguments = ["get", "-Hp", "-r", "-t", "all", "-o", "name,property,value,source", ASKED, dataset];
    seen(&zfs(context, &arguments)?, dataset)
}

/// Looks at every snapshot of a pool.
pub(crate) fn look_at_snapshots(context: &Context, pool: &str) -> Result<Sight> {
    let arguments = ["get", "-Hp", "-r", "-t", "snapshot", "-o", "name,property,value,source", ASKED, pool];
    let answer = zfs(context, &arguments)?;
    if answer.code != 0 && parse::absent(&String::from_utf8_lossy(&answer.stderr)).is_some() {
        return Err(no_pool(pool));
    }
    seen(&answer, pool)
}

fn seen(answer: &Answer, name: &str) -> Result<Sight> {
    if answer.code != 0 && parse::absent(&String::from_utf8_lossy(&answer.stderr)).is_none() {
        return Err(complaint(answer, "look at", name));
    }
    parse::objects(answer.text()?).map(Sight).map_err(|why| answer.misunderstood(&why))
}

/// Looks at a volume, and at the snapshot that it stands on where that decides what it is.
pub(crate) fn look_at(context: &Context, volume: &Volume) -> Result<(Place, Sight)> {
    let place = Place::of(volume)?;
    let sight = look(context, &[&place.name()])?;
    let Some(object) = sight.get(&place.name()) else { return Ok((place, sight)) };
    match &object.origin {
        Some(origin) if object.mark == parse::Mark::None => {
            let both = look(context, &[&place.name(), origin])?;
            Ok((place, both))
        }
        _ => Ok((place, sight)),
    }
}

/// Returns the error for a pool that is not imported.
pub(crate) fn no_pool(pool: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("there is no zfs pool `{pool}` here")).with_hint(format!(
        "`zpool import {pool}` brings in one that exists; `zpool list` shows those that are here"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What zfs 2.3.9 really says.
    #[test]
    fn complaints_are_typed_and_come_with_a_remedy() {
        use ErrorKind::*;
        for (said, kind, remedy) in [
            (
                "The ZFS modules are not loaded.\nTry running '/sbin/modprobe zfs' as root to load them.",
                Unavailable,
                "modprobe",
            ),
            ("cannot create 'rig/r/a': no such pool 'rig'", Unavailable, "zpool import rig"),
            ("cannot create 'rig/r/new': pool is read-only", ReadOnly, "zpool export rig"),
            ("sync 'rig' failed: pool is read-only", ReadOnly, "zpool import rig"),
            ("cannot open 'rig': pool I/O is currently suspended", Unavailable, "zpool clear rig"),
            ("cannot create 'rig/r/a': dataset already exists", AlreadyExists, ""),
            ("cannot create snapshot 'rig/r/a@p': dataset already exists", AlreadyExists, ""),
            (
                "cannot promote 'rig/r/c': conflicting snapshot 's' from parent 'rig/r/a@keiki-clone-0'",
                AlreadyExists,
                "zfs rename",
            ),
            ("cannot open 'rig/r/nope': dataset does not exist\nusage:\n\tsnapshot [-r]", NotFound, ""),
            ("cannot destroy 'rig/r/a': dataset is busy", Busy, ""),
            ("cannot destroy 'rig/r/a': filesystem has children\nuse '-r' to destroy", HasDependents, ""),
            ("cannot destroy 'rig/a@s': snapshot has dependent clones", HasDependents, ""),
            ("cannot create 'rig/a': out of space", NoSpace, "zpool list rig"),
            (
                "cannot receive new filesystem stream: checksum mismatch or incomplete stream.\nPartially received snapshot",
                Corrupt,
                "",
            ),
            (
                "cannot set property for 'rig/r/a': size is less than current used or reserved space",
                InvalidArgument,
                "keiki df",
            ),
            ("cannot receive: failed to read from stream", Corrupt, ""),
            (
                "cannot receive incremental stream: most recent snapshot of rig/r/a does not\nmatch incremental source",
                NotFound,
                "",
            ),
            (
                "cannot receive: stream has unsupported feature, feature flags = 2000000 (unknown)",
                Unsupported,
                "--native",
            ),
            ("cannot create 'rig/r/x+y': invalid character '+' in name", InvalidArgument, ""),
            ("Permission denied the ZFS utilities must be run as root.", PermissionDenied, "root"),
            ("Segmentation fault", Io, ""),
        ] {
            let (found, hint) = meaning(said, "rig");
            assert_eq!(found, kind, "{said}");
            assert!(hint.unwrap_or_default().contains(remedy), "{said}");
        }
    }
}
