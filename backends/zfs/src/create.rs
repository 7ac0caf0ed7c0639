//! Makes an empty dataset, and takes one of LXC's into our keeping.

use keiki_core::context::Context;
use keiki_core::store::Presence;
use keiki_core::units::Bytes;
use keiki_core::volume::{Volume, VolumeId};
use keiki_core::{Error, ErrorKind, Result};

use crate::dataset::Place;
use crate::parse::{MARK, Mark, Object};
use crate::tool::{self, Sight};

/// Every dataset of ours: nothing mounts it but us, and it keeps the lists of access and attributes that a root file system has.
const PROPERTIES: [&str; 4] = ["canmount=noauto", "mountpoint=legacy", "acltype=posix", "xattr=sa"];

/// Returns the options of a command that makes a dataset: properties, and the mark of `id`.
pub(crate) fn with_properties(id: VolumeId) -> Vec<String> {
    let mark = format!("{MARK}={id}");
    let set = PROPERTIES.iter().map(|property| (*property).to_owned()).chain([mark]);
    set.flat_map(|property| ["-o".to_owned(), property]).collect()
}

/// Makes `volume`; see `BackingStore::create`.
pub(crate) fn create(context: &Context, volume: &Volume) -> Result<()> {
    let place = dataset_of(volume)?;
    let name = place.name();
    let options = with_properties(volume.id);
    let arguments: Vec<&str> =
        ["create"].into_iter().chain(options.iter().map(String::as_str)).chain([name.as_str()]).collect();
    context.step("zfs.create")?;
    match tool::require(context, &arguments, "create", &name) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => taken(context, volume, error),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(no_root(error, &place)),
        other => other.map(drop),
    }
}

/// Decides what a name that is taken means: success when it is the volume itself.
pub(crate) fn taken(context: &Context, volume: &Volume, error: Error) -> Result<()> {
    let (place, sight) = tool::look_at(context, volume)?;
    match presence(&place, volume, &sight) {
        Presence::Complete(id) if id == volume.id => Ok(()),
        Presence::Partial => {
            context.step("zfs.mark")?;
            set_mark(context, &place, volume.id)
        }
        Presence::Complete(_) | Presence::Foreign => Err(foreign(&place, &sight)),
        // Gone between two looks.
        Presence::Absent => Err(error),
    }
}

/// Marks a dataset of LXC; see `BackingStore::adopt`.
pub(crate) fn adopt(context: &Context, volume: &Volume, copied: Option<VolumeId>) -> Result<()> {
    let place = dataset_of(volume)?;
    let sight = tool::look(context, &[&place.name()])?;
    let object = sight.get(&place.name()).ok_or_else(|| missing(&place))?;
    match object.mark {
        Mark::Of(id) if id == volume.id => Ok(()),
        Mark::Of(id) if Some(id) != copied => Err(foreign(&place, &sight)),
        Mark::Unreadable => Err(foreign(&place, &sight)),
        Mark::Of(_) | Mark::None => {
            context.step("zfs.adopt")?;
            set_mark(context, &place, volume.id)
        }
    }
}

fn set_mark(context: &Context, place: &Place, id: VolumeId) -> Result<()> {
    let name = place.name();
    tool::require(context, &["set", &format!("{MARK}={id}"), &name], "mark", &name).map(drop)
}

/// Limits what the volume itself refers to, snapshots and clones apart; see `Quota::set_quota`.
pub(crate) fn set_quota(context: &Context, volume: &Volume, limit: Option<Bytes>) -> Result<()> {
    let place = dataset_of(volume)?;
    let (name, sight) = (place.name(), tool::look(context, &[&place.name()])?);
    require(&place, volume, &sight)?;
    let value = limit.map_or_else(|| "none".to_owned(), |bytes| bytes.0.to_string());
    context.step("zfs.quota")?;
    tool::require(context, &["set", &format!("refquota={value}"), &name], "limit", &name).map(drop)
}

/// Tells what stands at a volume's place.
pub(crate) fn presence(place: &Place, volume: &Volume, sight: &Sight) -> Presence {
    sight.get(&place.name()).map_or(Presence::Absent, |object| {
        let origin = object.origin.as_deref().and_then(|origin| sight.get(origin));
        object.presence(place, volume.id, origin)
    })
}

/// Returns the object of a volume that must be there, complete.
pub(crate) fn require<'a>(place: &Place, volume: &Volume, sight: &'a Sight) -> Result<&'a Object> {
    match (presence(place, volume, sight), sight.get(&place.name())) {
        (Presence::Complete(id), Some(object)) if id == volume.id => Ok(object),
        (Presence::Complete(_) | Presence::Foreign, _) => Err(foreign(place, sight)),
        _ => Err(missing(place)),
    }
}

fn dataset_of(volume: &Volume) -> Result<Place> {
    let place = Place::of(volume)?;
    if place.snapshot.is_none() {
        return Ok(place);
    }
    Err(Error::new(ErrorKind::InvalidArgument, format!("`{}` is a snapshot, not a dataset", place.name())))
}

/// Returns the error for a volume that is not there.
pub(crate) fn missing(place: &Place) -> Error {
    let what = if place.snapshot.is_some() { "snapshot" } else { "dataset" };
    Error::new(ErrorKind::NotFound, format!("there is no zfs {what} `{}`", place.name()))
}

/// Returns the error for an object that is not the volume that was meant.
pub(crate) fn foreign(place: &Place, sight: &Sight) -> Error {
    let name = place.name();
    let mark = sight.get(&name).map_or(Mark::None, |object| object.mark);
    let message = match mark {
        Mark::Of(id) => format!("`{name}` exists and is another volume of keiki, {id}"),
        Mark::None | Mark::Unreadable => format!("`{name}` exists and was not made by keiki"),
    };
    let rename = format!(
        "`zfs rename {name} OTHER` moves it away; or choose another name, or another root with `--zfsroot`"
    );
    Error::new(ErrorKind::Foreign, message).with_hint(rename)
}

fn no_root(error: Error, place: &Place) -> Error {
    let root = place.parent().unwrap_or(&place.dataset);
    let message = format!("there is no dataset `{root}` to make `{}` in", place.name());
    Error::new(ErrorKind::Unavailable, message)
        .with_source(error)
        .with_hint(format!("make it: `zfs create -p -o canmount=noauto -o mountpoint=legacy {root}`"))
}
