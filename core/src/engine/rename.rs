//! `keiki rename`: the home gets another name, and so do objects with names of their own; no data moves.
//!
//! ```text
//! [rename.volume (once an object)]
//! rename.publish                    ← the commit point
//! rename.files   [rename.relations]   [rename.descendants]   rename.record
//! ```
//!
//! Between the rename and the replacement of the configuration the container cannot be started; recovery closes that gap.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::ancestry::Ancestry;
use super::catalogue::Neighbourhood;
use super::catalogue::journal as rows;
use super::catalogue::{ContainerRow, VolumeRow};
use super::discover::snapshot_as_container;
use super::intent::{Intent, Rename};
use super::journal::{Begun, unfinished};
use super::moves::{Moves, Shifting};
use super::request::{CloneConfig, ContainerKey, Identity, Payload};
use super::{Engine, home, relations};
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result};
use crate::lineage::NodeRole;
use crate::name::ContainerName;
use crate::volume::{VolumeId, VolumeSource};

impl Engine {
    /// Gives a container another name. Its own name again is success.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`]; [`ErrorKind::Busy`] while it runs; [`ErrorKind::HasDependents`] while others
    /// find its data by path. Nothing was changed then.
    pub fn rename(&self, context: &Context, key: &ContainerKey, new: &ContainerName) -> Result<()> {
        let target = ContainerKey { lxcpath: key.lxcpath.clone(), name: new.clone() };
        let relatives = || {
            let ancestry = self.ancestry(key, Neighbourhood::Whole)?;
            Ok(self.moved_containers(&self.renaming_moves(&ancestry, key, &target)?, &ancestry))
        };
        let renamed = || {
            self.know(context, std::slice::from_ref(key))?;
            if target == *key {
                return Ok(());
            }
            let held = self.take_with_relatives(context, key, "rename", relatives)?;
            self.rename_locked(context, key, &target)?;
            held.retire();
            Ok(())
        };
        renamed().map_err(|error: Error| error.while_doing(format!("cannot rename `{}`", key.name)))
    }

    pub(super) fn rename_locked(
        &self,
        context: &Context,
        key: &ContainerKey,
        new: &ContainerKey,
    ) -> Result<()> {
        self.require_idle(key, "rename")?;
        relations::refuse_counted(key, "rename")?;
        self.require_free(context, new)?;
        let ancestry = self.ancestry(key, Neighbourhood::Whole)?;
        ancestry.lineage.may_rename(key)?;
        let head = ancestry.find(key, None)?;
        let container = self.catalogue.container(key)?.ok_or_else(|| super::discover::no_container(key))?;
        let own: Vec<&VolumeRow> = ancestry.rows.values().filter(|row| row.container == *key).collect();
        let mut volumes = Vec::new();
        for row in &own {
            if row.role != NodeRole::Ghost && self.lives_in_home(&row.volume, key)? {
                volumes.push((row.volume.id, row.volume.source.relocated(&key.home(), &new.home())?));
            }
        }
        let moves = self.renaming_moves(&ancestry, key, new)?;
        self.require_free_places(&moves)?;
        let placed: Vec<_> = volumes.iter().chain(&moves.sources).cloned().collect();
        let rename = Rename {
            old: key.clone(),
            new: new.clone(),
            home_id: container.home_id,
            files: self.renamed_files(key, new, &own, &placed)?,
            volumes,
            ancestors: ancestry.containers_above(&head, key),
            descendants: descendants(&ancestry, &own, new),
            moves,
        };
        // A home of LXC is marked when it is adopted; without the mark recovery could not tell where it went.
        home::write_mark(&key.home(), container.home_id)?;
        let begun = self.begin("rename", Intent::Rename(rename.clone()), std::slice::from_ref(new))?;
        let published = self
            .carry_out_moves(context, "rename.volume", &rename.moves)
            .and_then(|()| context.step("rename.publish"))
            .and_then(|()| home::move_to_free(&key.home(), &new.home()));
        if let Err(error) = published {
            return Err(self.take_back(begun, error, || self.undo_moves(&rename.moves)));
        }
        self.complete_rename(&context.without_deadline(), begun, &rename).map_err(unfinished)
    }

    /// Plans where the container's objects go; those that are in its home go nowhere.
    fn renaming_moves(&self, ancestry: &Ancestry, key: &ContainerKey, new: &ContainerKey) -> Result<Moves> {
        let mut own: Vec<&VolumeRow> = ancestry
            .rows
            .values()
            .filter(|row| row.container == *key && row.role != NodeRole::Ghost)
            .collect();
        // Parents first: what is placed upon them is placed upon where they went.
        own.sort_by_key(|row| ancestry.lineage.depth(row.volume.id));
        let mut shifting = Shifting::new(self, ancestry);
        own.into_iter().try_for_each(|row| shifting.rename(row, new))?;
        shifting.finish(|row| row.container == *key)
    }

    /// Returns the configuration files that name the home, as they will be.
    fn renamed_files(
        &self,
        key: &ContainerKey,
        new: &ContainerKey,
        own: &[&VolumeRow],
        volumes: &[(VolumeId, VolumeSource)],
    ) -> Result<Vec<(PathBuf, Vec<u8>)>> {
        let mut files = Vec::new();
        for row in own {
            let moved =
                volumes.iter().find(|(id, _)| *id == row.volume.id).map(|(_, source)| source.to_string());
            let source = moved.unwrap_or_else(|| row.volume.source.to_string());
            let (relative, identity) = match &row.role {
                NodeRole::Head => (PathBuf::from("config"), Identity::Renamed),
                NodeRole::Snapshot(name) => {
                    (PathBuf::from("snaps").join(name.as_str()).join("config"), Identity::Renamed)
                }
                NodeRole::Layer | NodeRole::Ghost => continue,
            };
            let Some(config) = home::read_file(&key.home().join(&relative))? else { continue };
            let change = CloneConfig {
                name: &new.name,
                old_home: &key.home(),
                home: &new.home(),
                source: &source,
                identity,
                payload: Payload::Persistent,
            };
            files.push((relative, self.editor.for_clone(&config, &change)?));
        }
        Ok(files)
    }

    fn complete_rename(&self, context: &Context, begun: Begun, rename: &Rename) -> Result<()> {
        home::sync_directory(&rename.new.lxcpath)?;
        context.step("rename.files")?;
        for (relative, content) in &rename.files {
            home::replace_file(&rename.new.home().join(relative), content)?;
        }
        rename.moves.write_files()?;
        if !rename.ancestors.is_empty() {
            context.step("rename.relations")?;
            self.unlink(context, &[(rename.old.clone(), rename.ancestors.clone())])?;
            self.link(context, &[(rename.new.clone(), rename.ancestors.clone())])?;
        }
        self.relocate_snapshots(context, rename)?;
        if !rename.descendants.is_empty() {
            context.step("rename.descendants")?;
            self.link(context, &rename.descendants)?;
        }
        context.step("rename.record")?;
        let known = self.catalogue.volumes_of(&rename.old)?;
        let created = self.catalogue.container(&rename.old)?.and_then(|row| row.created);
        self.finish(begun, |db| {
            // Somebody may have made the old name anew already: it is free since the home moved.
            rows::drop_container_of(db, &rename.old, rename.home_id)?;
            let row = ContainerRow { key: rename.new.clone(), home_id: rename.home_id, created };
            rows::put_container(db, &row)?;
            known.iter().filter(|row| row.role != NodeRole::Ghost).try_for_each(|row| {
                let mut row = VolumeRow { container: rename.new.clone(), ..row.clone() };
                if let Some((_, source)) = rename.volumes.iter().find(|(id, _)| *id == row.volume.id) {
                    row.volume.source = source.clone();
                }
                rows::put_volume(db, &row)
            })?;
            rename.moves.record(db)
        })
    }

    /// Notes snapshots at their new place, where LXC noted them as relatives at the old one.
    fn relocate_snapshots(&self, context: &Context, rename: &Rename) -> Result<()> {
        for row in self.catalogue.volumes_of(&rename.old)? {
            let NodeRole::Snapshot(name) = &row.role else { continue };
            let (old, new) =
                (snapshot_as_container(&rename.old, name)?, snapshot_as_container(&rename.new, name)?);
            for ancestor in &rename.ancestors {
                if relations::read_snapshots(ancestor)?.names(&old) {
                    self.link(context, &[(new.clone(), vec![ancestor.clone()])])?;
                    self.unlink(context, &[(old.clone(), vec![ancestor.clone()])])?;
                }
            }
        }
        Ok(())
    }

    /// Resolves the intent of a dead owner.
    pub(super) fn recover_rename(&self, context: &Context, begun: Begun, rename: &Rename) -> Result<()> {
        if home::read_mark(&rename.new.home())? == Some(rename.home_id) && !home::exists(&rename.old.home())?
        {
            return self.complete_rename(context, begun, rename);
        }
        if !home::exists(&rename.old.home())? {
            return Err(Error::new(
                ErrorKind::Corrupt,
                format!(
                    "container `{}` vanished while it was renamed to `{}`",
                    rename.old.name, rename.new.name
                ),
            ));
        }
        self.undo_moves(&rename.moves)?;
        self.finish(begun, |_| Ok(()))
    }
}

/// Returns every container that needs one of the volumes `own`, with its ancestors as they will be called.
fn descendants(
    ancestry: &Ancestry,
    own: &[&VolumeRow],
    new: &ContainerKey,
) -> Vec<(ContainerKey, Vec<ContainerKey>)> {
    let mut found = BTreeMap::new();
    for row in own {
        for node in ancestry.lineage.all_dependents(row.volume.id) {
            let Some(child) = ancestry.rows.get(&node.id).filter(|child| child.container != row.container)
            else {
                continue;
            };
            if node.role == NodeRole::Head {
                let above = ancestry.containers_above(child, &child.container);
                let renamed = |key: ContainerKey| if key == row.container { new.clone() } else { key };
                found.insert(child.container.clone(), above.into_iter().map(renamed).collect());
            }
        }
    }
    found.into_iter().collect()
}
