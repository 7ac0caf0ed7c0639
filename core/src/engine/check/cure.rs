//! Repairs, one at a time, each under the lock of its container. Each may be repeated.

use std::path::PathBuf;

use crate::context::Context;
use crate::engine::catalogue::journal as rows;
use crate::engine::catalogue::{ContainerRow, VolumeRow};
use crate::engine::locks::Hold;
use crate::engine::request::{CloneConfig, ContainerKey, Identity, Payload};
use crate::engine::{Engine, home};
use crate::error::{Error, ErrorKind, Result};
use crate::lineage::Edge;
use crate::store::Presence;
use crate::volume::{Volume, VolumeId, VolumeSource};

/// What would repair a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cure {
    /// Nothing that is safe.
    None,
    /// To go on with an operation.
    Resolve(VolumeId),
    /// To write a container with its head into the catalogue.
    Container(ContainerRow, Box<VolumeRow>),
    /// To write a snapshot or layer into the catalogue.
    Volume(Box<VolumeRow>),
    /// To write down a dependency.
    Edge(Edge),
    /// To remove the rows of a container that is gone.
    Forget(ContainerKey),
    /// To make a container's directory anew.
    MakeHome { key: ContainerKey, id: VolumeId, source: VolumeSource },
    /// To mark a directory and its volumes again.
    Mark { key: ContainerKey, id: VolumeId, volumes: Vec<Volume> },
    /// To let the configuration in a home name the volume.
    Config(Volume, PathBuf),
    /// To write LXC's relation files.
    Relations(ContainerKey, Vec<ContainerKey>),
    /// To remove a directory of ours.
    Stray(PathBuf),
    /// To reclaim what nobody needs around a container.
    Reclaim(ContainerKey),
}

impl Engine {
    pub(super) fn cure(&self, context: &Context, cure: &Cure) -> Result<()> {
        context.step("check.repair")?;
        let lock = |key: &ContainerKey| self.locks.take(context, &[(key, Hold::Exclusive)], "repair");
        match cure {
            Cure::None => Ok(()),
            Cure::Resolve(id) => self.resolve(*id).map(drop),
            Cure::Container(container, volume) => {
                let _held = lock(&container.key)?;
                self.catalogue.write(|db| {
                    rows::put_container(db, container)?;
                    rows::put_volume(db, volume)
                })
            }
            Cure::Volume(row) => {
                let _held = lock(&row.container)?;
                self.catalogue.write(|db| rows::put_volume(db, row))
            }
            Cure::Edge(edge) => self.catalogue.write(|db| rows::put_edge(db, edge)),
            Cure::Forget(key) => {
                let _held = lock(key)?;
                self.forget_locked(key)
            }
            Cure::MakeHome { key, id, source } => {
                let _held = lock(key)?;
                self.make_home_anew(key, *id, source)
            }
            Cure::Mark { key, id, volumes } => {
                let _held = lock(key)?;
                self.mark_again(context, volumes)?;
                home::write_mark(&key.home(), *id)
            }
            Cure::Config(volume, home) => {
                let path = home.join("config");
                let config = home::read_file(&path)?.unwrap_or_default();
                let text = self.editor.with_rootfs(&config, &volume.source.to_string())?;
                home::replace_file(&path, &text)
            }
            Cure::Relations(child, ancestors) => {
                let _held = lock(child)?;
                self.link(context, &[(child.clone(), ancestors.clone())])
            }
            Cure::Stray(path) => home::remove(path),
            Cure::Reclaim(key) => {
                let _held = lock(key)?;
                self.reclaim_garbage(context, key)
            }
        }
    }

    fn make_home_anew(&self, key: &ContainerKey, id: VolumeId, source: &VolumeSource) -> Result<()> {
        let staging = home::staging(&key.lxcpath, id);
        home::make_staging(&staging, id)?;
        let config = self.editor.for_clone(
            b"",
            &CloneConfig {
                name: &key.name,
                old_home: &key.home(),
                home: &key.home(),
                source: &source.to_string(),
                identity: Identity::Renamed,
                payload: Payload::Persistent,
            },
        )?;
        home::write_new(&staging, "config", &config)?;
        home::sync_home(&staging)?;
        home::move_to_free(&staging, &key.home())?;
        home::sync_directory(&key.lxcpath)
    }

    /// Puts the marks of volumes on objects that lost them, after a restore from a backup.
    fn mark_again(&self, context: &Context, volumes: &[Volume]) -> Result<()> {
        for volume in volumes {
            let store = self.store_of(volume)?;
            match self.wait(store.probe(volume))? {
                Presence::Complete(mark) if mark == volume.id => {}
                Presence::Foreign => self.wait(store.adopt(context, volume, None))?,
                Presence::Absent | Presence::Partial | Presence::Complete(_) => {
                    let text = format!("`{}` is not there, or is another volume", volume.source);
                    return Err(Error::new(ErrorKind::NotFound, text));
                }
            }
        }
        Ok(())
    }
}
