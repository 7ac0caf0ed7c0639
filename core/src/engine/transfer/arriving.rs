//! Receiving into a container that is here: it has the base, and gets what came after it.
//!
//! Each state is built beside the present head, as a clone of the one before with its changes; it becomes the head when it is
//! proven, by the same replacement as a restore, and then the snapshot. A cut therefore leaves the container at the last
//! state that arrived whole.

use keiki_tree::Position;

use super::manifest::{Base, Manifest, Section};
use super::receive::{proven, understood};
use super::wire::{FrameReader, Kind};
use super::{Divergence, ReceiveContainer, Received, damaged};
use crate::context::Context;
use crate::engine::ancestry::Ancestry;
use crate::engine::busy::require_unmounted;
use crate::engine::catalogue::{Neighbourhood, VolumeRow};
use crate::engine::locks::Hold;
use crate::engine::replace::NewHead;
use crate::engine::request::{ContainerKey, SnapshotContainer};
use crate::engine::snapshot::{Past, identity};
use crate::engine::{Engine, home, relations};
use crate::error::{Error, ErrorKind, Result};
use crate::lineage::Edge;
use crate::mount_plan::AttachMode;
use crate::name::SnapshotName;
use crate::store::{BackingStore, CloneJob};
use crate::volume::Volume;

impl Engine {
    /// Brings a container up to date.
    pub(super) fn receive_onto(
        &self,
        context: &Context,
        request: &ReceiveContainer,
        manifest: &Manifest,
        key: &ContainerKey,
        frames: &mut FrameReader,
    ) -> Result<Received> {
        self.know(context, std::slice::from_ref(key)).map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                error.with_hint("this stream holds only changes: send it whole first, without `--since`")
            }
            _ => error,
        })?;
        let held = self.locks.take(context, &[(key, Hold::Exclusive)], "receive")?;
        let base = self.find_base(key, manifest)?;
        let store = self.store_of(&self.head_volume(key)?)?.clone();
        understood(store.as_ref(), manifest)?;
        self.require_receivable(context, request, manifest, key)?;
        let mut last = base;
        for (index, section) in manifest.sections.iter().enumerate() {
            let arrived = if frames.json::<usize>(Kind::Section)? == index {
                self.receive_section(context, manifest, key, section, &last, frames)
            } else {
                Err(damaged("its states are out of order"))
            };
            let again = format!(
                "what came is kept; go on with `keiki send {} --since {last} | … keiki receive`",
                manifest.name
            );
            last = arrived.map_err(|error| error.with_hint(again))?.unwrap_or(last);
        }
        if frames.frame()?.0 != Kind::End {
            return Err(damaged("it goes on behind its end"));
        }
        if !manifest.is_tree() {
            self.settle_native(context, key, &last)?;
        }
        self.stamp(context, key)?;
        drop(held);
        if !manifest.is_tree() {
            self.drop_native_head(context, key, manifest)?;
        }
        Ok(Received {
            name: key.name.clone(),
            store: store.kind(),
            snapshots: manifest.snapshots(),
            is_new: false,
            encoding: manifest.encoding.clone(),
            bytes: frames.bytes(),
        })
    }

    /// Returns the snapshot here that is the stream's base.
    fn find_base(&self, key: &ContainerKey, manifest: &Manifest) -> Result<SnapshotName> {
        let Some(Base { identity: wanted, name }) = &manifest.base else {
            return Err(damaged("it has no base"));
        };
        let mut present = Vec::new();
        for record in self.snapshots(key)? {
            if identity(key, &record.name, record.volume.id)? == *wanted {
                return Ok(record.name);
            }
            present.push(record.name.to_string());
        }
        let text =
            format!("`{}` has no copy of the snapshot `{name}`, which the stream begins from", key.name);
        let error = Error::new(ErrorKind::NotFound, text).with_context("base", wanted.to_string());
        let sender = &manifest.name;
        Err(if present.is_empty() {
            error.with_hint(format!(
                "send it whole: `keiki send {sender}`, received under another name (`--as`)"
            ))
        } else {
            error
                .with_context("present", present.join(", "))
                .with_hint(format!("send since one that both have: `keiki send {sender} --since SNAPSHOT`"))
        })
    }

    fn require_receivable(
        &self,
        context: &Context,
        request: &ReceiveContainer,
        manifest: &Manifest,
        key: &ContainerKey,
    ) -> Result<()> {
        self.require_idle(key, "receive into")?;
        require_unmounted([key.home().as_path()], "receive into")?;
        relations::refuse_counted(key, "receive into")?;
        for section in &manifest.sections {
            let Some(name) = &section.snapshot else { continue };
            // In the store's own form the head is made after the snapshots: whoever died in between has them.
            let has_arrived = !manifest.is_tree() && self.arrived_natively(key, section)?;
            if !has_arrived && home::exists(&key.snapshot_home(name))? {
                let text = format!("container `{}` has a snapshot `{name}`", key.name);
                return Err(Error::new(ErrorKind::AlreadyExists, text)
                    .with_hint("send since that one, or destroy it here"));
            }
        }
        if request.divergence == Divergence::Overwrite || self.is_as_received(context, key)? {
            return Ok(());
        }
        let text = format!("`{}` was changed here since a stream made it what it is", key.name);
        Err(Error::new(ErrorKind::AlreadyExists, text)
            .with_hint(format!("`keiki snapshot create {}` keeps the changes", key.name))
            .with_hint("`keiki receive --overwrite` replaces the present state all the same"))
    }

    /// Receives one state, and returns the snapshot that it became.
    fn receive_section(
        &self,
        context: &Context,
        manifest: &Manifest,
        key: &ContainerKey,
        section: &Section,
        last: &SnapshotName,
        frames: &mut FrameReader,
    ) -> Result<Option<SnapshotName>> {
        if !manifest.is_tree() {
            return self.receive_native(context, manifest, key, section, Some(last), frames).map(Some);
        }
        self.replace_head(context, key, last, frames)?;
        let Some(name) = &section.snapshot else { return Ok(None) };
        let config = self.config_here(manifest, section.config.as_bytes(), key)?;
        let past = Past { created: section.created, config: &config, identity: section.identity };
        let wanted = SnapshotContainer {
            key: key.clone(),
            name: Some(name.clone()),
            comment: section.comment.clone(),
        };
        self.snapshot_locked(context, &wanted, Some(&past))?;
        Ok(Some(name.clone()))
    }

    fn replace_head(
        &self,
        context: &Context,
        key: &ContainerKey,
        last: &SnapshotName,
        frames: &mut FrameReader,
    ) -> Result<()> {
        let ancestry = self.ancestry(key, Neighbourhood::Whole)?;
        let (head, row) = (ancestry.find(key, None)?, ancestry.find(key, Some(last))?);
        ancestry.lineage.may_restore_in_place(head.volume.id)?;
        let store = self.store_of(&head.volume)?.clone();
        let seed = self.seed(store.as_ref(), key, &ancestry, &head, &row)?;
        let new = NewHead { verb: "receive", key, head: &head, origin: seed.origin, edge: seed.edge };
        let plan = self.plan_replace(&new, &ancestry, &self.read_config(key)?)?;
        self.replace(context, plan, |built| {
            self.plant(context, store.as_ref(), &seed, &row.volume, built)?;
            context.step("receive.apply")?;
            let mut reader = frames.section();
            let report = self.apply(
                context,
                (built, AttachMode::ReadWrite),
                &mut reader,
                Position::default(),
                &mut |_| Ok(()),
            )?;
            proven(reader, &report.position.into())?;
            self.stamp_coming(context, key, built)
        })
        .map(drop)
    }

    /// Decides what the new head begins as: a clone of the snapshot, or a copy where the store cannot clone one.
    fn seed<'a>(
        &self,
        store: &dyn BackingStore,
        key: &ContainerKey,
        ancestry: &'a Ancestry,
        head: &VolumeRow,
        row: &'a VolumeRow,
    ) -> Result<Seed<'a>> {
        let capabilities = self.capabilities(store, &key.lxcpath, Some(&head.volume))?;
        if store.clones().is_none()
            || !capabilities.snapshot_of_snapshot
            || head.volume.kind() != row.volume.kind()
        {
            return Ok(Seed { origin: None, edge: None });
        }
        let origin = ancestry.content_of(row);
        ancestry.may_build_upon(origin, &capabilities)?;
        let depends = capabilities.clones_depend();
        let edge = depends.then(|| Edge::of_clone(head.volume.id, origin.volume.id, &capabilities));
        Ok(Seed { origin: Some(origin), edge })
    }

    fn plant(
        &self,
        context: &Context,
        store: &dyn BackingStore,
        seed: &Seed<'_>,
        snapshot: &Volume,
        built: &Volume,
    ) -> Result<()> {
        let (Some(origin), Some(group)) = (seed.origin, store.clones()) else {
            self.wait(store.create(context, built))?;
            return self.copy_content(context, snapshot, built).map(drop);
        };
        let job = CloneJob { target: built.clone() };
        let results = self.wait(group.clone_from(context, &origin.volume, std::slice::from_ref(&job)));
        results.into_iter().collect::<Result<Vec<()>>>().map(drop)
    }
}

/// What a new head begins as.
struct Seed<'a> {
    /// What it is cloned from; `None` is a copy.
    origin: Option<&'a VolumeRow>,
    edge: Option<Edge>,
}
