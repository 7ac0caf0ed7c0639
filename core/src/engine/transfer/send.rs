//! The sending end.
//!
//! The present state is sent from a snapshot that is taken for this alone where that costs nothing and may be done while the container
//! runs; it goes when everything was sent, and stays after a cut so that the stream can be continued. Elsewhere the
//! container must be stopped, and nobody changes it meanwhile.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use keiki_tree::{Base as TreeBase, PackOptions, Position, pack_tree};

use super::manifest::{Base, Manifest, Section};
use super::token::Place;
use super::wire::{FrameWriter, Kind};
use super::{Continuation, Encoding, SendContainer, Sent, TREE};
use crate::capability::{Availability, Capabilities, Cost, Live, SnapshotStyle};
use crate::context::{Context, Progress};
use crate::engine::Engine;
use crate::engine::locks::Hold;
use crate::engine::request::{ContainerKey, SnapshotContainer, SnapshotRecord};
use crate::engine::snapshot::identity;
use crate::error::{Error, ErrorKind, Result};
use crate::mount_plan::{self, AttachMode};
use crate::name::SnapshotName;
use crate::store::{BackingStore, Transfer};
use crate::volume::{Volume, VolumeId};

/// How the names of snapshots begin that are taken in order to send them.
const TEMPORARY: &str = "keiki-send-";

/// A state that can be sent.
#[derive(Debug, Clone)]
struct State {
    section: Section,
    volume: Volume,
    /// Whether it goes when it was sent.
    temporary: Option<SnapshotName>,
}

/// What is sent, upon what.
struct Course {
    manifest: Manifest,
    base: Option<State>,
    states: Vec<State>,
    from: Position,
}

impl Engine {
    /// Sends a container into `out`.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] for the container or a snapshot; [`ErrorKind::Busy`] while it runs, where its store minds;
    /// [`ErrorKind::Unsupported`] for a form of its own that the store has not; [`ErrorKind::Corrupt`] when what is to be
    /// continued has changed; [`ErrorKind::Io`] when nobody reads any more.
    pub fn send(&self, context: &Context, request: &SendContainer, out: OwnedFd) -> Result<Sent> {
        let key = &request.key;
        let shown = || format!("cannot send `{}`", key.name);
        self.know(context, std::slice::from_ref(key)).map_err(|error| error.while_doing(shown()))?;
        let taken = self.take_to_send(context, request).map_err(|error| error.while_doing(shown()))?;
        let mut began = false;
        let sent = self.send_locked(context, request, taken.as_ref(), out, &mut began);
        let temporary = match &sent {
            Ok((_, temporary)) => temporary.clone(),
            // What a receiver may have a part of stays, so that it can be continued.
            Err(_) if began => None,
            Err(_) => taken.clone(),
        };
        let removed = temporary.map_or(Ok(()), |name| self.destroy_snapshot(context, key, &name));
        match sent {
            Ok((sent, _)) => removed.map(|()| sent),
            Err(error) => Err(told(error, key, taken.filter(|_| began))),
        }
        .map_err(|error| error.while_doing(shown()))
    }

    /// Returns the form of its own in which a container can be sent, if its store has one.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`].
    pub fn format_of(&self, key: &ContainerKey) -> Result<Option<&'static str>> {
        let head = self.head_volume(key)?;
        Ok(self.store_of(&head)?.transfer().map(Transfer::format))
    }

    /// Returns the forms that can be received in an lxcpath, best known first.
    ///
    /// # Errors
    /// Never at present; a store that is not available offers nothing.
    pub fn understood_forms(&self, lxcpath: &Path) -> Result<Vec<&'static str>> {
        let mut forms = vec![TREE];
        for store in self.registry.stores() {
            let format = store.transfer().map(Transfer::format);
            let pool = self.registry.default_pool(&store.kind(), lxcpath);
            if let (Some(format), Availability::Ready | Availability::Degraded { .. }) =
                (format, self.wait(store.availability(&pool)))
            {
                forms.push(format);
            }
        }
        Ok(forms)
    }

    /// Takes the snapshot from which the present state is sent; `None` where it is read itself, or is not wanted.
    fn take_to_send(&self, context: &Context, request: &SendContainer) -> Result<Option<SnapshotName>> {
        if request.until.is_some() || request.resume.is_some() {
            return Ok(None);
        }
        let head = self.head_volume(&request.key)?;
        let store = self.store_of(&head)?.clone();
        let capabilities = self.capabilities(store.as_ref(), &request.key.lxcpath, Some(&head))?;
        if !is_instant(store.as_ref(), &capabilities) {
            return Ok(None);
        }
        let name = SnapshotName::parse(&format!("{TEMPORARY}{}", VolumeId::generate().short()))?;
        let comment = "taken by `keiki send`, and gone when everything was sent".to_owned();
        let wanted =
            SnapshotContainer { key: request.key.clone(), name: Some(name.clone()), comment: Some(comment) };
        self.snapshot(context, &wanted)?;
        Ok(Some(name))
    }

    fn send_locked(
        &self,
        context: &Context,
        request: &SendContainer,
        taken: Option<&SnapshotName>,
        out: OwnedFd,
        began: &mut bool,
    ) -> Result<(Sent, Option<SnapshotName>)> {
        let _held = self.locks.take(context, &[(&request.key, Hold::Shared)], "send")?;
        let course = self.course(request, taken)?;
        context.step("send.begin")?;
        let mut writer = FrameWriter::begin(out).map_err(unwritten)?;
        *began = true;
        writer.json(Kind::Manifest, &course.manifest).map_err(unwritten)?;
        let mut base = course.base.as_ref();
        for (index, state) in course.states.iter().enumerate() {
            context.step("send.section")?;
            writer.json(Kind::Section, &index).map_err(unwritten)?;
            let from = if index == 0 { course.from } else { Position::default() };
            let place = match request.encoding {
                Encoding::Tree => self.send_tree(context, state, base, from, &mut writer)?,
                Encoding::Native => {
                    let base = base.map(|base| &base.volume);
                    self.send_native(context, &state.volume, base, &mut writer)?
                }
            };
            writer.json(Kind::Digest, &place).map_err(unwritten)?;
            base = Some(state);
        }
        writer.frame(Kind::End, &[]).map_err(unwritten)?;
        let sent = Sent {
            name: request.key.name.clone(),
            snapshots: course.manifest.snapshots(),
            head: course.manifest.sections.iter().any(|section| section.snapshot.is_none()),
            encoding: course.manifest.encoding,
            bytes: writer.bytes(),
        };
        Ok((sent, course.states.into_iter().find_map(|state| state.temporary)))
    }

    /// Decides what is sent, in order.
    fn course(&self, request: &SendContainer, taken: Option<&SnapshotName>) -> Result<Course> {
        let key = &request.key;
        let head = self.head_volume(key)?;
        let store = self.store_of(&head)?.clone();
        let encoding = match request.encoding {
            Encoding::Tree => TREE,
            Encoding::Native => native(store.as_ref())?.format(),
        };
        let snapshots = self.snapshots(key)?;
        let (base, states) = match &request.resume {
            None => self.chosen(request, taken, &head, &snapshots)?,
            Some(token) => self.continued(request, token, &head, &snapshots)?,
        };
        if states.is_empty() {
            return Err(Error::new(ErrorKind::InvalidArgument, "there is nothing to send")
                .with_hint("the snapshot behind `--since` must be older than the one that is sent"));
        }
        if states.iter().any(|state| state.volume.id == head.id) {
            self.require_idle(key, "send")?;
        }
        let inner = request.resume.as_ref().map(|token| &token.0);
        if inner.is_some_and(|inner| inner.encoding != encoding) {
            return Err(Error::new(ErrorKind::InvalidArgument, "the stream was begun in another form")
                .with_hint("continue it with the options with which it was begun"));
        }
        let manifest = Manifest {
            stream: inner.map_or_else(VolumeId::generate, |inner| inner.stream),
            name: key.name.clone(),
            home: key.home(),
            store: store.kind(),
            encoding: encoding.to_owned(),
            config: match &request.until {
                Some(name) => self.read_config_of(key, Some(name))?.into(),
                None => self.read_config(key)?.into(),
            },
            base: base.as_ref().and_then(|base| {
                let name = base.section.snapshot.clone()?;
                Some(Base { identity: base.section.identity, name })
            }),
            sections: states.iter().map(|state| state.section.clone()).collect(),
            resume: inner.map(|inner| inner.place.clone()),
        };
        let from = inner.and_then(|inner| inner.place.position()).unwrap_or_default();
        Ok(Course { manifest, base, states, from })
    }

    /// Returns what a request without a token asks for.
    fn chosen(
        &self,
        request: &SendContainer,
        taken: Option<&SnapshotName>,
        head: &Volume,
        snapshots: &[SnapshotRecord],
    ) -> Result<(Option<State>, Vec<State>)> {
        let key = &request.key;
        let is_kept = |record: &&SnapshotRecord| !record.name.as_str().starts_with(TEMPORARY);
        let kept: Vec<&SnapshotRecord> = snapshots.iter().filter(is_kept).collect();
        let position = |name: &SnapshotName| {
            let found = kept.iter().position(|record| record.name == *name);
            found.ok_or_else(|| crate::engine::ancestry::no_snapshot(key, name))
        };
        let since = request.since.as_ref().map(position).transpose()?;
        let until = request.until.as_ref().map(position).transpose()?;
        let wanted = since.map_or(0, |index| index + 1)..until.map_or(kept.len(), |index| index + 1);
        let base = since.map(|index| self.snapshot_state(key, kept[index])).transpose()?;
        let chosen = kept.get(wanted).unwrap_or_default();
        let mut states =
            chosen.iter().map(|record| self.snapshot_state(key, record)).collect::<Result<Vec<_>>>()?;
        if until.is_none() {
            let temporary = taken.and_then(|name| snapshots.iter().find(|record| record.name == *name));
            states.push(self.head_state(key, head, temporary)?);
        }
        Ok((base, states))
    }

    /// Returns what a token asks for.
    fn continued(
        &self,
        request: &SendContainer,
        token: &Continuation,
        head: &Volume,
        snapshots: &[SnapshotRecord],
    ) -> Result<(Option<State>, Vec<State>)> {
        let key = &request.key;
        let gone = || {
            let text = format!("`{}` has no longer what the stream was begun with", key.name);
            Error::new(ErrorKind::NotFound, text)
                .with_hint("discard it on the receiving host (`keiki receive --discard NAME`), and send anew")
        };
        let find = |wanted: VolumeId| -> Result<&SnapshotRecord> {
            for record in snapshots {
                if identity(key, &record.name, record.volume.id)? == wanted {
                    return Ok(record);
                }
            }
            Err(gone())
        };
        let base = token.0.before.map(|id| self.snapshot_state(key, find(id)?)).transpose()?;
        let mut states = Vec::new();
        for (index, id) in token.0.rest.iter().enumerate() {
            let is_head = token.0.head && index + 1 == token.0.rest.len();
            states.push(match is_head {
                true if *id == head.id => self.head_state(key, head, None)?,
                true => self.head_state(key, head, Some(find(*id)?))?,
                false => self.snapshot_state(key, find(*id)?)?,
            });
        }
        Ok((base, states))
    }

    fn snapshot_state(&self, key: &ContainerKey, record: &SnapshotRecord) -> Result<State> {
        let section = Section {
            identity: identity(key, &record.name, record.volume.id)?,
            snapshot: Some(record.name.clone()),
            created: record.created,
            comment: record.comment.clone(),
            config: self.read_config_of(key, Some(&record.name))?.into(),
        };
        Ok(State { section, volume: record.volume.clone(), temporary: None })
    }

    fn head_state(&self, key: &ContainerKey, head: &Volume, taken: Option<&SnapshotRecord>) -> Result<State> {
        let volume = taken.map_or(head, |record| &record.volume).clone();
        let section = Section {
            identity: volume.id,
            snapshot: None,
            created: taken.and_then(|record| record.created),
            comment: None,
            config: self.read_config(key)?.into(),
        };
        Ok(State { section, volume, temporary: taken.map(|record| record.name.clone()) })
    }

    fn send_tree(
        &self,
        context: &Context,
        state: &State,
        base: Option<&State>,
        from: Position,
        writer: &mut FrameWriter,
    ) -> Result<Place> {
        let report = |done: keiki_tree::Progress| {
            context.progress(Progress { entries: done.entries, bytes: done.bytes });
        };
        self.mounted(context, &state.volume, AttachMode::ReadOnly, |root| {
            let mut pack = |base: Option<TreeBase<'_>>| {
                let options = PackOptions { base, from, progress: Some(&report) };
                pack_tree(root, writer, &options).map_err(unpacked)
            };
            let report = match base {
                None => pack(None),
                Some(base) => self.mounted(context, &base.volume, AttachMode::ReadOnly, |old| {
                    pack(Some(TreeBase { root: old, taken: base.section.created }))
                }),
            }?;
            Ok(report.position.into())
        })
    }

    /// Mounts a volume for as long as `work` takes; nobody else sees the mount.
    pub(super) fn mounted<T>(
        &self,
        context: &Context,
        volume: &Volume,
        mode: AttachMode,
        work: impl FnOnce(BorrowedFd<'_>) -> Result<T>,
    ) -> Result<T> {
        let store = self.store_of(volume)?;
        let plan = self.wait(store.attach(context, volume, mode))?;
        let done = mount_plan::execute(&plan).and_then(|root| work(root.as_fd()));
        let detached = self.wait(store.detach(context, volume));
        let done = done?;
        detached.map(|()| done)
    }
}

/// Returns the group of a store that has streams of its own.
pub(super) fn native(store: &dyn BackingStore) -> Result<&dyn Transfer> {
    store.transfer().ok_or_else(|| {
        Error::new(ErrorKind::Unsupported, format!("the {} store has no streams of its own", store.kind()))
            .with_hint("send without `--native`: every store understands that")
    })
}

fn is_instant(store: &dyn BackingStore, capabilities: &Capabilities) -> bool {
    store.snapshots().is_some()
        && capabilities.live == Live::Consistent
        && capabilities.snapshot_cost == Cost::Constant
        && capabilities.snapshot_style == SnapshotStyle::Beside
}

pub(super) fn unwritten(error: io::Error) -> Error {
    let is_unread = error.kind() == io::ErrorKind::BrokenPipe;
    let error = Error::io("cannot write the stream", error);
    if is_unread { error.with_hint("look at the receiving end: it says how to continue") } else { error }
}

fn unpacked(error: keiki_tree::TreeError) -> Error {
    use keiki_tree::TreeError;
    match error {
        TreeError::Stream(error) => unwritten(error),
        TreeError::NotTheSame => {
            Error::new(ErrorKind::Corrupt, "what is to be continued has changed since the stream was begun")
                .with_hint("discard it on the receiving host (`keiki receive --discard NAME`), and send anew")
        }
        error => Error::io("cannot read the root filesystem", error.into()),
    }
}

fn told(error: Error, key: &ContainerKey, kept: Option<SnapshotName>) -> Error {
    match kept {
        None => error,
        Some(name) => error
            .with_context("kept", format!("{}@{name}, in order to continue", key.name))
            .with_hint(format!("`keiki snapshot destroy {} {name}` when it is not continued", key.name)),
    }
}
