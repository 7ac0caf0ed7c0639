//! The objects and what they show. Only single reads and changes; verbs are made of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::TreeContent;
use super::fault::Fault;
use crate::error::{Error, ErrorKind, Result};
use crate::store::Presence;
use crate::units::Bytes;
use crate::volume::{Volume, VolumeId, VolumeSource};

/// How a new object hangs on its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::reference) enum Base {
    /// Not at all.
    Copied,
    /// It has its own view; the source must stay.
    Held,
    /// It shows the source's data through its own; the source must stay as it is.
    Stacked,
}

/// How an object comes into being.
#[derive(Debug, Clone)]
pub(in crate::reference) enum Making {
    Empty,
    Snapshot(Volume, Base),
    Clone(Volume, Base),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Partial,
    Complete,
    Foreign,
}

#[derive(Debug, Clone)]
pub(super) struct Object {
    pub(super) id: VolumeId,
    pub(super) state: State,
    pub(super) is_snapshot: bool,
    pub(super) base: Option<(u64, Base)>,
    /// What it holds itself; `None` hides a file of its base.
    pub(super) files: BTreeMap<PathBuf, Option<Vec<u8>>>,
    pub(super) limit: Option<Bytes>,
}

impl Object {
    pub(super) fn partial(id: VolumeId) -> Self {
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
pub(super) struct Memory {
    pub(super) objects: BTreeMap<u64, Object>,
    pub(super) places: BTreeMap<VolumeSource, u64>,
    /// What would be found after a power cut.
    pub(super) stable: Stable,
    pub(super) faults: Vec<Fault>,
    pub(super) violations: Vec<String>,
    pub(super) unavailable: Option<(String, String)>,
}

/// What has reached stable storage.
#[derive(Debug, Default)]
pub(super) struct Stable {
    pub(super) objects: BTreeMap<u64, Object>,
    pub(super) places: BTreeMap<VolumeSource, u64>,
}

impl Memory {
    pub(super) fn presence(&self, source: &VolumeSource) -> Result<Presence> {
        let Some(number) = self.locate(source)? else { return Ok(Presence::Absent) };
        Ok(match self.objects.get(&number).map(|object| (object.state, object.id)) {
            Some((State::Complete, id)) => Presence::Complete(id),
            Some((State::Partial, _)) => Presence::Partial,
            Some((State::Foreign, _)) | None => Presence::Foreign,
        })
    }

    /// The object at the volume's place, if it is complete and the volume's own.
    pub(super) fn complete(&self, volume: &Volume) -> Result<u64> {
        let number = self.locate(&volume.source)?;
        let object = number.and_then(|number| self.objects.get(&number));
        let own = object.is_some_and(|object| object.state == State::Complete && object.id == volume.id);
        number.filter(|_| own).ok_or_else(|| not_found(volume))
    }

    /// Whether the volume is there already; an error when something else is.
    pub(super) fn is_made(&self, volume: &Volume) -> Result<bool> {
        let Some(number) = self.locate(&volume.source)? else { return Ok(false) };
        match self.objects.get(&number) {
            Some(object) if object.state != State::Foreign && object.id == volume.id => {
                Ok(object.state == State::Complete)
            }
            _ => Err(foreign(volume)),
        }
    }

    pub(super) fn begin(&mut self, volume: &Volume) -> Result<u64> {
        let number = match self.locate(&volume.source)? {
            Some(number) => number,
            None => self.occupy(&volume.source)?,
        };
        self.objects.insert(number, Object::partial(volume.id));
        Ok(number)
    }

    pub(super) fn fill(&mut self, number: u64, making: &Making) -> Result<()> {
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
    pub(super) fn removable(&mut self, volume: &Volume) -> Result<Option<u64>> {
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

    pub(super) fn children(&self, number: u64) -> impl Iterator<Item = (VolumeId, Base)> + '_ {
        self.objects.values().filter_map(move |object| {
            let (_, base) = object.base.filter(|(parent, _)| *parent == number)?;
            Some((object.id, base))
        })
    }

    /// Refuses a write that its limit does not bear.
    pub(super) fn require_room(
        &self,
        number: u64,
        volume: &Volume,
        path: &Path,
        bytes: Option<&[u8]>,
    ) -> Result<()> {
        let (Some(limit), Some(bytes)) = (self.objects.get(&number).and_then(|object| object.limit), bytes)
        else {
            return Ok(());
        };
        let mut shown = self.contents(number)?;
        shown.insert(path.to_owned(), bytes.to_vec());
        if size_of(&shown) <= limit {
            return Ok(());
        }
        Err(Error::new(ErrorKind::NoSpace, format!("`{}` may hold no more than {limit}", volume.source)))
    }

    /// Refuses a size that its content does not fit in.
    pub(super) fn require_fit(&self, number: u64, volume: &Volume, size: Option<Bytes>) -> Result<()> {
        let held = size_of(&self.contents(number)?);
        if size.is_none_or(|size| held <= size) {
            return Ok(());
        }
        Err(Error::new(ErrorKind::InvalidArgument, format!("`{}` holds {held} already", volume.source)))
    }

    /// What the object shows: its own files over those of its bases, without recursion.
    pub(super) fn contents(&self, number: u64) -> Result<TreeContent> {
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

fn size_of(content: &TreeContent) -> Bytes {
    Bytes(u64::try_from(content.values().map(Vec::len).sum::<usize>()).unwrap_or(u64::MAX))
}

pub(super) fn not_found(volume: &Volume) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no volume `{}`", volume.source))
}

pub(super) fn foreign(volume: &Volume) -> Error {
    Error::new(ErrorKind::Foreign, format!("`{}` is not volume `{}`", volume.source, volume.id))
}
