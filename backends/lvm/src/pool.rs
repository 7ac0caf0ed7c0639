//! The health of thin pools: looked at before each clone, because a pool that runs full stops every volume in it.
//!
//! While the pool is active, the kernel's own status line is read by `dmsetup status`, which takes no lock and changes nothing; a pool
//! that is not active yet is activated by LVM first, which checks its metadata.

use keiki_core::context::Context;
use keiki_core::tool::Tool;
use keiki_core::{Error, ErrorKind, Result};

use crate::place::{Place, mangled};
use crate::report::Lv;
use crate::spec::Limits;
use crate::tool::{lvm, run};

/// How a pool is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Health {
    /// Per cent.
    pub(crate) data: f64,
    /// Per cent.
    pub(crate) metadata: f64,
    pub(crate) mode: Mode,
    pub(crate) needs_check: bool,
}

/// What a pool does with writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It takes them.
    Writable,
    /// It is out of data space: they wait or fail.
    Full,
    /// It refuses them, after an error in its metadata.
    ReadOnly,
    /// It refuses everything.
    Failed,
}

/// Refuses to make anything in a pool that is unwell or fuller than `limits`.
///
/// # Errors
/// `NoSpace`, `Corrupt` or `Unavailable`, each with the command that helps.
pub(crate) fn admit(context: &Context, vg: &str, pool: &str, limits: Limits) -> Result<()> {
    let health = match status(context, vg, pool)? {
        Some(health) => health,
        None => {
            let place = Place { vg: vg.to_owned(), lv: pool.to_owned() };
            run(context, lvm("lvchange").args(["-qq", "-ay", "-K"]).arg(place.full()), &place)?;
            match status(context, vg, pool)? {
                Some(health) => health,
                None => return Err(suspicious(vg, pool, "is not active, and does not become so")),
            }
        }
    };
    health.admit(vg, pool, limits)
}

impl Health {
    /// Returns the health that a report shows; `None` while the pool is not active.
    pub(crate) fn reported(pool: &Lv) -> Option<Self> {
        let mode = match pool.health.as_str() {
            "failed" => Mode::Failed,
            "out_of_data" => Mode::Full,
            "metadata_read_only" => Mode::ReadOnly,
            _ => Mode::Writable,
        };
        let unknown = if mode == Mode::Failed { Some(0.0) } else { None };
        Some(Self {
            data: pool.data.or(unknown)?,
            metadata: pool.metadata.or(unknown)?,
            mode,
            needs_check: pool.needs_check,
        })
    }

    /// See [`admit`].
    pub(crate) fn admit(self, vg: &str, pool: &str, limits: Limits) -> Result<()> {
        if self.needs_check || matches!(self.mode, Mode::Failed | Mode::ReadOnly) {
            return Err(self.damaged(vg, pool));
        }
        let (data, metadata) = (f64::from(limits.data), f64::from(limits.metadata));
        if self.mode == Mode::Full || self.data > data {
            let error = full(vg, pool, "data", self.data, limits.data);
            return Err(error.with_hint(format!("make it larger: `lvextend -L +SIZE {vg}/{pool}`")));
        }
        if self.metadata > metadata {
            let error = full(vg, pool, "metadata", self.metadata, limits.metadata);
            return Err(
                error.with_hint(format!("make it larger: `lvextend --poolmetadatasize +SIZE {vg}/{pool}`"))
            );
        }
        Ok(())
    }

    fn damaged(self, vg: &str, pool: &str) -> Error {
        let how = match self.mode {
            Mode::Failed => "has failed",
            Mode::ReadOnly => "refuses writes after an error in its metadata",
            Mode::Writable | Mode::Full => "needs a check of its metadata",
        };
        Error::new(ErrorKind::Corrupt, format!("the thin pool `{vg}/{pool}` {how}")).with_hint(format!(
            "stop what runs from it, `lvchange -an {vg}/{pool}`, then `lvconvert --repair {vg}/{pool}`"
        ))
    }
}

fn full(vg: &str, pool: &str, what: &str, used: f64, limit: u8) -> Error {
    let text =
        format!("the {what} of the thin pool `{vg}/{pool}` is {used:.1} % full, and the limit is {limit} %");
    Error::new(ErrorKind::NoSpace, text)
        .with_context("pool", format!("{vg}/{pool}"))
        .with_hint("destroy what is not needed; a full pool stops every volume in it")
}

fn suspicious(vg: &str, pool: &str, what: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("the thin pool `{vg}/{pool}` {what}"))
        .with_hint(format!("look at `lvs -a {vg}` and `dmsetup info`"))
}

/// Asks the kernel about an active pool; `None` when it is not active.
fn status(context: &Context, vg: &str, pool: &str) -> Result<Option<Health>> {
    let name = mangled(vg, pool);
    // LVM puts a layer above the pool once there are volumes in it.
    match status_of(context, &format!("{name}-tpool"))? {
        None => status_of(context, &name),
        found => Ok(found),
    }
}

fn status_of(context: &Context, device: &str) -> Result<Option<Health>> {
    let call = Tool::new("dmsetup", "dmsetup").call().args(["status", "--noflush", device]);
    let answer = call.accept(1).run(context)?;
    if answer.code == 1 {
        let said = String::from_utf8_lossy(&answer.stderr);
        if said.contains("does not exist") {
            return Ok(None);
        }
        return Err(answer.misunderstood("it failed").with_context("stderr", said));
    }
    parse(answer.text()?).map(Some).map_err(|why| answer.misunderstood(&why))
}

/// Reads a status line: `[NAME: ]START LENGTH thin-pool TRANSACTION META/META DATA/DATA HELD MODE … CHECK LOW` (kernel,
/// `device-mapper/thin-provisioning.rst`).
fn parse(line: &str) -> Result<Health, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let at =
        words.iter().position(|word| *word == "thin-pool").ok_or("it is not the status of a thin pool")?;
    let word = |n: usize| words.get(at + n).copied().ok_or(format!("it ends before word {n}"));
    if word(1)? == "Fail" || word(1)? == "Error" {
        return Ok(Health { data: 0.0, metadata: 0.0, mode: Mode::Failed, needs_check: false });
    }
    let mode = match word(5)? {
        "rw" => Mode::Writable,
        "ro" => Mode::ReadOnly,
        "out_of_data_space" => Mode::Full,
        other => return Err(format!("`{other}` is not a mode of a pool")),
    };
    let needs_check = words[at..].contains(&"needs_check");
    Ok(Health { metadata: share(word(2)?)?, data: share(word(3)?)?, mode, needs_check })
}

fn share(text: &str) -> Result<f64, String> {
    let bad = || format!("`{text}` is not a share");
    let (used, total) = text.split_once('/').ok_or_else(bad)?;
    let read = |number: &str| number.parse::<u32>().map(f64::from).map_err(|_| bad());
    match (read(used)?, read(total)?) {
        (_, 0.0) => Err(bad()),
        (used, total) => Ok(100.0 * used / total),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { data: 90, metadata: 80 };

    fn refusal(line: &str) -> Option<Error> {
        parse(line).unwrap().admit("vg", "pool", LIMITS).err()
    }

    #[test]
    fn the_kernels_line_is_read() {
        let line = "0 524288 thin-pool 26 112/1024 2048/4096 - rw discard_passdown queue_if_no_space - 256 ";
        let health = parse(line).unwrap();
        assert_eq!(
            health,
            Health { data: 50.0, metadata: 10.9375, mode: Mode::Writable, needs_check: false }
        );
        assert!(refusal(line).is_none());
        for garbage in [
            "",
            "0 1 linear",
            "0 1 thin-pool",
            "0 1 thin-pool 1 a/b 1/2 - rw",
            "0 1 thin-pool 1 1/0 1/2 - rw",
        ] {
            assert!(parse(garbage).is_err(), "{garbage}");
        }
    }

    #[test]
    fn full_and_damaged_pools_are_refused_with_the_command_that_helps() {
        for (line, kind, hint) in [
            (
                "0 1 thin-pool 1 1/1024 3900/4096 - rw x queue_if_no_space - 256",
                ErrorKind::NoSpace,
                "lvextend -L",
            ),
            (
                "0 1 thin-pool 1 1/1024 4096/4096 - out_of_data_space x error - 256",
                ErrorKind::NoSpace,
                "lvextend -L",
            ),
            ("0 1 thin-pool 1 900/1024 1/4096 - rw x y - 256", ErrorKind::NoSpace, "--poolmetadatasize"),
            ("0 1 thin-pool 1 1/1024 1/4096 - rw x y needs_check 256", ErrorKind::Corrupt, "--repair"),
            ("0 1 thin-pool 1 1/1024 1/4096 - ro x y - 256", ErrorKind::Corrupt, "--repair"),
            ("0 1 thin-pool Fail", ErrorKind::Corrupt, "--repair"),
        ] {
            let error = refusal(line).unwrap();
            assert_eq!(error.kind(), kind, "{error:?}");
            assert!(error.hints().iter().any(|text| text.contains(hint)), "{error:?}");
        }
    }
}
