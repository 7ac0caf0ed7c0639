//! `keiki df`: what containers take, and what would be free without them.
//!
//! A container is its head with its snapshots and layers. *Exclusive* is what destroying one volume alone frees, so two containers
//! that share data with each other alone both seem small: the answer that a person wants is asked for the whole set. A store
//! that can account for sets does; otherwise the exclusive parts are added up, and the sum is said to be a lower bound unless
//! nothing can be shared.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::Engine;
use super::ancestry::Ancestry;
use super::request::{ContainerKey, DestroyScope};
use crate::capability::ParentWrite;
use crate::context::Context;
use crate::error::Result;
use crate::lineage::{Action, Target};
use crate::store::{Exactness, Freed, Usage};
use crate::units::Bytes;
use crate::volume::{StoreKind, Volume, VolumeId};

/// What a set of containers takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Space {
    /// Each container, in the order asked for.
    pub containers: Vec<ContainerSpace>,
    /// What destroying all of them with their snapshots would free; `None` when a store cannot tell, or when others need them.
    pub freed: Option<Freed>,
    /// Who needs data of the set and is not in it, sorted.
    pub needed_by: Vec<String>,
}

/// What one container takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ContainerSpace {
    /// Which.
    pub name: String,
    /// The store of its head.
    pub store: StoreKind,
    /// What its head takes.
    pub head: Usage,
    /// What its head shares with others, where that can be told.
    pub shared: Option<Bytes>,
    /// What its snapshots hold that nobody else does.
    pub snapshots: Option<Bytes>,
}

impl Engine {
    /// Measures containers and what would be free without all of them.
    ///
    /// # Behavior
    /// One bulk question a store. Containers of LXC that were not adopted yet are measured too.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::error::ErrorKind::NotFound), and what a store says.
    pub fn space(&self, context: &Context, keys: &[ContainerKey]) -> Result<Space> {
        let Some(first) = keys.first() else {
            return Ok(Space { containers: Vec::new(), freed: None, needed_by: Vec::new() });
        };
        let ancestry = self.ancestry_around(first, keys)?;
        let recorded = |key| ancestry.rows.get(&ancestry.lineage.head(key)?.id);
        let head = |key| recorded(key).map_or_else(|| self.head_volume(key), |row| Ok(row.volume.clone()));
        let heads = keys.iter().map(head).collect::<Result<Vec<Volume>>>()?;
        let plan = plan_gone(&ancestry, keys, &heads)?;
        let snapshots = snapshots_of(&ancestry, keys);
        let wanted = heads.iter().chain(&plan.volumes).chain(snapshots.iter().flatten());
        let wanted: BTreeMap<VolumeId, &Volume> = wanted.map(|volume| (volume.id, volume)).collect();
        let measured = self.measure(context, wanted.into_values())?;
        let of = |volume: &Volume| measured.get(&volume.id).copied().unwrap_or_default();
        let containers = keys.iter().zip(&heads).zip(&snapshots).map(|((key, volume), snapshots)| {
            let head = of(volume);
            ContainerSpace {
                name: key.display(&first.lxcpath),
                store: volume.kind().clone(),
                head,
                shared: head
                    .referenced
                    .zip(head.exclusive)
                    .map(|(all, own)| Bytes(all.0.saturating_sub(own.0))),
                snapshots: snapshots.iter().map(|volume| of(volume).exclusive).try_fold(Bytes(0), add),
            }
        });
        let containers = containers.collect();
        let freed = if plan.needed_by.is_empty() {
            self.freed(context, first, &plan.volumes, &measured)?
        } else {
            None
        };
        Ok(Space { containers, freed, needed_by: plan.needed_by })
    }

    fn measure<'a>(
        &self,
        context: &Context,
        volumes: impl Iterator<Item = &'a Volume>,
    ) -> Result<HashMap<VolumeId, Usage>> {
        let mut measured = HashMap::new();
        for (kind, volumes) in by_kind(volumes) {
            let usages = self.wait(self.store(kind)?.usage(context, &volumes))?;
            measured.extend(volumes.iter().map(|volume| volume.id).zip(usages));
        }
        Ok(measured)
    }

    fn freed(
        &self,
        context: &Context,
        key: &ContainerKey,
        volumes: &[Volume],
        measured: &HashMap<VolumeId, Usage>,
    ) -> Result<Option<Freed>> {
        let mut total = Freed { bytes: Bytes(0), exactness: Exactness::Exact };
        for (kind, volumes) in by_kind(volumes) {
            let store = self.store(kind)?.clone();
            let freed = match store.accounting() {
                Some(group) => Some(self.wait(group.freed(context, &volumes))?),
                None => {
                    let capabilities = self.capabilities(store.as_ref(), &key.lxcpath, volumes.first())?;
                    let usages =
                        volumes.iter().map(|volume| measured.get(&volume.id).copied().unwrap_or_default());
                    sum(&usages.collect::<Vec<_>>(), capabilities.parent_write)
                }
            };
            let Some(freed) = freed else { return Ok(None) };
            total.bytes = Bytes(total.bytes.0.saturating_add(freed.bytes.0));
            total.exactness = worse(total.exactness, freed.exactness);
        }
        Ok(Some(total))
    }
}

fn by_kind<'a>(volumes: impl IntoIterator<Item = &'a Volume>) -> BTreeMap<&'a StoreKind, Vec<Volume>> {
    let mut by_kind: BTreeMap<&StoreKind, Vec<Volume>> = BTreeMap::new();
    for volume in volumes {
        by_kind.entry(volume.kind()).or_default().push(volume.clone());
    }
    by_kind
}

/// What goes with a set of containers.
struct Gone {
    volumes: Vec<Volume>,
    needed_by: Vec<String>,
}

fn plan_gone(ancestry: &Ancestry, keys: &[ContainerKey], heads: &[Volume]) -> Result<Gone> {
    let recorded = keys.iter().filter(|key| ancestry.lineage.head(key).is_some());
    let targets: Vec<Target> = recorded.map(|key| Target::Container(key.clone())).collect();
    let plan = ancestry.lineage.plan_destroy(&targets, DestroyScope::WithSnapshots)?;
    let goes = plan.steps.iter().filter(|step| step.action == Action::Destroy);
    let rows = goes.filter_map(|step| ancestry.rows.get(&step.volume));
    let mut volumes: Vec<Volume> = rows.map(|row| row.volume.clone()).collect();
    // What LXC made and nobody adopted is one volume each, and no row says more about it.
    volumes.extend(heads.iter().filter(|volume| !ancestry.rows.contains_key(&volume.id)).cloned());
    let mut needed_by: Vec<String> = plan.blockers.iter().map(|blocker| blocker.name.clone()).collect();
    needed_by.sort();
    Ok(Gone { volumes, needed_by })
}

fn snapshots_of(ancestry: &Ancestry, keys: &[ContainerKey]) -> Vec<Vec<Volume>> {
    let of = |key: &ContainerKey| {
        let rows = ancestry.rows.values().filter(|row| row.container == *key);
        let own = rows.filter(|row| matches!(row.role, crate::lineage::NodeRole::Snapshot(_)));
        own.map(|row| row.volume.clone()).collect()
    };
    keys.iter().map(of).collect()
}

fn add(sum: Bytes, part: Option<Bytes>) -> Option<Bytes> {
    part.map(|part| Bytes(sum.0.saturating_add(part.0)))
}

/// Adds up exclusive parts. Volumes that stack, so that parents may not be written, own what they hold, whoever stands upon it, and those that share nothing share nothing
/// with each other either; otherwise what they share among them is missing from the sum.
fn sum(usages: &[Usage], parent_write: ParentWrite) -> Option<Freed> {
    let bytes = usages.iter().map(|usage| usage.exclusive).try_fold(Bytes(0), add)?;
    let shares = |usage: &Usage| usage.referenced != usage.exclusive;
    let stacks = parent_write == ParentWrite::Forbidden;
    let misses_some = !stacks && usages.len() > 1 && usages.iter().any(shares);
    let exactness = usages.iter().map(|usage| usage.exactness).fold(Exactness::Exact, worse);
    let exactness = if misses_some { worse(exactness, Exactness::AtLeast) } else { exactness };
    Some(Freed { bytes, exactness })
}

fn worse(a: Exactness, b: Exactness) -> Exactness {
    match (a, b) {
        (Exactness::Approximate, _) | (_, Exactness::Approximate) => Exactness::Approximate,
        (Exactness::AtLeast, _) | (_, Exactness::AtLeast) => Exactness::AtLeast,
        (Exactness::Exact, Exactness::Exact) => Exactness::Exact,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(referenced: u64, exclusive: Option<u64>, exactness: Exactness) -> Usage {
        Usage { referenced: Some(Bytes(referenced)), exclusive: exclusive.map(Bytes), limit: None, exactness }
    }

    #[test]
    fn a_sum_says_when_it_misses_what_members_share_and_when_it_cannot_be_told() {
        use Exactness::{Approximate, AtLeast, Exact};
        use ParentWrite::{Forbidden, Free};
        for (usages, parent_write, expected) in [
            (vec![usage(9, Some(9), Exact), usage(5, Some(5), Exact)], Free, Some((14, Exact))),
            (vec![usage(9, Some(4), Exact), usage(9, Some(1), Exact)], Free, Some((5, AtLeast))),
            (vec![usage(9, Some(4), Exact), usage(9, Some(1), Exact)], Forbidden, Some((5, Exact))),
            (vec![usage(9, Some(4), Exact)], Free, Some((4, Exact))),
            (vec![usage(9, Some(4), Approximate), usage(9, Some(9), Exact)], Free, Some((13, Approximate))),
            (vec![usage(9, Some(4), Exact), usage(9, None, Exact)], Free, None),
        ] {
            let found = sum(&usages, parent_write).map(|freed| (freed.bytes.0, freed.exactness));
            assert_eq!(found, expected, "{usages:?}");
        }
    }
}
