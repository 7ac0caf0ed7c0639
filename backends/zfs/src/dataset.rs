//! Names of datasets and snapshots: what a volume's location says, and the names that only we give.

use keiki_core::volume::{StoreKind, Volume, VolumeId, VolumeSource};
use keiki_core::{Error, ErrorKind, Result};

use crate::spec::KIND;

/// zfs's limit for a whole name, `@snapshot` included.
const NAME_MAX: usize = 255;

/// What is kept free for the snapshots that clones stand on: `@keiki-clone-` and twelve digits.
const ROOM_FOR_SNAPSHOT: usize = 25;

const SNAPSHOT: &str = "keiki-";
const INTERNAL: &str = "keiki-clone-";
const GHOST: &str = "keiki-ghost-";
const COPY_OF_SNAPSHOT: &str = "keiki-snapshot-";

/// Digits of [`VolumeId::short`].
const SHORT: usize = 12;

/// Where a volume is: a dataset, or a snapshot of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The dataset, or the one that the snapshot belongs to.
    pub(crate) dataset: String,
    /// What stands behind the `@`.
    pub(crate) snapshot: Option<String>,
}

impl Place {
    /// Reads the location of a volume.
    pub(crate) fn of(volume: &Volume) -> Result<Self> {
        Self::parse(volume.source.location())
    }

    /// Reads `pool/data/set` or `pool/data/set@snapshot`.
    pub(crate) fn parse(location: &str) -> Result<Self> {
        let (dataset, snapshot) = match location.split_once('@') {
            Some((dataset, snapshot)) => (dataset, Some(snapshot)),
            None => (location, None),
        };
        check_dataset(dataset)?;
        if let Some(name) = snapshot {
            check_component(name, location)?;
        }
        if location.len() > NAME_MAX {
            return Err(bad(location, &format!("it is longer than {NAME_MAX} characters")));
        }
        Ok(Self { dataset: dataset.to_owned(), snapshot: snapshot.map(str::to_owned) })
    }

    /// Returns the whole name.
    pub(crate) fn name(&self) -> String {
        match &self.snapshot {
            Some(snapshot) => format!("{}@{snapshot}", self.dataset),
            None => self.dataset.clone(),
        }
    }

    /// Returns the pool.
    pub(crate) fn pool(&self) -> &str {
        pool_of(&self.dataset)
    }

    /// Returns the dataset that this one is in; `None` for a pool itself.
    pub(crate) fn parent(&self) -> Option<&str> {
        self.dataset.rsplit_once('/').map(|(parent, _)| parent)
    }

    /// Returns whether the name itself can only come from us, for the volume `id`: without a mark it is one of ours that was not
    /// finished.
    pub(crate) fn is_named_for(&self, id: VolumeId) -> bool {
        let last = self.snapshot.as_deref().unwrap_or_else(|| last_component(&self.dataset));
        last.strip_suffix(&id.short()).is_some_and(|front| front.ends_with('-'))
    }
}

/// Returns the pool of a dataset.
pub(crate) fn pool_of(dataset: &str) -> &str {
    dataset.split(['/', '@']).next().unwrap_or(dataset)
}

/// Returns the source of a dataset or snapshot.
pub(crate) fn source(name: String) -> Result<VolumeSource> {
    Place::parse(&name)?;
    VolumeSource::new(StoreKind::new(KIND), name)
}

/// Returns the source of a dataset that will be cloned one day: its name leaves room for that.
pub(crate) fn dataset_source(parent: &str, name: &str) -> Result<VolumeSource> {
    let whole = format!("{parent}/{name}");
    if whole.len() + ROOM_FOR_SNAPSHOT > NAME_MAX {
        let limit = NAME_MAX - ROOM_FOR_SNAPSHOT;
        return Err(bad(&whole, &format!("it is longer than {limit} characters")));
    }
    source(whole)
}

/// Returns what stands behind the `@` of the snapshot `id`.
pub(crate) fn snapshot_name(id: VolumeId) -> String {
    format!("{SNAPSHOT}{}", id.short())
}

/// Returns the name of a dataset that holds a snapshot of a snapshot.
pub(crate) fn copy_name(id: VolumeId) -> String {
    format!("{COPY_OF_SNAPSHOT}{}", id.short())
}

/// Returns the name of a dataset that only its clones need.
pub(crate) fn ghost_name(id: VolumeId) -> String {
    format!("{GHOST}{}", id.short())
}

/// Returns what stands behind the `@` of the snapshot on which clones of a head stand; the first of them names it.
pub(crate) fn internal_name(first: VolumeId) -> String {
    format!("{INTERNAL}{}", first.short())
}

/// Returns whether a snapshot's whole name is one of those that we make for clones to stand on.
pub(crate) fn is_internal(name: &str) -> bool {
    let digits = name.split_once('@').and_then(|(_, snapshot)| snapshot.strip_prefix(INTERNAL));
    digits.is_some_and(|text| text.len() == SHORT && text.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Refuses names of containers that look like what we put aside.
pub(crate) fn check_container(name: &str) -> Result<()> {
    check_component(name, name)?;
    match [GHOST, COPY_OF_SNAPSHOT].iter().find(|prefix| name.starts_with(**prefix)) {
        None => Ok(()),
        Some(prefix) => Err(bad(name, &format!("`{prefix}` begins the names of what keiki keeps aside"))),
    }
}

/// Checks the name of a dataset: a pool, then components.
pub(crate) fn check_dataset(name: &str) -> Result<()> {
    let mut components = name.split('/');
    if !components.next().is_some_and(|pool| pool.starts_with(|c: char| c.is_ascii_alphabetic())) {
        return Err(bad(name, "it does not begin with the name of a pool"));
    }
    name.split('/').try_for_each(|component| check_component(component, name))
}

fn check_component(component: &str, whole: &str) -> Result<()> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-_.: ".contains(c);
    if component.is_empty() || component == "." || component == ".." {
        return Err(bad(whole, "a part of it is empty or a dot"));
    }
    // Words are handed to a tool that would take it for an option.
    if component.starts_with(['-', ' ']) || component.ends_with(' ') {
        return Err(bad(whole, "a part of it begins with `-` or a space"));
    }
    match component.chars().find(|c| !is_allowed(*c)) {
        None => Ok(()),
        Some(c) => Err(bad(whole, &format!("zfs does not take `{}` in names", c.escape_default()))),
    }
}

fn last_component(dataset: &str) -> &str {
    dataset.rsplit('/').next().unwrap_or(dataset)
}

fn bad(name: &str, why: &str) -> Error {
    Error::new(ErrorKind::InvalidArgument, format!("`{name}` cannot be the name of a dataset: {why}"))
        .with_hint("use letters, digits, `.`, `_`, `-` and `:`, as in `tank/lxc/web1`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_datasets_or_snapshots_and_nothing_else() {
        let place = Place::parse("tank/lxc/web1@keiki-0123456789ab").unwrap();
        assert_eq!((place.pool(), place.parent()), ("tank", Some("tank/lxc")));
        assert_eq!(place.name(), "tank/lxc/web1@keiki-0123456789ab");
        assert_eq!(Place::parse("tank").unwrap().parent(), None);
        for bad in [
            "",
            "/tank/x",
            "tank//x",
            "tank/x@",
            "tank/x@a@b",
            "tank/../x",
            "tank/-rf",
            "9/x",
            "tank/x\t",
            "-r",
        ] {
            assert!(Place::parse(bad).is_err(), "{bad}");
        }
        assert!(Place::parse(&format!("tank/{}", "x".repeat(251))).is_err());
    }

    #[test]
    fn only_our_own_form_is_internal() {
        assert!(is_internal("tank/web1@keiki-clone-0123456789ab"));
        for other in [
            "tank/web1@keiki-0123456789ab",
            "tank/web1@keiki-clone-x",
            "tank/keiki-clone-0123456789ab",
            "tank@backup",
        ] {
            assert!(!is_internal(other), "{other}");
        }
    }

    #[test]
    fn a_name_that_carries_the_identity_is_known_without_a_mark() {
        let (id, other) = (VolumeId::generate(), VolumeId::generate());
        for name in [
            format!("t/web1-{}", id.short()),
            format!("t/web1@{}", snapshot_name(id)),
            format!("t/{}", ghost_name(id)),
        ] {
            assert!(Place::parse(&name).unwrap().is_named_for(id), "{name}");
            assert!(!Place::parse(&name).unwrap().is_named_for(other), "{name}");
        }
        assert!(!Place::parse("t/web1").unwrap().is_named_for(id));
    }
}
