//! What a store keeps: a [`Volume`], its identity, and where it physically is.
//!
//! Identity and place are two things. A [`VolumeId`] is given once and is written on the object as its *ownership
//! mark*; a [`VolumeSource`] is the physical place in the form that LXC's configuration uses
//! (`dir:/var/lib/lxc/web1/rootfs`), and it changes when a container is renamed.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{Error, ErrorKind, Result};
use crate::name::{ContainerName, SnapshotName};

/// The identity of a volume: 128 bits, ordered by time of making, printed as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VolumeId(Uuid);

impl VolumeId {
    /// Makes a new identity; two calls never give the same.
    #[must_use]
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// Returns twelve digits that tell volumes of one container apart in physical names.
    #[must_use]
    pub fn short(self) -> String {
        // The front of a version 7 identity is the clock, which two volumes of one batch share: take the random end.
        self.to_string()[20..].to_owned()
    }
}

impl fmt::Display for VolumeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.simple(), f)
    }
}

impl fmt::Debug for VolumeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for VolumeId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Uuid::try_parse(text).map(Self).map_err(|e| {
            Error::new(ErrorKind::InvalidArgument, format!("`{text}` is not a volume id")).with_source(e)
        })
    }
}

impl TryFrom<String> for VolumeId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<VolumeId> for String {
    fn from(id: VolumeId) -> Self {
        id.to_string()
    }
}

/// The kind of a store: `dir`, `overlay`, `btrfs`, … A word, not an enumeration, because backends come from outside.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StoreKind(String);

impl StoreKind {
    /// Returns the kind called `word`.
    #[must_use]
    pub fn new(word: &str) -> Self {
        Self(word.to_owned())
    }

    /// Returns the word.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Where a volume physically is, as LXC writes it in `lxc.rootfs.path`: `KIND:LOCATION`.
///
/// The location's form is its store's own business; core only splits at the first colon.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VolumeSource {
    kind: StoreKind,
    location: String,
}

impl VolumeSource {
    /// Returns the source of `kind` at `location`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] when the location is empty or holds a line break, which would let it write
    /// further lines into a configuration file.
    pub fn new(kind: StoreKind, location: impl Into<String>) -> Result<Self> {
        let location = location.into();
        if location.is_empty() || location.chars().any(char::is_control) {
            let text = format!("`{}` cannot be the location of a {kind} volume", location.escape_default());
            return Err(Error::new(ErrorKind::InvalidArgument, text));
        }
        Ok(Self { kind, location })
    }

    /// Returns the source of `kind` at `path`.
    ///
    /// # Errors
    /// As [`Self::new`], and for a path that is not UTF-8: a configuration file could not hold it.
    pub fn at_path(kind: StoreKind, path: &Path) -> Result<Self> {
        let text = path.to_str().ok_or_else(|| {
            Error::new(ErrorKind::InvalidArgument, format!("`{}` is not UTF-8", path.display()))
                .with_hint("choose an lxcpath whose name is UTF-8")
        })?;
        Self::new(kind, text)
    }

    /// Returns the kind of the store that keeps it.
    #[must_use]
    pub fn kind(&self) -> &StoreKind {
        &self.kind
    }

    /// Returns what stands behind the first colon.
    #[must_use]
    pub fn location(&self) -> &str {
        &self.location
    }

    /// Returns the paths that a location of absolute paths names, as stores that live in homes write it.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.location.split(':').map(Path::new).filter(|path| path.is_absolute())
    }

    /// Returns where the volume is after its home was renamed from `from` to `to`: every path at or below `from`, in a
    /// location that is a list of paths, is moved. Only for stores whose objects live in homes.
    ///
    /// # Errors
    /// As [`Self::new`]: `to` may hold what no location can.
    pub fn relocated(&self, from: &Path, to: &Path) -> Result<Self> {
        let moved: Vec<String> = self
            .location
            .split(':')
            .map(|part| match Path::new(part).strip_prefix(from) {
                Ok(rest) if rest.as_os_str().is_empty() => to.display().to_string(),
                Ok(rest) => to.join(rest).display().to_string(),
                Err(_) => part.to_owned(),
            })
            .collect();
        Self::new(self.kind.clone(), moved.join(":"))
    }
}

impl fmt::Display for VolumeSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.location)
    }
}

impl FromStr for VolumeSource {
    type Err = Error;

    /// Reads `KIND:LOCATION`. A bare path has no kind and is refused here: detection asks the stores instead.
    fn from_str(text: &str) -> Result<Self> {
        match text.split_once(':') {
            Some((kind, location)) if !kind.is_empty() && !kind.contains('/') => {
                Self::new(StoreKind::new(kind), location)
            }
            _ => Err(Error::new(ErrorKind::InvalidArgument, format!("`{text}` has no store in front"))
                .with_hint("write `KIND:PATH`, for example `dir:/var/lib/lxc/web1/rootfs`")),
        }
    }
}

impl TryFrom<String> for VolumeSource {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<VolumeSource> for String {
    fn from(source: VolumeSource) -> Self {
        source.to_string()
    }
}

/// Facts about a volume that its store needs again and nobody else understands (`thinpool`, `fstype`, …).
pub type Properties = BTreeMap<String, String>;

/// One root filesystem in one store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Its identity; equal to the ownership mark on the object.
    pub id: VolumeId,
    /// Its physical place.
    pub source: VolumeSource,
    /// What its store remembers about it.
    pub properties: Properties,
}

impl Volume {
    /// Returns a volume without properties.
    #[must_use]
    pub fn new(id: VolumeId, source: VolumeSource) -> Self {
        Self { id, source, properties: Properties::new() }
    }

    /// Returns the kind of the store that keeps it.
    #[must_use]
    pub fn kind(&self) -> &StoreKind {
        self.source.kind()
    }
}

/// Whom a volume serves; with [`Placement::home`] it decides the readable part of a physical name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeRole {
    /// The root filesystem that a container starts from.
    Head,
    /// A snapshot of a container, which nobody starts.
    Snapshot(SnapshotName),
    /// A new head beside an existing one: after a snapshot that froze the old head, or a restore.
    Successor,
}

/// What a store is told so that it can choose a physical place. The answer is pure: the same placement, the same place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The identity that the new volume will carry.
    pub id: VolumeId,
    /// The container that it serves.
    pub container: ContainerName,
    /// Whom it serves.
    pub role: VolumeRole,
    /// The directory of the container or snapshot (`<lxcpath>/<name>`, `<lxcpath>/<name>/snaps/<snapshot>`, or a staging
    /// directory that will be renamed to it). It exists before the store is asked to make anything. Stores that live
    /// in it place their objects below it; stores that name objects elsewhere ignore it.
    pub home: PathBuf,
    /// Options of the user (`--vgname`, `--fssize`, …), checked by the store here, before anything is made.
    pub options: Properties,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_read_as_lxc_writes_them_and_print_the_same() {
        for text in ["dir:/a/b", "overlay:/l1:/l2:/u", "zfs:tank/lxc/web1", "lvm:/dev/vg/lv"] {
            let source: VolumeSource = text.parse().unwrap();
            assert_eq!(source.to_string(), text);
        }
        for bad in ["/a/b", "dir:", ":x", "", "dir:/a\nlxc.hook.start = x", "/a:b"] {
            assert!(bad.parse::<VolumeSource>().is_err(), "{bad}");
        }
    }

    #[test]
    fn relocation_moves_whole_components_and_nothing_that_merely_begins_alike() {
        let source: VolumeSource = "overlay:/p/ab/rootfs:/p/a/rootfs:/p/a/overlay/delta".parse().unwrap();
        let moved = source.relocated(Path::new("/p/a"), Path::new("/p/new")).unwrap();
        assert_eq!(moved.to_string(), "overlay:/p/ab/rootfs:/p/new/rootfs:/p/new/overlay/delta");
    }

    #[test]
    fn identities_print_as_32_digits_and_differ_at_their_short_end() {
        let (a, b) = (VolumeId::generate(), VolumeId::generate());
        assert_eq!(a.to_string().len(), 32);
        assert_eq!(a.to_string().parse::<VolumeId>().unwrap(), a);
        assert_ne!(a.short(), b.short());
        assert_eq!(a.short().len(), 12);
    }
}
