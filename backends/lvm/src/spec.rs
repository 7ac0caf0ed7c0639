//! The options of the user, checked, and the names that follow from them.
//!
//! | option | meaning | without it |
//! |---|---|---|
//! | `vgname` | volume group | `lxc`, as in LXC |
//! | `lvname` | logical volume of the head | the container's name |
//! | `thinpool` | thin pool | plain volumes |
//! | `fstype`, `fssize` | file system and its size | `ext4`, `1G`, as in LXC |
//! | `snapsize` | size of plain snapshots: `50%` of the origin, or `2G` | `100%`, which cannot overflow |
//! | `datafill`, `metafill` | per cent of the pool beyond which no clone is made | 90, 80 |

use std::str::FromStr;

use keiki_core::units::Bytes;
use keiki_core::volume::{Placement, Properties, Volume, VolumeRole, VolumeSource};
use keiki_core::{Error, ErrorKind, Result};
use keiki_filesystem::FileSystemType;

use crate::place::Place;

/// The word in front of sources.
pub(crate) const KIND: &str = "lvm";

const DEFAULT_VG: &str = "lxc";
const DEFAULT_SIZE: Bytes = Bytes(1 << 30);
const OPTIONS: [&str; 8] =
    ["vgname", "lvname", "thinpool", "fstype", "fssize", "snapsize", "datafill", "metafill"];

/// How much of a snapshot's name goes into the logical volume's: the rest of LVM's 127 bytes belongs to the container.
const SNAPSHOT_PART_MAX: usize = 40;

/// What a volume is made as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spec {
    pub(crate) vg: String,
    pub(crate) lv: Option<String>,
    /// The thin pool; `None` for a plain volume.
    pub(crate) thinpool: Option<String>,
    /// `None` when nobody said it: a volume of LXC may hold any.
    pub(crate) fstype: Option<FileSystemType>,
    pub(crate) size: Bytes,
    pub(crate) snapshot_size: SnapshotSize,
    pub(crate) limits: Limits,
}

/// The size of a plain snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SnapshotSize {
    /// Per cent of its origin. With 100, LVM adds what its own tables need, and it cannot overflow.
    OfOrigin(u8),
    /// So many bytes.
    Fixed(Bytes),
}

/// How full a pool may be, in per cent, for a clone to be made in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) data: u8,
    pub(crate) metadata: u8,
}

impl Spec {
    /// Checks options.
    ///
    /// # Errors
    /// `InvalidArgument` naming the option.
    pub(crate) fn parse(options: &Properties) -> Result<Self> {
        if let Some(unknown) = options.keys().find(|name| !OPTIONS.contains(&name.as_str())) {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("the lvm store has no option `{unknown}`"),
            )
            .with_hint(format!("it has {}", OPTIONS.join(", "))));
        }
        let vg = options.get("vgname").map_or(DEFAULT_VG, String::as_str);
        let thinpool = options.get("thinpool").filter(|pool| !pool.is_empty()).cloned();
        // A pool's name follows the rules of a volume's.
        Place::new(vg, thinpool.as_deref().unwrap_or("x"))?;
        Ok(Self {
            vg: vg.to_owned(),
            lv: options.get("lvname").cloned(),
            thinpool,
            fstype: read(options, "fstype")?,
            size: read(options, "fssize")?.unwrap_or(DEFAULT_SIZE),
            snapshot_size: read(options, "snapsize")?.unwrap_or(SnapshotSize::OfOrigin(100)),
            limits: Limits {
                data: read::<Percent>(options, "datafill")?.map_or(90, |percent| percent.0),
                metadata: read::<Percent>(options, "metafill")?.map_or(80, |percent| percent.0),
            },
        })
    }

    /// Returns the file system that a new volume gets.
    pub(crate) fn new_fstype(&self) -> FileSystemType {
        self.fstype.unwrap_or(FileSystemType::Ext4)
    }
}

/// Chooses the place of a volume.
///
/// # Errors
/// `InvalidArgument` for options and names; `Unsupported` for an origin that a clone cannot begin as.
pub(crate) fn place(placement: &Placement, origin: Option<&Volume>) -> Result<VolumeSource> {
    let spec = Spec::parse(&placement.options)?;
    if let Some(origin) = origin {
        check_origin(&spec, &placement.options, origin)?;
    }
    // A clone takes its origin's options, but two volumes cannot have one name.
    let inherited = origin.and_then(|origin| origin.properties.get("lvname"));
    let lvname = spec.lv.as_ref().filter(|name| inherited != Some(name));
    let (head, short) = (lvname.map_or(placement.container.as_str(), String::as_str), placement.id.short());
    let lv = match &placement.role {
        VolumeRole::Head => head.to_owned(),
        VolumeRole::Successor => format!("{head}-{short}"),
        VolumeRole::Snapshot(name) => format!("{head}-{}-{short}", readable(name.as_str())),
    };
    Place::new(&spec.vg, &lv)?.source()
}

/// What of a snapshot's name LVM takes; the identity behind it tells two of them apart.
fn readable(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_.+-".contains(c);
    name.chars().map(|c| if is_plain(c) { c } else { '_' }).take(SNAPSHOT_PART_MAX).collect()
}

const COPY: &str = "copy instead: `keiki clone --copy`";

fn check_origin(spec: &Spec, options: &Properties, origin: &Volume) -> Result<()> {
    let refuse = |text: String| Err(Error::new(ErrorKind::Unsupported, text).with_hint(COPY));
    if origin.kind().as_str() != KIND {
        return refuse(format!("the lvm store cannot clone a {} volume", origin.kind()));
    }
    let vg = Place::of(origin)?.vg;
    if vg != spec.vg {
        return refuse(format!("a clone in `{}` cannot share data with `{vg}`", spec.vg));
    }
    check_form(options, origin)
}

/// Refuses options that a clone cannot have because it is what its origin is.
///
/// # Errors
/// `Unsupported` naming the option.
pub(crate) fn check_form(options: &Properties, origin: &Volume) -> Result<()> {
    for option in ["thinpool", "fstype", "fssize"] {
        let told = |options: &Properties| options.get(option).filter(|value| !value.is_empty()).cloned();
        let (wanted, has) = (told(options), told(&origin.properties));
        // A volume without a pool is a plain one; without the others it has what it was found with.
        let is_told = has.is_some() || option == "thinpool";
        if wanted.is_some() && is_told && wanted != has {
            let text = format!("a snapshot clone has the `{option}` of its origin and no other");
            return Err(Error::new(ErrorKind::Unsupported, text).with_hint(COPY));
        }
    }
    Ok(())
}

fn read<T: FromStr<Err = Error>>(options: &Properties, name: &str) -> Result<Option<T>> {
    let read = |text: &String| {
        text.parse().map_err(|error: Error| error.while_doing(format!("the option `{name}` is wrong")))
    };
    options.get(name).map(read).transpose()
}

struct Percent(u8);

impl FromStr for Percent {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let number = text.strip_suffix('%').unwrap_or(text).parse().ok().filter(|n| (1..=100).contains(n));
        number.map(Self).ok_or_else(|| {
            Error::new(ErrorKind::InvalidArgument, format!("`{text}` is not between 1 and 100 per cent"))
        })
    }
}

impl FromStr for SnapshotSize {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text.ends_with('%') {
            return text.parse().map(|Percent(percent)| Self::OfOrigin(percent));
        }
        text.parse().map(Self::Fixed)
    }
}

#[cfg(test)]
mod tests {
    use keiki_core::name::{ContainerName, SnapshotName};
    use keiki_core::volume::VolumeId;

    use super::*;

    fn options(pairs: &[(&str, &str)]) -> Properties {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn placement(name: &str, role: VolumeRole, options: Properties) -> Placement {
        let id = VolumeId::generate();
        Placement { id, container: ContainerName::parse(name).unwrap(), role, home: "/p".into(), options }
    }

    #[test]
    fn without_options_volumes_are_those_of_lxc() {
        let spec = Spec::parse(&Properties::new()).unwrap();
        assert_eq!((spec.vg.as_str(), spec.thinpool, spec.size), ("lxc", None, Bytes(1 << 30)));
        assert_eq!(spec.snapshot_size, SnapshotSize::OfOrigin(100));
        assert_eq!(spec.limits, Limits { data: 90, metadata: 80 });
    }

    #[test]
    fn wrong_options_are_named() {
        for (name, value) in [
            ("fssize", "big"),
            ("fstype", "ntfs"),
            ("vgname", "a/b"),
            ("thinpool", "a b"),
            ("snapsize", "0%"),
            ("snapsize", "x"),
            ("datafill", "101"),
            ("zfsroot", "x"),
        ] {
            let error = Spec::parse(&options(&[(name, value)])).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{name}={value}");
        }
        let spec = Spec::parse(&options(&[("snapsize", "2G"), ("metafill", "95%")])).unwrap();
        assert_eq!(spec.snapshot_size, SnapshotSize::Fixed(Bytes(2 << 30)));
        assert_eq!(spec.limits.metadata, 95);
    }

    #[test]
    fn places_are_readable_pure_and_those_of_snapshots_cannot_collide() {
        let head = placement("web1", VolumeRole::Head, options(&[("vgname", "vg")]));
        assert_eq!(place(&head, None).unwrap().to_string(), "lvm:/dev/vg/web1");
        let role = VolumeRole::Snapshot(SnapshotName::parse("snap0").unwrap());
        let snapshot = placement("web1", role, options(&[("vgname", "vg")]));
        let expected = format!("lvm:/dev/vg/web1-snap0-{}", snapshot.id.short());
        assert_eq!(place(&snapshot, None).unwrap().to_string(), expected);
        let named = placement("web1", VolumeRole::Successor, options(&[("lvname", "other")]));
        let expected = format!("lvm:/dev/lxc/other-{}", named.id.short());
        assert_eq!(place(&named, None).unwrap().to_string(), expected);
    }

    #[test]
    fn a_clone_takes_another_name_than_its_origin_and_cannot_leave_its_group_or_pool() {
        let given = options(&[("vgname", "vg"), ("lvname", "other"), ("thinpool", "pool")]);
        let source = "lvm:/dev/vg/other".parse().unwrap();
        let origin = Volume { properties: given.clone(), ..Volume::new(VolumeId::generate(), source) };
        let clone = placement("web2", VolumeRole::Head, given.clone());
        assert_eq!(place(&clone, Some(&origin)).unwrap().to_string(), "lvm:/dev/vg/web2");
        for (name, value) in [("vgname", "elsewhere"), ("thinpool", "second")] {
            let mut changed = given.clone();
            changed.insert(name.to_owned(), value.to_owned());
            let error = place(&placement("web2", VolumeRole::Head, changed), Some(&origin)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
        }
        let plain = Volume { properties: options(&[("vgname", "vg")]), ..origin };
        let error = place(&placement("web2", VolumeRole::Head, given), Some(&plain)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "a plain volume has no thin clones: {error:?}");
        let given = options(&[("vgname", "vg"), ("thinpool", "")]);
        assert!(place(&placement("web2", VolumeRole::Head, given), Some(&plain)).is_ok());
    }
}
