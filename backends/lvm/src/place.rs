//! [`Place`]: the volume group and the name of a logical volume, checked, so that it can stand in a command line or selection.

use std::path::{Path, PathBuf};

use keiki_core::volume::{StoreKind, Volume, VolumeId, VolumeSource};
use keiki_core::{Error, ErrorKind, Result};

use crate::spec::KIND;

/// The longest name of a volume that LVM takes.
const NAME_MAX: usize = 127;

/// What LVM keeps for itself at the beginning of a name, and anywhere in it (`man lvm`, reserved names).
const RESERVED_FRONTS: [&str; 2] = ["snapshot", "pvmove"];
const RESERVED_PARTS: [&str; 16] = [
    "_cdata", "_cmeta", "_corig", "_cpool", "_cvol", "_imeta", "_iorig", "_mimage", "_mlog", "_pmspare",
    "_rimage", "_rmeta", "_tdata", "_tmeta", "_vdata", "_vorigin",
];

/// Where a logical volume is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    /// The volume group.
    pub(crate) vg: String,
    /// The logical volume.
    pub(crate) lv: String,
}

impl Place {
    /// Checks both names.
    ///
    /// # Errors
    /// `InvalidArgument` saying which name LVM does not take.
    pub(crate) fn new(vg: &str, lv: &str) -> Result<Self> {
        check_characters("volume group", vg)?;
        check_characters("logical volume", lv)?;
        let reserved = RESERVED_FRONTS.iter().find(|front| lv.starts_with(**front));
        let reserved = reserved.or_else(|| RESERVED_PARTS.iter().find(|part| lv.contains(**part)));
        match reserved {
            None => Ok(Self { vg: vg.to_owned(), lv: lv.to_owned() }),
            Some(word) => Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("a logical volume cannot be called `{lv}`: LVM keeps `{word}` for itself"),
            )
            .with_hint("name the volume yourself with `--lvname`")),
        }
    }

    /// Reads the place of a volume, as LXC writes it: `/dev/VG/LV`; `/dev/mapper/VG-LV` is the same.
    ///
    /// # Errors
    /// `InvalidArgument` for anything else.
    pub(crate) fn of(volume: &Volume) -> Result<Self> {
        Self::parse(volume.source.location())
    }

    fn parse(location: &str) -> Result<Self> {
        let unknown = || {
            Error::new(
                ErrorKind::InvalidArgument,
                format!("`{location}` is not the place of a logical volume"),
            )
            .with_hint("it is `/dev/VG/LV`")
        };
        if let Some(name) = location.strip_prefix("/dev/mapper/") {
            let (vg, lv) = unmangle(name).ok_or_else(unknown)?;
            return Self::new(&vg, &lv);
        }
        let rest = location.strip_prefix("/dev/").ok_or_else(unknown)?;
        match rest.split_once('/') {
            Some((vg, lv)) if !lv.contains('/') => Self::new(vg, lv),
            _ => Err(unknown()),
        }
    }

    /// Returns the source that names this place.
    ///
    /// # Errors
    /// As `VolumeSource::new`.
    pub(crate) fn source(&self) -> Result<VolumeSource> {
        VolumeSource::at_path(StoreKind::new(KIND), &self.device())
    }

    /// Returns the device node, which exists while the volume is active.
    pub(crate) fn device(&self) -> PathBuf {
        Path::new("/dev").join(&self.vg).join(&self.lv)
    }

    /// Returns `VG/LV`, as commands take it.
    pub(crate) fn full(&self) -> String {
        format!("{}/{}", self.vg, self.lv)
    }

    /// Returns the place of another volume in the same group.
    pub(crate) fn sibling(&self, lv: &str) -> Self {
        Self { vg: self.vg.clone(), lv: lv.to_owned() }
    }

    /// Returns where a volume lives that only its dependents need.
    pub(crate) fn ghost(&self, id: VolumeId) -> Self {
        self.sibling(&format!("keiki-ghost-{}", id.short()))
    }
}

fn check_characters(what: &str, name: &str) -> Result<()> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_.+-".contains(c);
    let is_good = !name.is_empty()
        && name.len() <= NAME_MAX
        && name.chars().all(is_plain)
        && !name.starts_with('-')
        && name != "."
        && name != "..";
    if is_good {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidArgument, format!("`{name}` cannot be the name of a {what}")).with_hint(
        "LVM takes up to 127 of the characters `A-Z a-z 0-9 _ . + -`, not `-` first; see `--lvname` and `--vgname`",
    ))
}

/// Splits a device-mapper name at its one single hyphen; doubled ones stand for themselves.
fn unmangle(name: &str) -> Option<(String, String)> {
    let parts: Vec<String> =
        name.replace("--", "\0").split('-').map(|part| part.replace('\0', "-")).collect();
    match parts.as_slice() {
        [vg, lv] => Some((vg.clone(), lv.clone())),
        _ => None,
    }
}

/// Returns the device-mapper name of `vg/lv`.
pub(crate) fn mangled(vg: &str, lv: &str) -> String {
    format!("{}-{}", vg.replace('-', "--"), lv.replace('-', "--"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_place_are_read_and_the_one_of_lxc_is_written() {
        for (location, vg, lv) in [
            ("/dev/lxc/web1", "lxc", "web1"),
            ("/dev/vg-a/web-1", "vg-a", "web-1"),
            ("/dev/mapper/vg--a-web--1", "vg-a", "web-1"),
            ("/dev/mapper/lxc-a.b", "lxc", "a.b"),
        ] {
            let place = Place::parse(location).unwrap();
            assert_eq!((place.vg.as_str(), place.lv.as_str()), (vg, lv));
            assert_eq!(place.source().unwrap().to_string(), format!("lvm:/dev/{vg}/{lv}"));
        }
        for bad in
            ["", "/dev/", "/dev/x", "lxc/web1", "/dev/a/b/c", "/dev/a/../b", "/dev/a/b c", "/dev/mapper/a"]
        {
            assert_eq!(Place::parse(bad).unwrap_err().kind(), ErrorKind::InvalidArgument, "{bad}");
        }
    }

    #[test]
    fn names_that_lvm_keeps_or_would_misread_are_refused_with_the_option_that_helps() {
        for bad in
            ["-x", "a;b", "a\"b", "a b", ".", "..", "", "snapshot1", "pvmove0", "a_tdata", &"x".repeat(128)]
        {
            let error = Place::new("vg", bad).unwrap_err();
            assert!(error.hints().iter().any(|hint| hint.contains("--lvname")), "{error:?}");
        }
        assert!(Place::new("vg", "a_snapshot+b.c-d").is_ok());
    }

    proptest::proptest! {
        #[test]
        fn device_mapper_names_are_read_back(vg in "[a-z][a-z0-9-]{0,8}[a-z]", lv in "[a-z][a-z0-9-]{0,8}[a-z]") {
            let read = unmangle(&mangled(&vg, &lv));
            proptest::prop_assert_eq!(read, Some((vg, lv)));
        }
    }
}
