//! Sections in a store's own form: each becomes a snapshot, and the head is made from the last one.
//!
//! The present state of the sender is a snapshot here as well, under a name of ours, until the head is made from it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::thread;

use rustix::pipe::{PipeFlags, pipe_with};

use super::incoming::Incoming;
use super::manifest::{Manifest, Section};
use super::receive::proven;
use super::send::{native, unwritten};
use super::to_hex;
use super::token::Place;
use super::wire::{FrameReader, FrameWriter, explain};
use crate::context::Context;
use crate::engine::catalogue::Neighbourhood;
use crate::engine::intent::{Made, Make};
use crate::engine::locks::Hold;
use crate::engine::make::Plan;
use crate::engine::request::ContainerKey;
use crate::engine::snapshot::{Past, identity};
use crate::engine::{Engine, home};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::lineage::{Edge, NodeRole};
use crate::name::SnapshotName;
use crate::store::{BackingStore, ReceivedHead};
use crate::volume::Volume;

/// Returns the name of the snapshot that a section becomes.
fn name_of(section: &Section) -> Result<SnapshotName> {
    match &section.snapshot {
        Some(name) => Ok(name.clone()),
        None => SnapshotName::parse(&format!("keiki-receive-{}", section.identity.short())),
    }
}

impl Engine {
    /// Returns whether a section is a snapshot here already: its receiver died before it could note so, or make the head of it.
    pub(super) fn arrived_natively(&self, key: &ContainerKey, section: &Section) -> Result<bool> {
        let name = name_of(section)?;
        for row in self.catalogue.volumes_of(key)? {
            if row.role == NodeRole::Snapshot(name.clone()) {
                return Ok(identity(key, &name, row.volume.id)? == section.identity);
            }
        }
        Ok(false)
    }

    /// Receives one section into a container that grows.
    pub(super) fn grow_by_native(
        &self,
        context: &Context,
        incoming: &Incoming,
        section: &Section,
        store: &dyn BackingStore,
        frames: &mut FrameReader,
    ) -> Result<()> {
        let (key, progress) = (incoming.key(), &incoming.progress);
        let manifest = &progress.manifest;
        if native(store)?.received_head() == ReceivedHead::Apart {
            self.make_head(context, incoming, store)?;
        }
        if self.catalogue.container(&key)?.is_none() {
            self.receive_first(context, incoming, section, store, frames)?;
        } else {
            let held = self.locks.take(context, &[(&key, Hold::Exclusive)], "receive")?;
            let before = progress.done.checked_sub(1).map(|index| name_of(&manifest.sections[index]));
            self.receive_native(context, manifest, &key, section, before.transpose()?.as_ref(), frames)?;
            drop(held);
        }
        let is_last = progress.done + 1 == manifest.sections.len();
        if is_last {
            let held = self.locks.take(context, &[(&key, Hold::Exclusive)], "receive")?;
            self.settle_native(context, &key, &name_of(section)?)?;
            drop(held);
            self.drop_native_head(context, &key, manifest)?;
        }
        Ok(())
    }

    /// Receives one section as a snapshot of a container that is here and locked.
    pub(super) fn receive_native(
        &self,
        context: &Context,
        manifest: &Manifest,
        key: &ContainerKey,
        section: &Section,
        before: Option<&SnapshotName>,
        frames: &mut FrameReader,
    ) -> Result<SnapshotName> {
        let name = name_of(section)?;
        if self.arrived_natively(key, section)? {
            return pass_over(frames).map(|()| name);
        }
        let ancestry = self.ancestry(key, Neighbourhood::Upwards)?;
        let head = ancestry.find(key, None)?;
        let base = before.map(|name| ancestry.find(key, Some(name))).transpose()?;
        let store = self.store_of(&head.volume)?.clone();
        let capabilities = self.capabilities(store.as_ref(), &key.lxcpath, Some(&head.volume))?;
        let mut make = self.plan_beside(key, &name, &ancestry, &head, &capabilities)?;
        "receive".clone_into(&mut make.verb);
        make.made[0].created = section.created.unwrap_or(make.made[0].created);
        let made = make.made[0].clone();
        self.make(context, make, &[], |_| {
            let base = base.as_ref().map(|row| &row.volume);
            self.take_native(context, store.as_ref(), (&head.volume, &made.staged_volume()), base, frames)?;
            if native(store.as_ref())?.received_head() == ReceivedHead::Follows {
                // The head has moved with the snapshot; a receiver that dies now must find that it was the stream.
                self.stamp_coming(context, key, &head.volume)?;
            }
            self.describe_received(manifest, section, &made)
        })?;
        Ok(name)
    }

    /// Receives the first section of a store whose heads follow their snapshots: both are made together.
    fn receive_first(
        &self,
        context: &Context,
        incoming: &Incoming,
        section: &Section,
        store: &dyn BackingStore,
        frames: &mut FrameReader,
    ) -> Result<()> {
        let (key, manifest) = (incoming.key(), &incoming.progress.manifest);
        let name = name_of(section)?;
        let capabilities = self.capabilities(store, &key.lxcpath, None)?;
        let options = &incoming.progress.options;
        let plan = Plan { store, container: &key, snapshot: None, options, origin: None };
        let head = plan.decide(|_| Vec::new(), &[])?;
        let plan = Plan { snapshot: Some(&name), origin: Some(&head.volume), ..plan };
        let mut snapshot = plan.decide(|id| vec![Edge::of_clone(id, head.volume.id, &capabilities)], &[])?;
        snapshot.created = section.created.unwrap_or(snapshot.created);
        let config = self.config_here(manifest, manifest.config.as_bytes(), &key)?;
        let config = self.config_of_new(&config, &head)?;
        let make =
            Make { verb: "receive".to_owned(), made: vec![head.clone(), snapshot.clone()], freeze: None };
        self.make(context, make, std::slice::from_ref(&key), |_| {
            let volumes = (&head.staged_volume(), &snapshot.staged_volume());
            self.take_native(context, store, volumes, None, frames)?;
            home::write_new(&head.staging, "config", &config)?;
            self.describe_received(manifest, section, &snapshot)
        })
    }

    fn describe_received(&self, manifest: &Manifest, section: &Section, made: &Made) -> Result<()> {
        let config = self.config_here(manifest, section.config.as_bytes(), &made.container)?;
        self.describe_snapshot(made, &config, section.comment.as_deref())?;
        Past { created: section.created, config: &config, identity: section.identity }.note(&made.staging)
    }

    /// Lets the store write a state, and returns what was written.
    pub(super) fn send_native(
        &self,
        context: &Context,
        state: &Volume,
        base: Option<&Volume>,
        writer: &mut FrameWriter,
    ) -> Result<Place> {
        let store = self.store_of(state)?.clone();
        let group = native(store.as_ref())?;
        let (out, end) = pipe()?;
        let carry_out = move || carry(&mut File::from(out), writer);
        let (carried, sent) = beside(carry_out, || self.wait(group.send(context, state, base, end)))?;
        // When nobody reads, the store only learns that its pipe broke.
        let place = carried.map_err(unwritten)?;
        sent.map(|()| place)
    }

    /// Lets the store read a section, and proves what it read.
    fn take_native(
        &self,
        context: &Context,
        store: &dyn BackingStore,
        (head, snapshot): (&Volume, &Volume),
        base: Option<&Volume>,
        frames: &mut FrameReader,
    ) -> Result<()> {
        context.step("receive.volume")?;
        let group = native(store)?;
        let (input, end) = pipe()?;
        let mut section = frames.section();
        let carry_in = || {
            let place = carry(&mut section, &mut Listener(Some(File::from(end))))?;
            Ok((place, section))
        };
        let receive = || self.wait(group.receive(context, head, snapshot, base, input));
        let (carried, received) = beside(carry_in, receive)?;
        // The store only learns that its pipe ended: what ended it weighs more.
        let (place, section) = carried.map_err(|error| explain(error, "cannot read the stream"))?;
        received?;
        proven(section, &place)
    }

    /// Makes the head what the last snapshot is, where receiving did not.
    pub(super) fn settle_native(
        &self,
        context: &Context,
        key: &ContainerKey,
        last: &SnapshotName,
    ) -> Result<()> {
        let head = self.head_volume(key)?;
        let store = self.store_of(&head)?.clone();
        match native(store.as_ref())?.received_head() {
            ReceivedHead::Follows => Ok(()),
            ReceivedHead::Apart => self.restore_in_place(context, key, last).map(drop),
        }
    }

    /// Removes the snapshot that stood for the sender's present state.
    pub(super) fn drop_native_head(
        &self,
        context: &Context,
        key: &ContainerKey,
        manifest: &Manifest,
    ) -> Result<()> {
        match manifest.sections.last().filter(|section| section.snapshot.is_none()) {
            Some(section) => self.destroy_snapshot(context, key, &name_of(section)?),
            None => Ok(()),
        }
    }
}

/// Reads a section that is here already, and proves it.
fn pass_over(frames: &mut FrameReader) -> Result<()> {
    let mut section = frames.section();
    let place =
        carry(&mut section, &mut io::sink()).map_err(|error| explain(error, "cannot read the stream"))?;
    proven(section, &place)
}

fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    pipe_with(PipeFlags::CLOEXEC).or_err(|| "cannot make a pipe".to_owned())
}

/// Does two things at once: a store works on one end of a pipe while the other is served.
fn beside<T: Send, U>(serve: impl FnOnce() -> T + Send, work: impl FnOnce() -> U) -> Result<(T, U)> {
    thread::scope(|scope| {
        let serving = scope.spawn(serve);
        let worked = work();
        let served = serving.join().map_err(|_| Error::new(ErrorKind::Internal, "a thread broke off"))?;
        Ok((served, worked))
    })
}

/// Carries a store's own stream, and returns what it was.
fn carry(from: &mut impl Read, to: &mut impl Write) -> io::Result<Place> {
    let mut digest = blake3::Hasher::new();
    let mut buffer = vec![0; 128 << 10];
    let mut bytes = 0;
    loop {
        let read = from.read(&mut buffer)?;
        if read == 0 {
            return Ok(Place { records: bytes, chain: to_hex(digest.finalize().as_bytes()) });
        }
        digest.update(&buffer[..read]);
        bytes += read as u64;
        to.write_all(&buffer[..read])?;
    }
}

/// A store that reads a section, and may end before it does.
struct Listener(Option<File>);

impl Write for Listener {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.as_mut().map(|end| end.write(bytes)) {
            Some(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => self.0 = None,
            Some(other) => return other,
            None => {}
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
