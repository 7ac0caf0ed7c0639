//! What LVM says, as errors with a kind and a remedy. Every pattern has a real sample in a test.

use keiki_core::{Error, ErrorKind};

use crate::place::Place;

/// Kind and remedy by words that LVM 2.03 says; the first that fits counts.
const KNOWN: [(&str, ErrorKind, &str); 19] = [
    ("already exists in volume group", ErrorKind::AlreadyExists, ""),
    (
        "Snapshots of snapshots are not supported",
        ErrorKind::Unsupported,
        "copy instead: `keiki clone --copy`; volumes in a thin pool (`--thinpool`) have snapshots of snapshots",
    ),
    ("nsufficient free space", ErrorKind::NoSpace, GROUP_FULL),
    ("nsufficient suitable", ErrorKind::NoSpace, GROUP_FULL),
    ("reached threshold", ErrorKind::NoSpace, POOL_FULL),
    ("Manual repair required", ErrorKind::Corrupt, REPAIR),
    ("transaction_id", ErrorKind::Corrupt, REPAIR),
    ("in use", ErrorKind::Busy, ""),
    ("is used by another device", ErrorKind::Busy, ""),
    ("Failed to find logical volume", ErrorKind::NotFound, LIST),
    ("Snapshot origin LV", ErrorKind::NotFound, LIST),
    ("Existing logical volume", ErrorKind::NotFound, LIST),
    (
        "device-mapper driver missing",
        ErrorKind::Unavailable,
        "load the kernel module: `modprobe dm_mod`; in a container there is no device mapper",
    ),
    (
        "target support missing",
        ErrorKind::Unavailable,
        "load the kernel modules: `modprobe dm_thin_pool`, `modprobe dm_snapshot`",
    ),
    ("thin_check: execvp failed", ErrorKind::Unavailable, "run `apt install thin-provisioning-tools`"),
    ("Permission denied", ErrorKind::PermissionDenied, "run it as root"),
    ("may fail due to insufficient permissions", ErrorKind::PermissionDenied, "run it as root"),
    (
        "Volume group \"",
        ErrorKind::Unavailable,
        "choose another with `--vgname`, or make it: `vgcreate VG DEVICE`; `vgs` shows those that there are",
    ),
    (
        "Pool ",
        ErrorKind::Unavailable,
        "choose another with `--thinpool`, or make it: `lvcreate --type thin-pool -l 90%FREE -n POOL VG`",
    ),
];

const LIST: &str = "`lvs VG` shows those that there are";
const REPAIR: &str =
    "stop what runs from the pool, deactivate it (`lvchange -an VG/POOL`), then `lvconvert --repair VG/POOL`";
const GROUP_FULL: &str = "make the volume group larger: `vgextend VG DEVICE`, choose a smaller `--fssize`, or destroy what is not needed";
const POOL_FULL: &str = "make the pool larger: `lvextend -L +SIZE VG/POOL`, or destroy what is not needed";

/// Turns a failed run into an error about a volume.
pub(crate) fn explain(error: Error, place: &Place) -> Error {
    in_group(error, &place.vg)
}

/// Turns a failed run into an error about a group.
pub(crate) fn in_group(error: Error, vg: &str) -> Error {
    let is_silent = matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Protocol);
    let told = error.context().iter().find(|(key, _)| *key == "stderr").map(|(_, text)| text.clone());
    match told {
        Some(text) if !is_silent => said(&text, error.message(), vg).with_context("stderr", text),
        _ => error,
    }
}

/// Returns the error for what LVM said in answer to `message`.
pub(crate) fn said(text: &str, message: &str, vg: &str) -> Error {
    let known = KNOWN.iter().find(|(words, _, _)| text.contains(words));
    let Some((_, kind, remedy)) = known else {
        return Error::new(ErrorKind::Io, message).with_source(Said(first_line(text)));
    };
    let error = Error::new(*kind, first_line(text)).with_context("command", message);
    if remedy.is_empty() { error } else { error.with_hint(remedy.replace("VG", vg)) }
}

/// LVM's own words.
#[derive(Debug)]
struct Said(String);

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Said {}

/// Returns the first line that is no warning, as a message reads: names in backticks, no final period.
fn first_line(text: &str) -> String {
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    let line = lines().find(|line| !line.starts_with("WARNING") && !line.starts_with("File descriptor"));
    let line =
        line.or_else(|| lines().next()).unwrap_or("lvm failed").trim_end_matches('.').replace('"', "`");
    let mut characters = line.chars();
    characters.next().map_or_else(String::new, |first| first.to_lowercase().chain(characters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lvm_says_becomes_a_kind_and_a_remedy() {
        for (text, kind, hint) in [
            (
                "  Volume group \"nope\" not found\n  Cannot process volume group nope",
                ErrorKind::Unavailable,
                "vgcreate",
            ),
            ("  Failed to find logical volume \"vg/x\"", ErrorKind::NotFound, "lvs vg"),
            ("  Snapshot origin LV x not found in Volume group vg.", ErrorKind::NotFound, "lvs vg"),
            (
                "  Existing logical volume \"x\" not found in volume group \"vg\"",
                ErrorKind::NotFound,
                "lvs vg",
            ),
            ("  Logical Volume \"x\" already exists in volume group \"vg\"", ErrorKind::AlreadyExists, ""),
            ("  Snapshots of snapshots are not supported.", ErrorKind::Unsupported, "--copy"),
            ("  Pool nopool not found in Volume group vg.", ErrorKind::Unavailable, "thin-pool"),
            (
                "  WARNING: Sum of all thin volume sizes (1.00 GiB) exceeds the size of thin pools.\n  \
                 Volume group \"vg\" has insufficient free space (429 extents): 16384 required.",
                ErrorKind::NoSpace,
                "vgextend vg",
            ),
            ("  Logical volume vg/x in use.", ErrorKind::Busy, ""),
            (
                "  Check of pool vg/pool failed (status:1). Manual repair required!",
                ErrorKind::Corrupt,
                "--repair",
            ),
            (
                "  /dev/mapper/control: open failed: Operation not permitted\n  Failure to communicate with kernel \
                 device-mapper driver.\n  Check that device-mapper driver missing from kernel",
                ErrorKind::Unavailable,
                "modprobe",
            ),
        ] {
            let error = said(text, "`lvm x` failed with exit code 5", "vg");
            assert_eq!(error.kind(), kind, "{error:?}");
            let hints = error.hints().join("\n");
            assert!(hints.contains(hint), "{error:?}");
            assert!(!error.message().ends_with('.') && !error.message().contains('"'), "{error:?}");
        }
    }

    #[test]
    fn what_is_not_known_keeps_lvms_words() {
        let error = said("  Something new happened.", "`lvm x` failed with exit code 5", "vg");
        assert_eq!(error.kind(), ErrorKind::Io);
        assert!(error.full_message().ends_with("something new happened"), "{error:?}");
    }
}
