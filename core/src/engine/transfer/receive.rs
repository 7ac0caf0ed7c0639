//! The receiving end, for a container that is not here yet; see `arriving.rs` for one that is.

use std::io::Read;

use keiki_tree::{Position, UnpackOptions, UnpackReport, measure_tree, unpack_tree};
use rustix::fs::{Mode, OFlags, openat, syncfs};
use serde::{Deserialize, Serialize};

use super::incoming::{Incoming, Progress};
use super::manifest::{Manifest, Section};
use super::token::Place;
use super::wire::{FrameReader, Kind, SectionReader, explain};
use super::{ReceiveContainer, Received, damaged, not_ours};
use crate::context::{self, Context};
use crate::engine::locks::Hold;
use crate::engine::request::{
    CloneConfig, ContainerKey, CreateContainer, Identity, Payload, SnapshotContainer,
};
use crate::engine::snapshot::Past;
use crate::engine::{Engine, home};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::mount_plan::AttachMode;
use crate::name::ContainerName;
use crate::registry::StoreChoice;
use crate::store::{BackingStore, Pool};
use crate::volume::{Volume, VolumeId};

/// So many bytes may have to be sent again after a receiver was killed.
const CHECKPOINT: u64 = 64 << 20;

/// The file that says what the last stream made of a container.
const STAMP: &str = "keiki.received";
/// The same about a head that is taking the place of the present one.
const COMING: &str = "keiki.receiving";

/// What the last stream made of a head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    head: VolumeId,
    entries: u64,
    changed: (i64, u32),
}

impl Engine {
    /// Receives a container from `input`.
    ///
    /// # Behavior
    /// A stream without a base makes a new container, which appears when the end of the stream was proven. A stream with a
    /// base brings an existing container up to date, state by state. A stream that continues one that was cut goes on
    /// there. After a cut the error's hints say how to continue.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] for what is no stream of ours; [`ErrorKind::Corrupt`] for one that is damaged or was cut;
    /// [`ErrorKind::AlreadyExists`] for a taken name, and for a head that changed here; [`ErrorKind::NotFound`] when the base is missing;
    /// [`ErrorKind::Unsupported`] for a form that the store here does not understand.
    pub fn receive(
        &self,
        context: &Context,
        request: &ReceiveContainer,
        input: Box<dyn Read + Send>,
    ) -> Result<Received> {
        self.catalogue.require_writable()?;
        self.recover()?;
        let mut frames = FrameReader::begin(input)?;
        let manifest: Manifest = frames.json(Kind::Manifest)?;
        manifest.check()?;
        let name = match &request.name {
            Some(name) => name.clone(),
            // New here, so by the narrow rule.
            None => ContainerName::parse(manifest.name.as_str())?,
        };
        let target = ContainerKey { lxcpath: request.lxcpath.clone(), name };
        let shown = format!("cannot receive `{}`", target.name);
        match (&manifest.resume, &manifest.base) {
            (Some(_), _) => self.receive_rest(context, request, &manifest, &mut frames),
            (None, None) => self.receive_new(context, request, &manifest, target, &mut frames),
            (None, Some(_)) => self.receive_onto(context, request, &manifest, &target, &mut frames),
        }
        .map_err(|error| error.while_doing(shown))
    }

    fn receive_new(
        &self,
        context: &Context,
        request: &ReceiveContainer,
        manifest: &Manifest,
        target: ContainerKey,
        frames: &mut FrameReader,
    ) -> Result<Received> {
        std::fs::create_dir_all(&request.lxcpath)
            .or_err(|| format!("cannot make the directory `{}`", request.lxcpath.display()))?;
        self.sweep_incoming(&request.lxcpath)?;
        let pool = Pool { path: request.lxcpath.clone(), options: request.options.clone() };
        let store = self.wait(self.registry.choose(&request.store, &pool))?;
        understood(store.as_ref(), manifest)?;
        self.require_free(context, &target)?;
        context.step("receive.begin")?;
        let incoming = Incoming::make(
            &request.lxcpath,
            Progress {
                manifest: manifest.clone(),
                name: target.name,
                store: store.kind(),
                options: self.registry.options(&store.kind(), &request.options),
                done: 0,
                place: Place::default(),
            },
        )?;
        self.go_on(context, incoming, frames)
    }

    fn receive_rest(
        &self,
        context: &Context,
        request: &ReceiveContainer,
        manifest: &Manifest,
        frames: &mut FrameReader,
    ) -> Result<Received> {
        let incoming = Incoming::open(&request.lxcpath, manifest.stream)?;
        if request.name.as_ref().is_some_and(|name| *name != incoming.progress.name) {
            let text = format!("the stream was begun as `{}`", incoming.progress.name);
            return Err(Error::new(ErrorKind::InvalidArgument, text)
                .with_hint("leave `--as` out, and `keiki rename` it afterwards"));
        }
        let known = &incoming.progress;
        let lacking = known.manifest.sections.get(known.done..).unwrap_or_default();
        let ours = lacking.iter().map(|section| section.identity);
        let fits = manifest.sections.iter().map(|section| section.identity).eq(ours)
            && manifest.resume.as_ref() == Some(&known.place)
            && manifest.encoding == known.manifest.encoding;
        if !fits {
            return Err(Error::new(ErrorKind::Corrupt, "the stream does not go on where this one was cut")
                .with_hint("`keiki receive --pending` prints what to tell the sender"));
        }
        self.go_on(context, incoming, frames)
    }

    /// Receives what is lacking, and says how to continue when that fails.
    fn go_on(&self, context: &Context, mut incoming: Incoming, frames: &mut FrameReader) -> Result<Received> {
        let error = match self.grow(context, &mut incoming, frames) {
            Ok(()) => return self.publish_received(context, incoming, frames.bytes()),
            Err(error) => error,
        };
        if !incoming.is_worth_keeping() {
            // The caller's observer must not be able to break the way back.
            let discarded = self.discard(&Context::default(), incoming);
            return Err(match discarded {
                Ok(()) => error,
                Err(failed) => error
                    .with_context("rollback", failed.full_message())
                    .with_hint("`keiki receive --pending` shows what is left"),
            });
        }
        let name = incoming.progress.name.clone();
        let again = incoming.token().map(|token| {
            format!("to continue, on the sending host: `keiki send --resume {token} | … keiki receive`")
        });
        Err(again
            .into_iter()
            .fold(error, Error::with_hint)
            .with_hint(format!("`keiki receive --discard {name}` throws away what is here")))
    }

    fn grow(&self, context: &Context, incoming: &mut Incoming, frames: &mut FrameReader) -> Result<()> {
        let store = self.store(&incoming.progress.store)?.clone();
        let first = incoming.progress.done;
        for index in first..incoming.progress.manifest.sections.len() {
            if frames.json::<usize>(Kind::Section)? != index - first {
                return Err(damaged("its states are out of order"));
            }
            let section = incoming.progress.manifest.sections[index].clone();
            if incoming.progress.manifest.is_tree() {
                self.make_head(context, incoming, store.as_ref())?;
                self.grow_by_tree(context, incoming, &section, frames)?;
            } else {
                self.grow_by_native(context, incoming, &section, store.as_ref(), frames)?;
            }
            incoming.progress.done = index + 1;
            incoming.progress.place = Place::default();
            context.step("receive.state")?;
            incoming.save()?;
        }
        match frames.frame()?.0 {
            Kind::End => Ok(()),
            _ => Err(damaged("it goes on behind its end")),
        }
    }

    /// Makes the empty container that grows, unless it is there.
    pub(super) fn make_head(
        &self,
        context: &Context,
        incoming: &Incoming,
        store: &dyn BackingStore,
    ) -> Result<()> {
        let key = incoming.key();
        if self.catalogue.container(&key)?.is_some() {
            return Ok(());
        }
        let config = self.config_here(
            &incoming.progress.manifest,
            incoming.progress.manifest.config.as_bytes(),
            &key,
        )?;
        let request = CreateContainer {
            key,
            store: StoreChoice::FirstOf(vec![store.kind()]),
            options: incoming.progress.options.clone(),
            config,
            fill: None,
        };
        self.create(context, request).map(drop)
    }

    /// Returns a configuration of the sender with its paths as they are here.
    pub(super) fn config_here(
        &self,
        manifest: &Manifest,
        config: &[u8],
        key: &ContainerKey,
    ) -> Result<Vec<u8>> {
        let change = CloneConfig {
            name: &key.name,
            old_home: &manifest.home,
            home: &key.home(),
            // Whoever makes the volume writes its own.
            source: "none:none",
            identity: Identity::Kept,
            payload: Payload::Persistent,
        };
        self.editor.for_clone(config, &change)
    }

    fn grow_by_tree(
        &self,
        context: &Context,
        incoming: &mut Incoming,
        section: &Section,
        frames: &mut FrameReader,
    ) -> Result<()> {
        let key = incoming.key();
        let head = self.head_volume(&key)?;
        let from = incoming.progress.place.position().ok_or_else(|| not_ours("its place is none"))?;
        // The first content of a volume may go where a store keeps what it never changes.
        let mode = if incoming.progress.done == 0 { AttachMode::Fill } else { AttachMode::ReadWrite };
        context.step("receive.apply")?;
        let mut reader = frames.section();
        let mut save = |position: Position| {
            incoming.progress.place = position.into();
            incoming.save()
        };
        // All of it may be here already: its receiver died before it could make the snapshot.
        let position = if !from.is_start() && reader.is_over()? {
            from
        } else {
            self.apply(context, (&head, mode), &mut reader, from, &mut save)?.position
        };
        proven(reader, &position.into())?;
        let Some(name) = &section.snapshot else { return Ok(()) };
        let config = self.config_here(&incoming.progress.manifest, section.config.as_bytes(), &key)?;
        if !self.has_arrived(&key, section)? {
            let past = Past { created: section.created, config: &config, identity: section.identity };
            let request = SnapshotContainer {
                key: key.clone(),
                name: Some(name.clone()),
                comment: section.comment.clone(),
            };
            let _held = self.locks.take(context, &[(&key, Hold::Exclusive)], "receive")?;
            self.snapshot_locked(context, &request, Some(&past))?;
        }
        Ok(())
    }

    /// Returns whether the snapshot of a section is here already: its receiver died before it could note so.
    pub(super) fn has_arrived(&self, key: &ContainerKey, section: &Section) -> Result<bool> {
        let known = self.catalogue.volumes_of(key)?;
        Ok(section.snapshot.as_ref().is_some_and(|name| {
            known.iter().any(|row| row.role == crate::lineage::NodeRole::Snapshot(name.clone()))
        }))
    }

    /// Applies a tree to a volume that nobody sees. `save` is told a position when everything up to it is on the disk.
    pub(super) fn apply(
        &self,
        context: &Context,
        (volume, mode): (&Volume, AttachMode),
        section: &mut SectionReader<'_>,
        from: Position,
        save: &mut dyn FnMut(Position) -> Result<()>,
    ) -> Result<UnpackReport> {
        self.mounted(context, volume, mode, |root| {
            // A mount's own descriptor only names it; waiting for the disk needs one that is open.
            let open =
                openat(root, c".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
                    .or_err(|| "cannot open the root filesystem".to_owned())?;
            let (mut latest, mut saved_at) = (from, 0);
            let mut reached = |position: Position, done: keiki_tree::Progress| {
                latest = position;
                context.progress(context::Progress { entries: done.entries, bytes: done.bytes });
                if done.bytes < saved_at + CHECKPOINT {
                    return Ok(());
                }
                saved_at = done.bytes;
                syncfs(&open)?;
                save(position).map_err(std::io::Error::other)
            };
            let options = UnpackOptions { from, reached: Some(&mut reached) };
            let unpacked = unpack_tree(root, section, options).map_err(explained);
            syncfs(&open).or_err(|| "cannot sync what was received".to_owned())?;
            // Also after an error: this is where it goes on. At a proven end, the next state follows.
            if latest != from {
                save(latest)?;
            }
            unpacked
        })
    }

    /// Gives a container that is complete its name.
    fn publish_received(&self, context: &Context, incoming: Incoming, bytes: u64) -> Result<Received> {
        let (key, target) = (incoming.key(), incoming.target());
        self.stamp(context, &key)?;
        let store = self.head_volume(&key)?.kind().clone();
        context.step("receive.publish")?;
        let held = self.locks.take(context, &[(&key, Hold::Exclusive)], "receive")?;
        self.rename_locked(context, &key, &target).map_err(|error| {
            let hint = format!("`keiki receive --finish {}` when the name is free", target.name);
            error.with_hint(hint)
        })?;
        held.retire();
        let progress = incoming.progress.clone();
        incoming.remove()?;
        Ok(Received {
            name: target.name,
            store,
            snapshots: progress.manifest.snapshots(),
            is_new: true,
            encoding: progress.manifest.encoding,
            bytes,
        })
    }

    /// Publishes a container that is complete and could not get its name before.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is none, or it is not complete; [`ErrorKind::AlreadyExists`].
    pub fn finish_received(
        &self,
        context: &Context,
        request: &ReceiveContainer,
        name: &ContainerName,
    ) -> Result<Received> {
        self.catalogue.require_writable()?;
        self.recover()?;
        let complete = self
            .pending(&request.lxcpath)?
            .into_iter()
            .find(|pending| pending.name == *name && pending.sections.0 == pending.sections.1);
        let pending = complete.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("no stream of `{name}` is complete here"))
                .with_hint("`keiki receive --pending` shows what there is, and how to continue it")
        })?;
        let mut incoming = Incoming::open(&request.lxcpath, pending.stream)?;
        if home::exists(&incoming.target().home())? && !home::exists(&incoming.key().home())? {
            // Killed between the name and the tidying.
            let name = incoming.progress.name.clone();
            incoming.remove()?;
            return Err(Error::new(ErrorKind::AlreadyExists, format!("`{name}` is here already")));
        }
        if let Some(new) = &request.name {
            incoming = self.rename_incoming(context, incoming, new)?;
        }
        self.publish_received(context, incoming, 0)
    }

    fn rename_incoming(
        &self,
        context: &Context,
        mut incoming: Incoming,
        new: &ContainerName,
    ) -> Result<Incoming> {
        self.rename(context, &incoming.key(), new)?;
        incoming.progress.name = new.clone();
        incoming.save()?;
        Ok(incoming)
    }

    /// Writes down what the stream made of the head, so that the next one sees what was changed here.
    pub(super) fn stamp(&self, context: &Context, key: &ContainerKey) -> Result<()> {
        let stamp = self.stamp_of(context, &self.head_volume(key)?)?;
        write_stamp(key, STAMP, &stamp)?;
        home::remove_file(&key.home().join(COMING))
    }

    /// Writes down what a head will be that is about to take the place of the present one: its receiver may die in between.
    pub(super) fn stamp_coming(&self, context: &Context, key: &ContainerKey, built: &Volume) -> Result<()> {
        write_stamp(key, COMING, &self.stamp_of(context, built)?)
    }

    /// Returns whether the head is what the last stream made it.
    pub(super) fn is_as_received(&self, context: &Context, key: &ContainerKey) -> Result<bool> {
        let mut noted: Vec<Stamp> = Vec::new();
        for name in [STAMP, COMING] {
            let text = home::read_file(&key.home().join(name))?;
            noted.extend(text.and_then(|text| serde_json::from_slice(&text).ok()));
        }
        Ok(!noted.is_empty() && noted.contains(&self.stamp_of(context, &self.head_volume(key)?)?))
    }

    fn stamp_of(&self, context: &Context, head: &Volume) -> Result<Stamp> {
        let size = self.mounted(context, head, AttachMode::ReadOnly, |root| {
            measure_tree(root, None).map_err(explained)
        })?;
        Ok(Stamp { head: head.id, entries: size.entries, changed: size.changed })
    }
}

fn write_stamp(key: &ContainerKey, name: &str, stamp: &Stamp) -> Result<()> {
    let text = serde_json::to_vec(stamp)
        .map_err(|e| Error::new(ErrorKind::Internal, "cannot write down what was received").with_source(e))?;
    home::replace_file(&key.home().join(name), &text)
}

/// Compares where a section came with where its sender was.
pub(super) fn proven(reader: SectionReader<'_>, place: &Place) -> Result<()> {
    let digest = reader.finish()?;
    let sent: Place =
        serde_json::from_slice(&digest).map_err(|e| damaged("a digest is none").with_source(e))?;
    if sent == *place { Ok(()) } else { Err(damaged("a state is not what was sent")) }
}

/// Refuses a form that the store here does not understand.
pub(super) fn understood(store: &dyn BackingStore, manifest: &Manifest) -> Result<()> {
    let format = store.transfer().map(crate::store::Transfer::format);
    if manifest.is_tree() || format == Some(manifest.encoding.as_str()) {
        return Ok(());
    }
    let text =
        format!("the {} store here does not understand the form `{}`", store.kind(), manifest.encoding);
    Err(Error::new(ErrorKind::Unsupported, text)
        .with_hint(format!("send without `--native`, or receive with `--bdev {}`", manifest.store)))
}

fn explained(error: keiki_tree::TreeError) -> Error {
    use keiki_tree::TreeError;
    match error {
        TreeError::Stream(error) => explain(error, "cannot read the stream"),
        TreeError::Malformed(why) => damaged(why),
        error => Error::io("cannot write the root filesystem", error.into()),
    }
}
