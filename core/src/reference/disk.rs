//! The memory behind the reference store: objects, their places, and planted faults.
//!
//! One mutex, held for single reads and changes and never across a step, so that an observer may look at the disk.
//! Places are a map for named volumes; a location that is an absolute path is a file holding the object's number, so
//! that the place moves with the directory that it lies in.

mod family;
mod fault;
mod memory;
mod place;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::capability::{Availability, Residence};
use crate::context::Context;
use crate::error::Result;
use crate::store::{Destroyed, Found, Presence, Promoted, Usage};
use crate::units::Bytes;
use crate::volume::{StoreKind, Volume, VolumeId, VolumeSource};

pub use fault::{Fault, Moment, Verb};
pub(super) use memory::{Base, Making};

use fault::Strike;
use memory::{Memory, Object, State, foreign, not_found};

/// What a volume shows: the content of every file by its path.
pub type TreeContent = BTreeMap<PathBuf, Vec<u8>>;

/// The memory that reference stores share; a clone is the same disk.
#[derive(Debug, Clone, Default)]
pub struct ReferenceDisk(Arc<Mutex<Memory>>);

impl ReferenceDisk {
    /// Returns an empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Plants a fault; several may be planted.
    pub fn plant(&self, fault: Fault) {
        self.memory().faults.push(fault);
    }

    /// Puts an object in a place that is not ours.
    ///
    /// # Errors
    /// `AlreadyExists` when the place is taken; what the file system says for a place that is a file.
    pub fn plant_foreign(&self, source: &VolumeSource) -> Result<()> {
        let mut memory = self.memory();
        let number = memory.occupy(source)?;
        memory
            .objects
            .insert(number, Object { state: State::Foreign, ..Object::partial(VolumeId::generate()) });
        Ok(())
    }

    /// Makes every store of the disk unavailable, with a reason and a remedy.
    pub fn make_unavailable(&self, reason: &str, remedy: &str) {
        self.memory().unavailable = Some((reason.to_owned(), remedy.to_owned()));
    }

    /// Returns what a real store would have punished with silent loss; a test asserts that it is empty.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.memory().violations.clone()
    }

    /// Returns the identities of all objects that are ours, complete or partial; a test asserts that none leaked.
    #[must_use]
    pub fn ids(&self) -> BTreeSet<VolumeId> {
        let memory = self.memory();
        memory
            .objects
            .values()
            .filter(|object| object.state != State::Foreign)
            .map(|object| object.id)
            .collect()
    }

    /// Loses everything that no barrier and no durable verb has made stable. Places that are files are the file system's
    /// own business and stay.
    pub fn cut_power(&self) {
        let mut memory = self.memory();
        memory.objects = memory.stable.objects.clone();
        memory.places = memory.stable.places.clone();
    }

    /// Makes the present state of some places stable, be it that nothing is there.
    pub(super) fn settle<'a>(&self, sources: impl IntoIterator<Item = &'a VolumeSource>) -> Result<()> {
        let mut memory = self.memory();
        for source in sources {
            let number = memory.locate(source)?;
            let object = number.and_then(|number| memory.objects.get(&number).cloned());
            // A place that moved keeps its object: only one that no place refers to any more is gone.
            let former = match number {
                Some(number) => memory.stable.places.insert(source.clone(), number),
                None => memory.stable.places.remove(source),
            };
            if let Some(former) = former.filter(|former| !memory.objects.contains_key(former)) {
                memory.stable.objects.remove(&former);
            }
            if let (Some(number), Some(object)) = (number, object) {
                memory.stable.objects.insert(number, object);
            }
        }
        Ok(())
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        // A panicking test leaves consistent data behind: every change is one statement.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn strike(&self, verb: Verb) -> Strike {
        let mut memory = self.memory();
        let mut struck = None;
        memory.faults.retain_mut(|fault| {
            if fault.verb != verb {
                return true;
            }
            fault.nth = fault.nth.saturating_sub(1);
            if fault.nth == 0 {
                struck = Some(*fault);
            }
            fault.nth > 0
        });
        Strike(struck)
    }

    pub(super) fn availability(&self) -> Availability {
        match self.memory().unavailable.clone() {
            Some((reason, remedy)) => Availability::Unavailable { reason, remedy },
            None => Availability::Ready,
        }
    }

    pub(super) fn probe(&self, volume: &Volume) -> Result<Presence> {
        self.strike(Verb::Probe).before_single_step()?;
        self.memory().presence(&volume.source)
    }

    pub(super) fn list(&self, kind: &StoreKind, residence: Residence, pool: &Path) -> Result<Vec<Found>> {
        self.strike(Verb::List).before_single_step()?;
        let memory = self.memory();
        let places = match residence {
            Residence::Named => {
                memory.places.keys().filter(|source| source.kind() == kind).cloned().collect()
            }
            Residence::Home => place::below(kind, pool)?,
        };
        let mut found = Vec::new();
        for source in places {
            if let Presence::Complete(id) = memory.presence(&source)? {
                found.push(Found { id, source });
            }
        }
        Ok(found)
    }

    pub(super) fn usage(&self, volumes: &[Volume]) -> Result<Vec<Usage>> {
        self.strike(Verb::Usage).before_single_step()?;
        let memory = self.memory();
        let size = |bytes: usize| Some(Bytes(u64::try_from(bytes).unwrap_or(u64::MAX)));
        let measure = |volume: &Volume| -> Option<Usage> {
            let number = memory.complete(volume).ok()?;
            let shown = memory.contents(number).ok()?;
            let own = memory.objects.get(&number)?.files.values().flatten();
            let referenced = size(shown.values().map(Vec::len).sum());
            let exclusive = size(own.map(Vec::len).sum());
            let limit = memory.objects.get(&number)?.limit;
            Some(Usage { referenced, exclusive, limit, ..Usage::default() })
        };
        Ok(volumes.iter().map(|volume| measure(volume).unwrap_or_default()).collect())
    }

    pub(super) fn contents(&self, volume: &Volume) -> Result<TreeContent> {
        let memory = self.memory();
        memory.complete(volume).and_then(|number| memory.contents(number))
    }

    pub(super) fn write(&self, volume: &Volume, path: &Path, bytes: Option<&[u8]>) -> Result<()> {
        let mut memory = self.memory();
        let number = memory.complete(volume)?;
        let stacked: Vec<_> = memory.children(number).filter(|(_, base)| *base == Base::Stacked).collect();
        for (child, _) in stacked {
            memory.violations.push(format!("`{}` was written while `{child}` shows its data", volume.source));
        }
        memory.require_room(number, volume, path, bytes)?;
        if let Some(object) = memory.objects.get_mut(&number) {
            object.files.insert(path.to_owned(), bytes.map(<[u8]>::to_vec));
            if object.is_snapshot {
                memory.violations.push(format!("snapshot `{}` was written", volume.source));
            }
        }
        Ok(())
    }

    pub(super) fn is_snapshot(&self, volume: &Volume) -> bool {
        let memory = self.memory();
        let object = memory.complete(volume).ok().and_then(|number| memory.objects.get(&number));
        object.is_some_and(|object| object.is_snapshot)
    }

    pub(super) fn depth(&self, volume: &Volume) -> u32 {
        let memory = self.memory();
        let mut depth = 0;
        let mut next = memory.complete(volume).ok();
        while let Some((parent, Base::Held | Base::Stacked)) =
            next.and_then(|number| memory.objects.get(&number)).and_then(|object| object.base)
        {
            depth += 1;
            next = Some(parent);
        }
        depth
    }

    pub(super) async fn make(
        &self,
        context: &Context,
        verb: Verb,
        volume: &Volume,
        making: Making,
    ) -> Result<()> {
        let (disk, volume) = (self.clone(), volume.clone());
        context.run(move |cx| disk.make_now(cx, verb, &volume, &making)).await
    }

    fn make_now(&self, context: &Context, verb: Verb, volume: &Volume, making: &Making) -> Result<()> {
        let strike = self.strike(verb);
        strike.at(Moment::Before)?;
        if self.memory().is_made(volume)? {
            return strike.at(Moment::After);
        }
        context.step(&format!("{verb}.make"))?;
        let number = self.memory().begin(volume)?;
        strike.at(Moment::Halfway)?;
        self.memory().fill(number, making)?;
        context.step(&format!("{verb}.mark"))?;
        if let Some(object) = self.memory().objects.get_mut(&number) {
            object.state = State::Complete;
        }
        strike.at(Moment::After)
    }

    pub(super) async fn destroy(&self, context: &Context, volume: &Volume) -> Result<Destroyed> {
        let (disk, volume) = (self.clone(), volume.clone());
        context.run(move |cx| disk.destroy_now(cx, &volume)).await
    }

    fn destroy_now(&self, context: &Context, volume: &Volume) -> Result<Destroyed> {
        let strike = self.strike(Verb::Destroy);
        strike.at(Moment::Before)?;
        let Some(number) = self.memory().removable(volume)? else {
            strike.at(Moment::After)?;
            return Ok(Destroyed::Absent);
        };
        context.step("destroy.unmark")?;
        if let Some(object) = self.memory().objects.get_mut(&number) {
            object.state = State::Partial;
            object.files.clear();
        }
        strike.at(Moment::Halfway)?;
        context.step("destroy.remove")?;
        let mut memory = self.memory();
        memory.vacate(&volume.source)?;
        memory.objects.remove(&number);
        drop(memory);
        strike.at(Moment::After)?;
        Ok(Destroyed::Removed)
    }

    pub(super) async fn adopt(
        &self,
        context: &Context,
        volume: &Volume,
        copied: Option<VolumeId>,
    ) -> Result<()> {
        let (disk, volume) = (self.clone(), volume.clone());
        let adopt = move |memory: &mut Memory| {
            let missing = || not_found(&volume);
            let number = memory.locate(&volume.source)?.ok_or_else(missing)?;
            let object = memory.objects.get_mut(&number).ok_or_else(missing)?;
            if object.state != State::Foreign && object.id != volume.id && Some(object.id) != copied {
                return Err(foreign(&volume));
            }
            (object.id, object.state) = (volume.id, State::Complete);
            Ok(())
        };
        context.run(move |cx| disk.single(cx, Verb::Adopt, adopt)).await
    }

    pub(super) async fn sync(&self, context: &Context) -> Result<()> {
        let disk = self.clone();
        context.run(move |cx| disk.single(cx, Verb::Sync, |_| Ok(()))).await
    }

    pub(super) async fn limit(
        &self,
        context: &Context,
        verb: Verb,
        volume: &Volume,
        limit: Option<Bytes>,
    ) -> Result<()> {
        let (disk, volume) = (self.clone(), volume.clone());
        let set = move |memory: &mut Memory| {
            let number = memory.complete(&volume)?;
            if verb == Verb::Resize {
                memory.require_fit(number, &volume, limit)?;
            }
            if let Some(object) = memory.objects.get_mut(&number) {
                object.limit = limit;
            }
            Ok(())
        };
        context.run(move |cx| disk.single(cx, verb, set)).await
    }

    pub(super) fn limit_of(&self, volume: &Volume) -> Result<Option<Bytes>> {
        let memory = self.memory();
        let number = memory.complete(volume)?;
        Ok(memory.objects.get(&number).and_then(|object| object.limit))
    }

    pub(super) async fn exchange(&self, context: &Context, a: &Volume, b: &Volume) -> Result<()> {
        let (disk, a, b) = (self.clone(), a.clone(), b.clone());
        let swap = move |memory: &mut Memory| {
            for volume in [&a, &b] {
                memory.locate(&volume.source)?.ok_or_else(|| not_found(volume))?;
            }
            memory.swap(&a.source, &b.source)
        };
        context.run(move |cx| disk.single(cx, Verb::Exchange, swap)).await
    }

    pub(super) async fn rename(
        &self,
        context: &Context,
        volume: &Volume,
        target: &VolumeSource,
    ) -> Result<Vec<VolumeSource>> {
        let (disk, volume, target) = (self.clone(), volume.clone(), target.clone());
        let carried = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&carried);
        let rename = move |memory: &mut Memory| match memory.presence(&target)? {
            Presence::Complete(id) if id == volume.id => Ok(()),
            Presence::Absent => {
                memory.complete(&volume)?;
                memory.relocate(&volume.source, &target)?;
                let moved = memory.carry(&volume.source, &target)?;
                told.lock().unwrap_or_else(PoisonError::into_inner).extend(moved);
                Ok(())
            }
            _ => Err(foreign(&Volume::new(volume.id, target.clone()))),
        };
        context.run(move |cx| disk.single(cx, Verb::Rename, rename)).await?;
        let carried = carried.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(carried.clone())
    }

    /// Makes a volume need nobody, and returns every place that is another one now.
    pub(super) async fn promote(&self, context: &Context, volume: &Volume) -> Result<Vec<VolumeSource>> {
        let (disk, volume) = (self.clone(), volume.clone());
        let changed = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&changed);
        let promote = move |memory: &mut Memory| {
            let moved = memory.promote(&volume)?;
            told.lock().unwrap_or_else(PoisonError::into_inner).extend(moved);
            Ok(())
        };
        context.run(move |cx| disk.single(cx, Verb::Promote, promote)).await?;
        let changed = changed.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(changed.clone())
    }

    pub(super) fn standing(&self, family: &[Volume]) -> Result<Promoted> {
        self.memory().standing(family)
    }

    /// Runs a verb that is one step.
    fn single(
        &self,
        context: &Context,
        verb: Verb,
        effect: impl FnOnce(&mut Memory) -> Result<()>,
    ) -> Result<()> {
        let strike = self.strike(verb);
        strike.before_single_step()?;
        context.step(&format!("{verb}.do"))?;
        effect(&mut self.memory())?;
        strike.at(Moment::After)
    }
}
