//! What users may ask of the overlay store, and the places that follow from it.

use std::path::PathBuf;

use keiki_core::volume::{Placement, Properties, StoreKind, Volume, VolumeRole, VolumeSource};
use keiki_core::{Error, ErrorKind, Result};

use crate::layers::Layers;

/// The word in front of our sources.
pub(crate) const KIND: &str = "overlay";

/// Stores whose volumes are plain directories at an absolute path, so that a layer can be put upon them.
pub(crate) const DIRECTORIES: [&str; 2] = ["dir", "btrfs"];

/// The longest chain of volumes that stand upon each other. The kernel takes 500 layers; far below that, looking a name
/// up costs more than a copy.
pub(crate) const DEPTH_MAX: usize = 64;

/// The only option: where changes go.
const UPPER: &str = "upper";

/// Where changes of a running container go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writes {
    /// Into the upper layer.
    Disk,
    /// Into memory; gone when it stops.
    Memory,
}

impl Writes {
    /// Reads the options of a user, or the properties of a volume.
    ///
    /// # Errors
    /// `InvalidArgument` for another option or value.
    pub(crate) fn parse(options: &Properties) -> Result<Self> {
        let refused = |text| {
            Err(Error::new(ErrorKind::InvalidArgument, text)
                .with_hint("its only option is `upper`, with the value `disk` or `memory`"))
        };
        if let Some(unknown) = options.keys().find(|name| *name != UPPER) {
            return refused(format!("the overlay store has no option `{unknown}`"));
        }
        match options.get(UPPER).map(String::as_str) {
            None | Some("disk") => Ok(Self::Disk),
            Some("memory") => Ok(Self::Memory),
            Some(other) => refused(format!("`{other}` is not a place for an upper layer")),
        }
    }

    /// Reads the property of an existing volume; other properties are none of our business.
    pub(crate) fn of(volume: &Volume) -> Self {
        match volume.properties.get(UPPER).map(String::as_str) {
            Some("memory") => Self::Memory,
            _ => Self::Disk,
        }
    }
}

/// Chooses the place of a new volume: upon `origin`, or upon an empty base of its own.
///
/// # Errors
/// `InvalidArgument` for options that we do not have and paths that cannot be named; `Unsupported` for an origin that is
/// no directory; `LimitExceeded` for a stack that is too high.
pub(crate) fn place(placement: &Placement, origin: Option<&Volume>) -> Result<VolumeSource> {
    Writes::parse(&placement.options)?;
    let layers = Layers::new(lowers(placement, origin)?, upper(placement))?;
    let depth = layers.depth();
    if depth > DEPTH_MAX {
        return Err(too_deep(depth, placement));
    }
    VolumeSource::new(StoreKind::new(KIND), layers.to_string())
}

fn too_deep(depth: usize, placement: &Placement) -> Error {
    let name = &placement.container;
    Error::new(
        ErrorKind::LimitExceeded,
        format!("`{name}` would stand upon {depth} volumes, more than the overlay store takes ({DEPTH_MAX})"),
    )
    .with_hint("make the origin independent first: `keiki flatten`")
    .with_hint("or clone it by copying: `keiki clone --copy`")
}

fn upper(placement: &Placement) -> PathBuf {
    let name = match placement.role {
        VolumeRole::Head | VolumeRole::Snapshot(_) => "delta".to_owned(),
        VolumeRole::Successor => format!("delta-{}", placement.id.short()),
    };
    placement.home.join("overlay").join(name)
}

fn lowers(placement: &Placement, origin: Option<&Volume>) -> Result<Vec<PathBuf>> {
    match (origin, &placement.role) {
        (Some(origin), _) => Layers::upon(origin),
        (None, VolumeRole::Head | VolumeRole::Snapshot(_)) => Ok(vec![placement.home.join("rootfs")]),
        // `rootfs` may still be the base of the head that is to be replaced.
        (None, VolumeRole::Successor) => {
            Ok(vec![placement.home.join("overlay").join(format!("base-{}", placement.id.short()))])
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use keiki_core::name::{ContainerName, SnapshotName};
    use keiki_core::volume::VolumeId;

    use super::*;

    fn placement(home: &str, role: VolumeRole) -> Placement {
        Placement {
            id: VolumeId::generate(),
            container: ContainerName::parse("web1").unwrap(),
            role,
            home: PathBuf::from(home),
            options: Properties::new(),
        }
    }

    fn volume(source: &str) -> Volume {
        Volume::new(VolumeId::generate(), source.parse().unwrap())
    }

    fn placed(placement: &Placement, origin: Option<&str>) -> Result<String> {
        place(placement, origin.map(volume).as_ref()).map(|source| source.to_string())
    }

    #[test]
    fn places_follow_from_home_role_and_origin_by_one_table() {
        let head = placement("/p/web1", VolumeRole::Head);
        let snapshot = VolumeRole::Snapshot(SnapshotName::parse("s").unwrap());
        let snapshot = placement("/p/web1/snaps/s", snapshot);
        let next = placement("/p/web1", VolumeRole::Successor);
        let short = next.id.short();
        let table = [
            (&head, None, "overlay:/p/web1/rootfs:/p/web1/overlay/delta".to_owned()),
            (&head, Some("dir:/p/b/rootfs"), "overlay:/p/b/rootfs:/p/web1/overlay/delta".to_owned()),
            (&head, Some("btrfs:/p/b/rootfs"), "overlay:/p/b/rootfs:/p/web1/overlay/delta".to_owned()),
            (
                &head,
                Some("overlay:/p/b/rootfs:/p/b/overlay/delta"),
                "overlay:/p/b/overlay/delta:/p/b/rootfs:/p/web1/overlay/delta".to_owned(),
            ),
            (
                &snapshot,
                Some("overlay:/p/web1/rootfs:/p/web1/overlay/delta"),
                "overlay:/p/web1/overlay/delta:/p/web1/rootfs:/p/web1/snaps/s/overlay/delta".to_owned(),
            ),
            (
                &next,
                Some("overlay:/x/1:/x/2:/x/u"),
                format!("overlay:/x/u:/x/1:/x/2:/p/web1/overlay/delta-{short}"),
            ),
            (&next, None, format!("overlay:/p/web1/overlay/base-{short}:/p/web1/overlay/delta-{short}")),
        ];
        for (placement, origin, expected) in table {
            assert_eq!(placed(placement, origin).unwrap(), expected);
        }
    }

    #[test]
    fn sixty_four_volumes_are_stood_upon_and_sixty_five_refused_with_a_remedy() {
        let head = placement("/p/web1", VolumeRole::Head);
        let chain = |clones: usize, bottom: &str| {
            let stack: Vec<_> = (0..clones).map(|n| format!("/p/c{n}/overlay/delta")).collect();
            format!("overlay:{}:{bottom}:/p/top/overlay/delta", stack.join(":"))
        };
        // The origin itself and what is at the bottom count too; the bottom of a created volume is its own base.
        for bottom in ["/p/d/rootfs", "/p/o/overlay/delta:/p/o/rootfs"] {
            assert!(placed(&head, Some(&chain(DEPTH_MAX - 2, bottom))).is_ok(), "{bottom}");
            assert!(placed(&head, Some(&chain(DEPTH_MAX - 1, bottom))).is_err(), "{bottom}");
        }
        let error = placed(&head, Some(&chain(DEPTH_MAX, "/p/d/rootfs"))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LimitExceeded);
        assert!(error.hints().iter().any(|hint| hint.contains("keiki flatten")), "{error:?}");
    }

    #[test]
    fn other_stores_options_and_colons_are_refused() {
        let head = placement("/p/web1", VolumeRole::Head);
        for origin in ["zfs:tank/lxc/a", "loop:/p/a/rootdev", "lvm:/dev/vg/a", "dir:relative"] {
            let error = placed(&head, Some(origin)).unwrap_err();
            assert!(
                matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::InvalidArgument),
                "{origin}: {error:?}"
            );
        }
        let colon = placement("/p/a:b", VolumeRole::Head);
        let error = placed(&colon, None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.message().contains('`') && error.message().contains(':'), "{error}");
        for (key, value) in [("fssize", "1G"), ("upper", "tape"), ("upper", "")] {
            let mut bad = placement("/p/web1", VolumeRole::Head);
            bad.options.insert(key.to_owned(), value.to_owned());
            assert_eq!(placed(&bad, None).unwrap_err().kind(), ErrorKind::InvalidArgument, "{key}={value}");
        }
        let mut good = placement("/p/web1", VolumeRole::Head);
        good.options.insert("upper".to_owned(), "memory".to_owned());
        assert!(placed(&good, None).is_ok());
        assert_eq!(Layers::parse("/a:/b").unwrap().upper, Path::new("/b"));
    }
}
