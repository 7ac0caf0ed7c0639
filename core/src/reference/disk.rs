//! The memory behind the reference store: objects, their places, and planted faults.
//!
//! One mutex, held for single reads and changes and never across a step, so that an observer may look at the disk.
//! Places are a map for named volumes; a location that is an absolute path is a file holding the object's number, so
//! that the place moves with the directory that it lies in.

mod place;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::capability::{Availability, Residence};
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result};
use crate::store::{Destroyed, Found, Presence, Usage};
use crate::units::Bytes;
use crate::volume::{StoreKind, Volume, VolumeId, VolumeSource};

/// What a volume shows: the content of every file by its path.
pub type TreeContent = BTreeMap<PathBuf, Vec<u8>>;

/// The verbs at which a fault can be planted; each names its steps (`create.make`, `create.mark`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verb {
    /// `create`.
    Create,
    /// `destroy`.
    Destroy,
    /// `probe`.
    Probe,
    /// `list`.
    List,
    /// `adopt`.
    Adopt,
    /// `usage`.
    Usage,
    /// `sync_barrier`.
    Sync,
    /// `snapshot`.
    Snapshot,
    /// `clone_from`, each job.
    Clone,
    /// `exchange`.
    Exchange,
    /// `rename`.
    Rename,
    /// `resize`.
    Resize,
    /// `set_quota`.
    Quota,
    /// `flatten`.
    Flatten,
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Create => "create",
            Self::Destroy => "destroy",
            Self::Probe => "probe",
            Self::List => "list",
            Self::Adopt => "adopt",
            Self::Usage => "usage",
            Self::Sync => "sync",
            Self::Snapshot => "snapshot",
            Self::Clone => "clone",
            Self::Exchange => "exchange",
            Self::Rename => "rename",
            Self::Resize => "resize",
            Self::Quota => "quota",
            Self::Flatten => "flatten",
        })
    }
}

/// When a fault strikes within a verb.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Moment {
    /// Nothing was done.
    Before,
    /// A partial object is left; for verbs that are one step, as before.
    Halfway,
    /// Everything was done, and yet the verb fails.
    After,
}

/// A failure to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// At which verb.
    pub verb: Verb,
    /// At its how many-th call from now on; 1 is the next.
    pub nth: usize,
    /// When within it.
    pub moment: Moment,
    /// With which error.
    pub kind: ErrorKind,
}

/// How a new object hangs on its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Base {
    /// Not at all.
    Copied,
    /// It has its own view; the source must stay.
    Held,
    /// It shows the source's data through its own; the source must stay as it is.
    Stacked,
}

/// How an object comes into being.
#[derive(Debug, Clone)]
pub(super) enum Making {
    Empty,
    Snapshot(Volume, Base),
    Clone(Volume, Base),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Partial,
    Complete,
    Foreign,
}

#[derive(Debug, Clone)]
struct Object {
    id: VolumeId,
    state: State,
    is_snapshot: bool,
    base: Option<(u64, Base)>,
    /// What it holds itself; `None` hides a file of its base.
    files: BTreeMap<PathBuf, Option<Vec<u8>>>,
    limit: Option<Bytes>,
}

impl Object {
    fn partial(id: VolumeId) -> Self {
        Self {
            id,
            state: State::Partial,
            is_snapshot: false,
            base: None,
            files: BTreeMap::new(),
            limit: None,
        }
    }
}

#[derive(Debug, Default)]
struct Memory {
    objects: BTreeMap<u64, Object>,
    places: BTreeMap<VolumeSource, u64>,
    /// What would be found after a power cut.
    stable: Stable,
    faults: Vec<Fault>,
    violations: Vec<String>,
    unavailable: Option<(String, String)>,
}

/// What has reached stable storage.
#[derive(Debug, Default)]
struct Stable {
    objects: BTreeMap<u64, Object>,
    places: BTreeMap<VolumeSource, u64>,
}

/// The memory that reference stores share; a clone is the same disk.
#[derive(Debug, Clone, Default)]
pub struct ReferenceDisk(Arc<Mutex<Memory>>);

/// The fault of one call, if any.
#[derive(Debug, Clone, Copy)]
struct Strike(Option<Fault>);

impl Strike {
    fn at(self, moment: Moment) -> Result<()> {
        match self.0 {
            Some(fault) if fault.moment == moment => {
                Err(Error::new(fault.kind, format!("a planted fault struck `{}`", fault.verb)))
            }
            _ => Ok(()),
        }
    }

    /// A fault within a verb that is one step strikes before it.
    fn before_single_step(self) -> Result<()> {
        self.at(Moment::Before)?;
        self.at(Moment::Halfway)
    }
}

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
            Some(Usage { referenced, exclusive: size(own.map(Vec::len).sum()) })
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

    pub(super) async fn adopt(&self, context: &Context, volume: &Volume) -> Result<()> {
        let (disk, volume) = (self.clone(), volume.clone());
        let adopt = move |memory: &mut Memory| {
            let missing = || not_found(&volume);
            let number = memory.locate(&volume.source)?.ok_or_else(missing)?;
            let object = memory.objects.get_mut(&number).ok_or_else(missing)?;
            if object.state != State::Foreign && object.id != volume.id {
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
            if let Some(object) = memory.objects.get_mut(&number) {
                object.limit = limit;
            }
            Ok(())
        };
        context.run(move |cx| disk.single(cx, verb, set)).await
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
    ) -> Result<()> {
        let (disk, volume, target) = (self.clone(), volume.clone(), target.clone());
        let rename = move |memory: &mut Memory| match memory.presence(&target)? {
            Presence::Complete(id) if id == volume.id => Ok(()),
            Presence::Absent => {
                memory.complete(&volume)?;
                memory.relocate(&volume.source, &target)
            }
            _ => Err(foreign(&Volume::new(volume.id, target.clone()))),
        };
        context.run(move |cx| disk.single(cx, Verb::Rename, rename)).await
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

impl Memory {
    fn presence(&self, source: &VolumeSource) -> Result<Presence> {
        let Some(number) = self.locate(source)? else { return Ok(Presence::Absent) };
        Ok(match self.objects.get(&number).map(|object| (object.state, object.id)) {
            Some((State::Complete, id)) => Presence::Complete(id),
            Some((State::Partial, _)) => Presence::Partial,
            Some((State::Foreign, _)) | None => Presence::Foreign,
        })
    }

    /// The object at the volume's place, if it is complete and the volume's own.
    fn complete(&self, volume: &Volume) -> Result<u64> {
        let number = self.locate(&volume.source)?;
        let object = number.and_then(|number| self.objects.get(&number));
        let own = object.is_some_and(|object| object.state == State::Complete && object.id == volume.id);
        number.filter(|_| own).ok_or_else(|| not_found(volume))
    }

    /// Whether the volume is there already; an error when something else is.
    fn is_made(&self, volume: &Volume) -> Result<bool> {
        let Some(number) = self.locate(&volume.source)? else { return Ok(false) };
        match self.objects.get(&number) {
            Some(object) if object.state != State::Foreign && object.id == volume.id => {
                Ok(object.state == State::Complete)
            }
            _ => Err(foreign(volume)),
        }
    }

    fn begin(&mut self, volume: &Volume) -> Result<u64> {
        let number = match self.locate(&volume.source)? {
            Some(number) => number,
            None => self.occupy(&volume.source)?,
        };
        self.objects.insert(number, Object::partial(volume.id));
        Ok(number)
    }

    fn fill(&mut self, number: u64, making: &Making) -> Result<()> {
        let (source, base, is_snapshot) = match making {
            Making::Empty => return Ok(()),
            Making::Snapshot(source, base) => (source, *base, true),
            Making::Clone(source, base) => (source, *base, false),
        };
        let parent = self.complete(source)?;
        let files = match base {
            Base::Stacked => BTreeMap::new(),
            Base::Copied | Base::Held => {
                self.contents(parent)?.into_iter().map(|(path, bytes)| (path, Some(bytes))).collect()
            }
        };
        if let Some(object) = self.objects.get_mut(&number) {
            object.files = files;
            object.base = Some((parent, base));
            object.is_snapshot = is_snapshot;
        }
        Ok(())
    }

    /// The object that destroying the volume removes; `None` when nothing is there.
    fn removable(&mut self, volume: &Volume) -> Result<Option<u64>> {
        let Some(number) = self.locate(&volume.source)? else { return Ok(None) };
        let own = self
            .objects
            .get(&number)
            .filter(|object| object.state != State::Foreign && object.id == volume.id);
        if own.is_none() {
            return Err(foreign(volume));
        }
        let Some((child, _)) = self.children(number).find(|(_, base)| *base != Base::Copied) else {
            return Ok(Some(number));
        };
        self.violations.push(format!("`{}` was to be destroyed while `{child}` needs it", volume.source));
        Err(Error::new(
            ErrorKind::HasDependents,
            format!("cannot destroy `{}`: `{child}` needs it", volume.source),
        ))
    }

    fn children(&self, number: u64) -> impl Iterator<Item = (VolumeId, Base)> + '_ {
        self.objects.values().filter_map(move |object| {
            let (_, base) = object.base.filter(|(parent, _)| *parent == number)?;
            Some((object.id, base))
        })
    }

    /// What the object shows: its own files over those of its bases, without recursion.
    fn contents(&self, number: u64) -> Result<TreeContent> {
        let lost = || Error::new(ErrorKind::Corrupt, "the parent of a volume is gone");
        let mut chain = Vec::new();
        let mut next = Some(number);
        while let Some(number) = next {
            let object = self.objects.get(&number).filter(|object| object.state == State::Complete);
            let object = object.ok_or_else(lost)?;
            chain.push(object);
            next = object.base.filter(|(_, base)| *base == Base::Stacked).map(|(parent, _)| parent);
        }
        let mut shown = TreeContent::new();
        for (path, content) in chain.into_iter().rev().flat_map(|object| &object.files) {
            match content {
                Some(bytes) => shown.insert(path.clone(), bytes.clone()),
                None => shown.remove(path),
            };
        }
        Ok(shown)
    }
}

fn not_found(volume: &Volume) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no volume `{}`", volume.source))
}

fn foreign(volume: &Volume) -> Error {
    Error::new(ErrorKind::Foreign, format!("`{}` is not volume `{}`", volume.source, volume.id))
}
