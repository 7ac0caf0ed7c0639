//! Destroys a dataset or a snapshot, and never what somebody else made.
//!
//! ```text
//! zfs.destroy   zfs destroy -d ORIGIN@keiki-clone-…     for a clone: the origin goes with its last clone
//!               zfs destroy DATASET
//! ```
//!
//! The first command only notes the wish (zfs's deferred destroy), so that nothing is left between the two. A dataset with snapshots,
//! datasets or volumes that we did not make stays, and the refusal names them.

use keiki_core::context::Context;
use keiki_core::store::{Destroyed, Presence};
use keiki_core::volume::Volume;
use keiki_core::{Error, ErrorKind, Result};

use crate::busy::{name_holders, refuse_mounted};
use crate::create::{foreign, presence};
use crate::dataset::{Place, is_internal};
use crate::parse::{Kind, Mark, Object};
use crate::tool::{self, Sight};

/// Names that a refusal shows.
const SHOWN: usize = 8;

/// What may be left of a volume that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remains {
    /// The snapshot that it was to stand on, when it was never made. All snapshots of the pool are looked at for it.
    Possible,
    /// Nothing: this process removed the volume itself.
    Impossible,
}

/// Removes `volume`; see `BackingStore::destroy`.
pub(crate) fn destroy(context: &Context, volume: &Volume, remains: Remains) -> Result<Destroyed> {
    let place = Place::of(volume)?;
    if place.snapshot.is_some() {
        snapshot(context, volume, &place)
    } else {
        dataset(context, volume, &place, remains)
    }
}

fn snapshot(context: &Context, volume: &Volume, place: &Place) -> Result<Destroyed> {
    let name = place.name();
    let sight = tool::look(context, &[&name])?;
    match presence(place, volume, &sight) {
        Presence::Absent => return Ok(Destroyed::Absent),
        Presence::Complete(id) if id != volume.id => return Err(foreign(place, &sight)),
        Presence::Foreign => return Err(foreign(place, &sight)),
        Presence::Complete(_) | Presence::Partial => {}
    }
    context.step("zfs.destroy")?;
    tool::insist(context, &["destroy", &name], "destroy", &name)
        .map_err(|error| name_holders(error, &name))?;
    Ok(Destroyed::Removed)
}

fn dataset(context: &Context, volume: &Volume, place: &Place, remains: Remains) -> Result<Destroyed> {
    let (at, own) = tool::look_at(context, volume)?;
    match presence(&at, volume, &own) {
        Presence::Absent if remains == Remains::Impossible => return Ok(Destroyed::Absent),
        Presence::Absent => return left_over(context, volume, place),
        Presence::Complete(id) if id != volume.id => return Err(foreign(place, &own)),
        Presence::Foreign => return Err(foreign(place, &own)),
        Presence::Complete(_) | Presence::Partial => {}
    }
    let inside = tool::look_inside(context, &place.dataset)?;
    let ours = refuse_strangers(place, &inside)?;
    refuse_mounted(&place.dataset, "destroy")?;
    context.step("zfs.destroy")?;
    let origin = own.get(&place.dataset).and_then(|object| object.origin.as_deref());
    if let Some(origin) = origin.filter(|origin| is_internal(origin)) {
        tool::require(context, &["destroy", "-d", origin], "let go of the snapshot", origin)?;
    }
    for snapshot in ours {
        tool::require(context, &["destroy", snapshot], "destroy the snapshot", snapshot)?;
    }
    tool::insist(context, &["destroy", &place.dataset], "destroy", &place.dataset)
        .map_err(|error| name_holders(error, &place.dataset))?;
    Ok(Destroyed::Removed)
}

/// Refuses when something in the dataset is not ours to destroy; returns snapshots of our own that nothing stands on.
fn refuse_strangers<'a>(place: &Place, inside: &'a Sight) -> Result<Vec<&'a str>> {
    let within = inside.all().iter().filter(|object| object.name != place.dataset);
    let (ours, others): (Vec<&Object>, Vec<&Object>) = within.partition(|object| is_internal(&object.name));
    let strangers: Vec<&Object> = others.iter().copied().filter(|object| object.mark == Mark::None).collect();
    if let Some(first) = strangers.first() {
        let flag = if first.kind == Kind::Snapshot { "" } else { "-r " };
        let names = shown(strangers.iter().map(|object| object.name.as_str()));
        let message = format!("cannot destroy `{}`: keiki did not make {names}", place.dataset);
        return Err(Error::new(ErrorKind::Foreign, message).with_context("foreign", names).with_hint(
            format!("`zfs destroy {flag}{}` destroys it for good; then repeat the command", first.name),
        ));
    }
    let marked = others.iter().map(|object| object.name.as_str());
    let clones = ours.iter().flat_map(|object| object.clones.iter().map(String::as_str));
    let dependents: Vec<&str> = marked.chain(clones).collect();
    if dependents.is_empty() {
        return Ok(ours.into_iter().map(|object| object.name.as_str()).collect());
    }
    let names = shown(dependents.into_iter());
    let message = format!("cannot destroy `{}`: its data is needed by {names}", place.dataset);
    Err(Error::new(ErrorKind::HasDependents, message)
        .with_context("dependents", names)
        .with_hint("`keiki destroy` those first, or `keiki promote` one of them"))
}

fn shown<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    match quoted.len().checked_sub(SHOWN) {
        None | Some(0) => quoted.join(", "),
        Some(more) => format!("{} and {more} more", quoted[..SHOWN].join(", ")),
    }
}

/// Removes the snapshot that a clone should have stood on, when it was taken and the clone was not made.
fn left_over(context: &Context, volume: &Volume, place: &Place) -> Result<Destroyed> {
    let sight = tool::look_at_snapshots(context, place.pool())?;
    let begun = |object: &&Object| is_internal(&object.name) && object.made_for.contains(&volume.id);
    let Some(object) = sight.all().iter().find(begun) else { return Ok(Destroyed::Absent) };
    // Other clones of its batch may stand on it, or be about to: it goes with the last, or with the last that was not made.
    if object.clones.is_empty() {
        context.step("zfs.destroy")?;
        let answer = tool::zfs(context, &["destroy", &object.name])?;
        if answer.code != 0 {
            let error = tool::complaint(&answer, "destroy the snapshot", &object.name);
            if !matches!(error.kind(), ErrorKind::HasDependents | ErrorKind::NotFound) {
                return Err(error);
            }
        }
    }
    Ok(Destroyed::Absent)
}
