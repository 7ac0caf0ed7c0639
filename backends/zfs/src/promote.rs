//! Turns a clone round, so that its origin stands on it, and tells how a family stands.
//!
//! `zfs promote` moves the snapshot that a clone stands on, and all older ones of its dataset, to the clone. Ours move with their names
//! and marks, which are unlike everybody's; a user's snapshot moves as well, and one whose name the clone has already makes zfs refuse.

use std::collections::{BTreeMap, BTreeSet};

use keiki_core::context::Context;
use keiki_core::store::Promoted;
use keiki_core::volume::{Volume, VolumeId};
use keiki_core::{Error, ErrorKind, Result};

use crate::create::require;
use crate::dataset::{self, Place};
use crate::parse::{Mark, Object};
use crate::tool;

/// Generations that are turned round at most; every turn brings the next origin up.
const GENERATIONS_MAX: usize = 256;

/// Makes `volume` need nobody; see `Promote::promote`.
pub(crate) fn promote(context: &Context, volume: &Volume, family: &[Volume]) -> Result<Promoted> {
    for _ in 0..GENERATIONS_MAX {
        let (place, sight) = tool::look_at(context, volume)?;
        let object = require(&place, volume, &sight)?;
        if place.snapshot.is_some() {
            let message = format!("`{}` is a snapshot and cannot be promoted", place.name());
            return Err(
                Error::new(ErrorKind::Unsupported, message).with_hint("clone it, and promote the clone")
            );
        }
        if object.origin.is_none() {
            return standing(context, family);
        }
        context.step("zfs.promote")?;
        tool::insist(context, &["promote", &place.dataset], "promote", &place.dataset)?;
    }
    Err(Error::new(
        ErrorKind::LimitExceeded,
        format!("`{}` has too many origins above each other", volume.source),
    ))
}

/// Tells where a family is and who needs whom, by one look at the datasets that it is in; see `Promote::standing`.
pub(crate) fn standing(context: &Context, family: &[Volume]) -> Result<Promoted> {
    let mut roots = BTreeSet::new();
    for volume in family {
        let place = Place::of(volume)?;
        roots.insert(place.parent().unwrap_or(&place.dataset).to_owned());
    }
    let mut found = Vec::new();
    // What is below another root was seen with it.
    for root in roots.iter().filter(|root| !roots.iter().any(|other| is_below(root, other))) {
        found.extend(tool::look_inside(context, root)?.all().to_vec());
    }
    stand(family, &found)
}

fn is_below(name: &str, root: &str) -> bool {
    name.strip_prefix(root).is_some_and(|rest| rest.starts_with('/'))
}

fn stand(family: &[Volume], found: &[Object]) -> Result<Promoted> {
    let marked: BTreeMap<&str, VolumeId> = found
        .iter()
        .filter_map(|object| match object.mark {
            Mark::Of(id) => Some((object.name.as_str(), id)),
            Mark::None | Mark::Unreadable => None,
        })
        .collect();
    let members: BTreeSet<VolumeId> = family.iter().map(|volume| volume.id).collect();
    let at: BTreeMap<VolumeId, &Object> =
        found.iter().filter_map(|object| Some((*marked.get(object.name.as_str())?, object))).collect();
    let mut promoted = Promoted::default();
    for volume in family {
        let Some(object) = at.get(&volume.id) else { continue };
        if object.name != volume.source.location() {
            promoted.sources.push((volume.id, dataset::source(object.name.clone())?));
        }
        let parent = needed(object, &marked).filter(|parent| members.contains(parent));
        promoted.parents.push((volume.id, parent));
    }
    Ok(promoted)
}

/// Returns whom an object needs: a snapshot its dataset, a clone the snapshot of ours that it stands on, or else the dataset of that.
fn needed(object: &Object, marked: &BTreeMap<&str, VolumeId>) -> Option<VolumeId> {
    let dataset_of = |name: &str| name.split_once('@').and_then(|(dataset, _)| marked.get(dataset)).copied();
    match &object.origin {
        Some(origin) => marked.get(origin.as_str()).copied().or_else(|| dataset_of(origin)),
        None => dataset_of(&object.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse::objects;

    #[test]
    fn a_family_is_found_by_its_marks() {
        let volume = |source: &str| Volume::new(VolumeId::generate(), source.parse().unwrap());
        // `web2` was cloned from a snapshot of `web1` and then promoted: the snapshot is below it now.
        let (web1, snapshot, web2) =
            (volume("zfs:t/web1"), volume("zfs:t/web1@keiki-s"), volume("zfs:t/web2"));
        let web3 = volume("zfs:t/web3");
        let text = format!(
            "t/web1\ttype\tfilesystem\t-\nt/web1\tkeiki:id\t{}\tlocal\nt/web1\torigin\tt/web2@keiki-s\t-\n\
             t/web2\ttype\tfilesystem\t-\nt/web2\tkeiki:id\t{}\tlocal\nt/web2\torigin\t-\t-\n\
             t/web2@keiki-s\ttype\tsnapshot\t-\nt/web2@keiki-s\tkeiki:id\t{}\tlocal\n\
             t/web2@keiki-clone-0123456789ab\ttype\tsnapshot\t-\n\
             t/web3\ttype\tfilesystem\t-\nt/web3\tkeiki:id\t{}\tlocal\nt/web3\torigin\tt/web2@keiki-clone-0123456789ab\t-\n",
            web1.id, web2.id, snapshot.id, web3.id
        );
        let gone = volume("zfs:t/gone");
        let family = [web1.clone(), snapshot.clone(), web2.clone(), web3.clone(), gone];
        let found = stand(&family, &objects(&text).unwrap()).unwrap();
        assert_eq!(found.sources, [(snapshot.id, "zfs:t/web2@keiki-s".parse().unwrap())]);
        let expected = [
            (web1.id, Some(snapshot.id)),
            (snapshot.id, Some(web2.id)),
            (web2.id, None),
            (web3.id, Some(web2.id)),
        ];
        assert_eq!(found.parents, expected);
    }
}
