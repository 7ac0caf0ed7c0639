//! Who needs whom in memory, and how that is turned round: as a pool of zfs does it.
//!
//! ```text
//! a ◄─ a@s ◄─ b        promote b        b ◄─ b@s ◄─ a
//! ```
//!
//! Everything between the promoted volume and the end of its line needs it afterwards, and so does what hung on that line before the point
//! where the volume left it: a snapshot belongs to whoever's past it is.

use std::collections::{BTreeMap, BTreeSet};

use super::memory::{Base, Memory};
use crate::error::{Error, ErrorKind, Result};
use crate::store::Promoted;
use crate::volume::{Volume, VolumeId, VolumeSource};

impl Memory {
    /// Makes `volume` need nobody, and returns every place that is another one now, the old ones and the new ones.
    pub(super) fn promote(&mut self, volume: &Volume) -> Result<Vec<VolumeSource>> {
        let own = self.complete(volume)?;
        if self.is_snapshot(own) {
            let message = format!("`{}` is a snapshot and cannot be promoted", volume.source);
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let mut needs = BTreeMap::new();
        for pair in self.line_up(own).windows(2) {
            let (child, parent) = (pair[0], pair[1]);
            let over = if self.is_snapshot(child) && !self.is_snapshot(parent) { child } else { own };
            needs.insert(parent, over);
            if !self.is_snapshot(parent) {
                // Numbers grow: what is older hung on the line before the child left it.
                let older = self.dependents(parent).into_iter().filter(|other| *other < child);
                needs.extend(older.map(|other| (other, own)));
            }
        }
        if needs.is_empty() {
            return Ok(Vec::new());
        }
        for (number, parent) in &needs {
            if let Some(object) = self.objects.get_mut(number) {
                object.base = Some((*parent, Base::Held));
            }
        }
        if let Some(object) = self.objects.get_mut(&own) {
            object.base = None;
        }
        self.move_snapshots(&volume.source, needs.iter().filter(|(_, over)| **over == own).map(|(n, _)| *n))
    }

    /// Names snapshots below the head that they belong to now, where names say whose a snapshot is.
    fn move_snapshots(
        &mut self,
        head: &VolumeSource,
        numbers: impl Iterator<Item = u64>,
    ) -> Result<Vec<VolumeSource>> {
        let mut changed = Vec::new();
        for number in numbers.collect::<Vec<_>>() {
            let Some(place) = self.place_of(number).filter(|_| self.is_snapshot(number)) else { continue };
            let Some((_, name)) = place.location().split_once('@') else { continue };
            let under =
                |name: &str| VolumeSource::new(head.kind().clone(), format!("{}@{name}", head.location()));
            let mut target = under(name)?;
            if self.places.contains_key(&target) {
                target = under(&format!("{name}-{}", self.objects[&number].id.short()))?;
            }
            self.relocate(&place, &target)?;
            changed.extend([place, target]);
        }
        Ok(changed)
    }

    /// Tells where the family is and who needs whom.
    pub(super) fn standing(&self, family: &[Volume]) -> Result<Promoted> {
        let members: BTreeSet<VolumeId> = family.iter().map(|volume| volume.id).collect();
        let mut promoted = Promoted::default();
        for volume in family {
            let named =
                self.objects.iter().find(|(_, object)| object.id == volume.id).map(|(number, _)| *number);
            let Some(number) = self.complete(volume).ok().or(named) else { continue };
            if let Some(place) = self.place_of(number).filter(|place| *place != volume.source) {
                promoted.sources.push((volume.id, place));
            }
            let parent = self.parent(number).and_then(|parent| Some(self.objects.get(&parent)?.id));
            promoted.parents.push((volume.id, parent.filter(|parent| members.contains(parent))));
        }
        Ok(promoted)
    }

    /// The object and all that it needs, nearest first.
    fn line_up(&self, number: u64) -> Vec<u64> {
        let mut line = vec![number];
        while let Some(parent) = line.last().and_then(|last| self.parent(*last)) {
            line.push(parent);
        }
        line
    }

    fn parent(&self, number: u64) -> Option<u64> {
        let (parent, base) = self.objects.get(&number)?.base?;
        (base != Base::Copied).then_some(parent)
    }

    fn dependents(&self, number: u64) -> Vec<u64> {
        self.objects.keys().copied().filter(|child| self.parent(*child) == Some(number)).collect()
    }

    fn is_snapshot(&self, number: u64) -> bool {
        self.objects.get(&number).is_some_and(|object| object.is_snapshot)
    }

    /// The place of an object that has a name; `None` for one whose place is a file.
    fn place_of(&self, number: u64) -> Option<VolumeSource> {
        self.places.iter().find(|(_, at)| **at == number).map(|(place, _)| place.clone())
    }
}
