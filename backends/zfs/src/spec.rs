//! The options of the user, checked, and the places that follow from them.

use keiki_core::volume::{Placement, Properties, Volume, VolumeRole, VolumeSource};
use keiki_core::{Error, ErrorKind, Result};

use crate::dataset::{self, Place, pool_of};

/// The word in front of sources.
pub(crate) const KIND: &str = "zfs";

/// The option that names the dataset below which volumes are made.
pub(crate) const ROOT: &str = "zfsroot";

/// Chooses the place of a volume.
///
/// A clone goes beside its origin unless the user says otherwise, as with LXC.
pub(crate) fn place(default: &str, placement: &Placement, origin: Option<&Volume>) -> Result<VolumeSource> {
    check_options(&placement.options)?;
    let origin = origin.map(origin_place).transpose()?;
    let beside = origin.as_ref().and_then(Place::parent);
    let chosen = placement.options.get(ROOT).map(String::as_str);
    let root = chosen.or(beside).unwrap_or(default);
    dataset::check_dataset(root)?;
    if let Some(origin) = origin.as_ref().filter(|origin| origin.pool() != pool_of(root)) {
        return Err(other_pool(origin, root));
    }
    let name = placement.container.as_str();
    let short = placement.id.short();
    match (&placement.role, &origin) {
        (VolumeRole::Head, _) => {
            dataset::check_container(name)?;
            dataset::dataset_source(root, name)
        }
        (VolumeRole::Successor, _) => dataset::dataset_source(root, &format!("{name}-{short}")),
        (VolumeRole::Snapshot(_), Some(Place { dataset, snapshot: None })) => {
            dataset::source(format!("{dataset}@{}", dataset::snapshot_name(placement.id)))
        }
        // zfs has no snapshots of snapshots: a clone that is closed for writing is one.
        (VolumeRole::Snapshot(_), _) => dataset::dataset_source(root, &dataset::copy_name(placement.id)),
    }
}

/// Returns the dataset below which volumes are made.
pub(crate) fn root<'a>(default: &'a str, options: &'a Properties) -> Result<&'a str> {
    let root = options.get(ROOT).map_or(default, String::as_str);
    dataset::check_dataset(root)?;
    Ok(root)
}

/// Returns the options that find a volume again: the dataset that it is in.
pub(crate) fn options_of(volume: &Volume) -> Result<Properties> {
    let place = Place::of(volume)?;
    let root = place.parent().map(|root| (ROOT.to_owned(), root.to_owned()));
    Ok(root.into_iter().collect())
}

fn check_options(options: &Properties) -> Result<()> {
    let Some(option) = options.keys().find(|option| option.as_str() != ROOT) else { return Ok(()) };
    let message = format!("the zfs store has no option `{option}`");
    Err(Error::new(ErrorKind::InvalidArgument, message)
        .with_hint("it knows `--zfsroot DATASET`; a size is set by `keiki quota` and needs no option"))
}

fn origin_place(origin: &Volume) -> Result<Place> {
    if origin.kind().as_str() == KIND {
        return Place::of(origin);
    }
    let message = format!("the zfs store cannot clone a {} volume", origin.kind());
    Err(Error::new(ErrorKind::Unsupported, message)
        .with_hint("copy instead: `keiki clone --copy --bdev zfs`"))
}

fn other_pool(origin: &Place, root: &str) -> Error {
    let message = format!("zfs cannot clone `{}` into another pool, below `{root}`", origin.name());
    Error::new(ErrorKind::Unsupported, message).with_hint("copy instead: `keiki clone --copy`")
}

#[cfg(test)]
mod tests {
    use keiki_core::name::{ContainerName, SnapshotName};
    use keiki_core::volume::VolumeId;

    use super::*;

    fn placement(role: VolumeRole, root: Option<&str>) -> Placement {
        Placement {
            id: VolumeId::generate(),
            container: ContainerName::parse("web1").unwrap(),
            role,
            home: "/var/lib/lxc/web1".into(),
            options: root.map(|root| (ROOT.to_owned(), root.to_owned())).into_iter().collect(),
        }
    }

    fn volume(source: &str) -> Volume {
        Volume::new(VolumeId::generate(), source.parse().unwrap())
    }

    #[test]
    fn heads_are_called_as_lxc_calls_them() {
        let head = placement(VolumeRole::Head, None);
        assert_eq!(place("lxc", &head, None).unwrap().to_string(), "zfs:lxc/web1");
        let head = placement(VolumeRole::Head, Some("tank/lxc"));
        assert_eq!(place("lxc", &head, None).unwrap().to_string(), "zfs:tank/lxc/web1");
        let origin = volume("zfs:tank/old/base@keiki-0123456789ab");
        let clone = placement(VolumeRole::Head, None);
        assert_eq!(place("lxc", &clone, Some(&origin)).unwrap().to_string(), "zfs:tank/old/web1");
    }

    #[test]
    fn everything_else_carries_its_identity() {
        let role = VolumeRole::Snapshot(SnapshotName::parse("snap0").unwrap());
        let snapshot = placement(role, None);
        let short = snapshot.id.short();
        let of_head = place("lxc", &snapshot, Some(&volume("zfs:tank/web1"))).unwrap();
        assert_eq!(of_head.to_string(), format!("zfs:tank/web1@keiki-{short}"));
        let of_snapshot = place("lxc", &snapshot, Some(&volume("zfs:tank/web1@s"))).unwrap();
        assert_eq!(of_snapshot.to_string(), format!("zfs:tank/keiki-snapshot-{short}"));
        let successor = placement(VolumeRole::Successor, None);
        let placed = place("lxc", &successor, None).unwrap();
        assert_eq!(placed.to_string(), format!("zfs:lxc/web1-{}", successor.id.short()));
    }

    #[test]
    fn a_volume_is_found_again_by_the_dataset_that_it_is_in() {
        for source in ["zfs:tank/lxc/web1", "zfs:tank/lxc/web1@keiki-0123456789ab"] {
            let root = Properties::from([(ROOT.to_owned(), "tank/lxc".to_owned())]);
            assert_eq!(options_of(&volume(source)).unwrap(), root);
        }
    }

    #[test]
    fn what_cannot_be_is_refused_by_kind() {
        let refused = |placement: &Placement, origin: Option<&str>| {
            place("lxc", placement, origin.map(volume).as_ref()).unwrap_err().kind()
        };
        let mut odd = placement(VolumeRole::Head, None);
        odd.options.insert("fstype".to_owned(), "ext4".to_owned());
        assert_eq!(refused(&odd, None), ErrorKind::InvalidArgument);
        assert_eq!(refused(&placement(VolumeRole::Head, Some("/tank")), None), ErrorKind::InvalidArgument);
        assert_eq!(refused(&placement(VolumeRole::Head, None), Some("dir:/x")), ErrorKind::Unsupported);
        assert_eq!(
            refused(&placement(VolumeRole::Head, Some("other/x")), Some("zfs:tank/a")),
            ErrorKind::Unsupported
        );
        let mut ghost = placement(VolumeRole::Head, None);
        ghost.container = ContainerName::parse("keiki-ghost-0123456789ab").unwrap();
        assert_eq!(refused(&ghost, None), ErrorKind::InvalidArgument);
    }
}
