//! `keiki clone`: containers that begin as another container or as one of its snapshots.
//!
//! By which means is decided once, before anything is done, and is said in the outcome; a wish for a snapshot clone never becomes a
//! copy. A batch is one intent: all of its clones appear, or none.

use std::sync::Arc;

use super::ancestry::Ancestry;
use super::catalogue::{Neighbourhood, VolumeRow};
use super::intent::{Made, Make};
use super::locks::Hold;
use super::make::Plan;
use super::request::{CloneConfig, CloneContainer, CloneMode, ContainerKey, Means, Outcome, Payload};
use super::{Engine, home};
use crate::capability::{Capabilities, Cost, ParentWrite};
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result};
use crate::lineage::Edge;
use crate::registry::StoreChoice;
use crate::store::{BackingStore, Pool};
use crate::volume::{Properties, StoreKind, Volume};

/// How clones will be made.
#[derive(Debug, Clone)]
struct Way {
    store: Arc<dyn BackingStore>,
    capabilities: Capabilities,
    means: Means,
    /// Whether the store itself makes it from the source; else trees are copied between mounts.
    native: bool,
}

impl Engine {
    /// Makes clones, all or none, and returns what was done for each, in order.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] when only a copy is possible and a snapshot clone was asked for;
    /// [`ErrorKind::Busy`] while the source runs, where its store minds; [`ErrorKind::AlreadyExists`] for a taken name;
    /// [`ErrorKind::LimitExceeded`] beyond the depth limit. Nothing was made then.
    pub fn clone_container(&self, context: &Context, request: &CloneContainer) -> Result<Vec<Outcome>> {
        self.clone_all(context, request, "clone")
            .map_err(|error| error.while_doing(format!("cannot clone {}", shown(request))))
    }

    /// As [`Self::clone_container`], for whoever has a verb of its own.
    pub(super) fn clone_all(
        &self,
        context: &Context,
        request: &CloneContainer,
        verb: &str,
    ) -> Result<Vec<Outcome>> {
        let source = &request.source;
        self.know(context, std::slice::from_ref(source))?;
        let _held = self.locks.take(context, &[(source, Hold::Shared)], verb)?;
        require_distinct(request)?;
        for target in &request.targets {
            self.require_free(context, target)?;
        }
        let ancestry = self.ancestry(source, Neighbourhood::Upwards)?;
        let row = ancestry.find(source, request.snapshot.as_ref())?;
        let way = self.way(request, &ancestry, &row)?;
        if request.snapshot.is_none() {
            self.require_quiet(source, "clone", self.live_of(source, &row.volume)?)?;
            // A clone that would see the source's writes cannot be made while somebody writes.
            if way.means == Means::Snapshot && way.capabilities.parent_write == ParentWrite::Forbidden {
                self.require_idle(source, "clone")?;
            }
        }
        let make = self.plan_clones(request, &ancestry, &row, &way, verb)?;
        let config = self.read_config_of(source, request.snapshot.as_ref())?;
        let cost = std::cell::Cell::new(way.cost());
        self.make(context, make.clone(), &request.targets, |make| {
            context.step(&format!("{verb}.config"))?;
            make.made.iter().try_for_each(|made| self.configure_clone(request, made, &config))?;
            make.write_back()?;
            context.step(&format!("{verb}.volume"))?;
            cost.set(self.clone_volumes(context, &way, &way.origin(&ancestry, &row).volume, make)?);
            Ok(())
        })?;
        let outcome = |made: Made| Outcome {
            name: made.container.name.to_string(),
            volume: made.volume,
            means: Some(way.means),
            cost: cost.get(),
        };
        Ok(make.made.into_iter().map(outcome).collect())
    }

    fn live_of(&self, key: &ContainerKey, volume: &Volume) -> Result<crate::capability::Live> {
        let store = self.store_of(volume)?;
        Ok(self.capabilities(store.as_ref(), &key.lxcpath, Some(volume))?.live)
    }

    /// Chooses by which means.
    fn way(&self, request: &CloneContainer, ancestry: &Ancestry, row: &VolumeRow) -> Result<Way> {
        let source = &row.volume;
        if request.mode != CloneMode::Copy {
            let sharing = self.sharing_way(request, source)?.and_then(|way| {
                ancestry.may_build_upon(way.origin(ancestry, row), &way.capabilities)?;
                Ok(way)
            });
            match sharing {
                Ok(way) => return Ok(way),
                Err(refusal) if request.mode == CloneMode::Snapshot => return Err(refusal),
                Err(_) => {}
            }
        }
        self.copying_way(request, source)
    }

    /// Returns the way that shares data; the inner error says why there is none.
    fn sharing_way(&self, request: &CloneContainer, source: &Volume) -> Result<Result<Way>> {
        let own = self.store_of(source)?;
        let pool = Pool { path: target_path(request), options: source.properties.clone() };
        let own_capabilities = own.capabilities(&pool)?;
        let wanted = match &request.store {
            StoreChoice::Default if own_capabilities.clone_cost == Cost::Constant => own.clone(),
            StoreChoice::Default => {
                // A program without that store can still copy.
                let other =
                    own_capabilities.snapshot_clones_by.as_ref().and_then(|kind| self.store(kind).ok());
                match other {
                    Some(store) => store.clone(),
                    None => return Ok(Err(no_sharing(own.kind(), &own.kind()))),
                }
            }
            choice => self.wait(self.registry.choose(choice, &pool_of(request)))?,
        };
        let options = self.options_in(wanted.as_ref(), request, source, Means::Snapshot);
        let capabilities = wanted.capabilities(&Pool { options, ..pool })?;
        let takes = wanted.kind() == own.kind() || capabilities.clones_from.contains(&own.kind());
        if takes && wanted.clones().is_some() && capabilities.clone_cost == Cost::Constant {
            return Ok(Ok(Way { store: wanted, capabilities, means: Means::Snapshot, native: true }));
        }
        Ok(Err(no_sharing(own.kind(), &wanted.kind())))
    }

    fn copying_way(&self, request: &CloneContainer, source: &Volume) -> Result<Way> {
        if request.payload == Payload::EphemeralInMemory {
            return Err(Error::new(ErrorKind::Unsupported, "a copy cannot live in memory")
                .with_hint("ask for a snapshot clone (`--snapshot`)"));
        }
        let own = self.store_of(source)?;
        let store = match &request.store {
            StoreChoice::Default => own.clone(),
            choice => self.wait(self.registry.choose(choice, &pool_of(request)))?,
        };
        let options = self.options_in(store.as_ref(), request, source, Means::Copy);
        let capabilities = store.capabilities(&Pool { options, ..pool_of(request) })?;
        // A store whose clones are independent copies them better than we could through mounts.
        let native = store.kind() == own.kind() && store.clones().is_some() && !capabilities.clones_depend();
        Ok(Way { store, capabilities, means: Means::Copy, native })
    }

    fn plan_clones(
        &self,
        request: &CloneContainer,
        ancestry: &Ancestry,
        row: &VolumeRow,
        way: &Way,
        verb: &str,
    ) -> Result<Make> {
        let origin = way.origin(ancestry, row);
        let depends = way.means == Means::Snapshot && way.capabilities.clones_depend();
        let mut options = self.options_in(way.store.as_ref(), request, &row.volume, way.means);
        if request.payload == Payload::EphemeralInMemory {
            options.insert(UPPER.to_owned(), "memory".to_owned());
        }
        let place_upon = (way.means == Means::Snapshot).then_some(&origin.volume);
        let mut made = Vec::with_capacity(request.targets.len());
        for target in &request.targets {
            let ancestors = if depends { ancestry.containers_above(origin, target) } else { Vec::new() };
            let plan = Plan {
                store: way.store.as_ref(),
                container: target,
                snapshot: None,
                options: &options,
                origin: place_upon,
            };
            let decided = plan.decide(|id| edges(id, row, origin, depends, &way.capabilities), &ancestors);
            made.push(decided.map_err(|error| in_memory(error, request, way))?);
        }
        Ok(Make { verb: verb.to_owned(), made, freeze: None })
    }

    /// Returns the options of a clone in `store`: those of its source where both are in one store, so that a clone lands in
    /// the source's volume group or dataset unless another is asked for, and then those of the request. What names one volume
    /// is not passed on: two cannot have it. The installation's defaults say where a copy goes whose source does not; what
    /// shares data stays beside it.
    fn options_in(
        &self,
        store: &dyn BackingStore,
        request: &CloneContainer,
        source: &Volume,
        means: Means,
    ) -> Properties {
        let kind = store.kind();
        let is_own = kind == *source.kind();
        let mut options = if is_own { source.properties.clone() } else { Properties::new() };
        for of_one_volume in [UPPER, "lvname", "dir"] {
            options.remove(of_one_volume);
        }
        let has_place = is_own && (means == Means::Snapshot || !options.is_empty());
        // A pool belongs to its group: whoever names another group says what is used there.
        if request.options.get("vgname").is_some_and(|group| options.get("vgname") != Some(group)) {
            options.remove("thinpool");
        }
        options.extend(request.options.clone());
        if has_place { options } else { self.registry.options(&kind, &options) }
    }

    fn clone_volumes(&self, context: &Context, way: &Way, source: &Volume, make: &Make) -> Result<Cost> {
        let staged: Vec<Volume> = make.made.iter().map(Made::staged_volume).collect();
        if let (true, Some(clones)) = (way.native, way.store.clones()) {
            match self.clone_natively(context, clones, source, staged.iter().cloned()) {
                // Another group, another file system: what cannot share can still be copied, and a copy is what was asked for.
                Err(error) if way.means == Means::Copy && error.kind() == ErrorKind::Unsupported => {}
                other => return other.map(|()| way.cost()),
            }
            for target in &staged {
                self.wait(way.store.destroy(context, target))?;
            }
        }
        let mut cost = Cost::Constant;
        for target in &staged {
            self.wait(way.store.create(context, target))?;
            cost = cost.max(self.copy_content(context, source, target)?);
        }
        Ok(cost)
    }

    fn configure_clone(&self, request: &CloneContainer, made: &Made, config: &[u8]) -> Result<()> {
        let text = self.editor.for_clone(
            config,
            &CloneConfig {
                name: &made.container.name,
                old_home: &request.source.home(),
                home: &made.home,
                source: &made.volume.source.to_string(),
                identity: request.identity,
                payload: request.payload,
            },
        )?;
        self.copy_companions(config, &request.source.home(), &made.staging)?;
        home::write_new(&made.staging, "config", &text)
    }
}

impl Way {
    /// Returns what clones are made from: `row`, or what holds its content.
    fn origin<'a>(&self, ancestry: &'a Ancestry, row: &'a VolumeRow) -> &'a VolumeRow {
        // A frozen layer holds what its snapshot shows: depending on the layer leaves the snapshot free to go.
        if self.means == Means::Snapshot { ancestry.content_of(row) } else { row }
    }

    fn cost(&self) -> Cost {
        if self.native { self.capabilities.clone_cost } else { Cost::PerByte }
    }
}

fn edges(
    id: crate::volume::VolumeId,
    row: &VolumeRow,
    origin: &VolumeRow,
    depends: bool,
    capabilities: &Capabilities,
) -> Vec<Edge> {
    let mut edges = vec![Edge::provenance(id, row.volume.id)];
    if depends {
        edges.push(Edge::of_clone(id, origin.volume.id, capabilities));
    }
    edges
}

fn target_path(request: &CloneContainer) -> std::path::PathBuf {
    request.targets.first().map_or_else(|| request.source.lxcpath.clone(), |target| target.lxcpath.clone())
}

/// A store that does not stack does not know the option that we add; the user never gave it.
fn in_memory(error: Error, request: &CloneContainer, way: &Way) -> Error {
    if request.payload != Payload::EphemeralInMemory || error.kind() != ErrorKind::InvalidArgument {
        return error;
    }
    let text = format!("the {} store cannot keep a clone in memory", way.store.kind());
    Error::new(ErrorKind::Unsupported, text).with_hint("ask for a clone on disk, or for a store that stacks")
}

/// The option by which a stack is asked to keep what is written in memory.
const UPPER: &str = "upper";

fn pool_of(request: &CloneContainer) -> Pool {
    Pool { path: target_path(request), options: Properties::clone(&request.options) }
}

fn no_sharing(own: StoreKind, wanted: &StoreKind) -> Error {
    let what = if own == *wanted {
        format!("the {own} store copies")
    } else {
        format!("{wanted} cannot build upon {own}")
    };
    Error::new(ErrorKind::Unsupported, format!("a snapshot clone is not possible here: {what}"))
        .with_hint("copy instead: `keiki clone --copy`; `keiki stores` shows what each store can do")
}

fn require_distinct(request: &CloneContainer) -> Result<()> {
    let mut seen = std::collections::HashSet::new();
    match request.targets.iter().find(|target| !seen.insert(*target)) {
        None => Ok(()),
        Some(twice) => {
            Err(Error::new(ErrorKind::InvalidArgument, format!("container `{}` is named twice", twice.name)))
        }
    }
}

fn shown(request: &CloneContainer) -> String {
    let name = &request.source.name;
    match &request.snapshot {
        Some(snapshot) => format!("`{name}@{snapshot}`"),
        None => format!("`{name}`"),
    }
}
