//! Random histories of the engine over reference stores of every lineage: whatever it is asked for, it does it or
//! refuses it; everybody else sees what they saw; nothing is lost that was not asked for, and nothing is left behind.
//!
//! Twice: undisturbed, and with an error at a random step of every deed, after which recovery must have made it either
//! done or not done.
#![expect(clippy::unwrap_used, reason = "a test may say what it expects")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use keiki_core::context::{Context, Observer, Progress};
use keiki_core::engine::{
    Activity, CloneConfig, CloneContainer, CloneMode, ConfigEditor, ContainerKey, CreateContainer,
    DestroyScope, Engine, EngineOptions, Holder, Identity, Payload, RestoreTarget, SnapshotContainer,
};
use keiki_core::lineage::NodeRole;
use keiki_core::name::{ContainerName, SnapshotName};
use keiki_core::reference::{ReferenceDisk, ReferenceOptions, ReferenceStore, TreeContent};
use keiki_core::registry::{Registry, StoreChoice};
use keiki_core::volume::{Properties, Volume, VolumeId};
use keiki_core::{Error, ErrorKind, Result};
use proptest::prelude::*;

#[derive(Debug)]
struct Idle;

impl Activity for Idle {
    fn holder(&self, _key: &ContainerKey) -> Result<Option<Holder>> {
        Ok(None)
    }
}

/// A configuration of one line: where the root file system is.
#[derive(Debug)]
struct OneLine;

const PATH: &str = "lxc.rootfs.path = ";

impl ConfigEditor for OneLine {
    fn rootfs(&self, config: &[u8], _file: &Path) -> Result<Option<String>> {
        let text = String::from_utf8_lossy(config);
        Ok(text.lines().find_map(|line| line.strip_prefix(PATH)).map(str::to_owned))
    }

    fn with_rootfs(&self, _config: &[u8], source: &str) -> Result<Vec<u8>> {
        Ok(format!("{PATH}{source}\n").into_bytes())
    }

    fn companions(&self, _config: &[u8], _home: &Path) -> Result<Vec<std::path::PathBuf>> {
        Ok(Vec::new())
    }

    fn for_clone(&self, config: &[u8], request: &CloneConfig<'_>) -> Result<Vec<u8>> {
        self.with_rootfs(config, request.source)
    }
}

/// Lets some steps pass and fails at the next one, once.
struct Tripwire(AtomicUsize);

impl Observer for Tripwire {
    fn step(&self, name: &str) -> Result<()> {
        match self.0.fetch_sub(1, Ordering::Relaxed) {
            1 => Err(Error::new(ErrorKind::Io, format!("tripped at `{name}`"))),
            _ => Ok(()),
        }
    }

    fn progress(&self, _progress: Progress) {}
}

type Place = (ContainerName, Option<SnapshotName>);

struct World {
    engine: Engine,
    store: ReferenceStore,
    cx: Context,
    lxcpath: tempfile::TempDir,
    _state: tempfile::TempDir,
    expected: BTreeMap<Place, TreeContent>,
    clock: u32,
}

impl World {
    fn new(options: ReferenceOptions) -> Self {
        let (state, lxcpath) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let store = ReferenceStore::new(options, &ReferenceDisk::new());
        let engine = Engine::open(EngineOptions {
            registry: Registry::new().with(Arc::new(store.clone())),
            state: state.path().to_owned(),
            activity: Arc::new(Idle),
            editor: Arc::new(OneLine),
            lock_wait: Duration::from_secs(5),
        })
        .unwrap();
        let (cx, expected) = (Context::default(), BTreeMap::new());
        Self { engine, store, cx, lxcpath, _state: state, expected, clock: 0 }
    }

    fn key(&self, name: &ContainerName) -> ContainerKey {
        ContainerKey { lxcpath: self.lxcpath.path().canonicalize().unwrap(), name: name.clone() }
    }

    fn tick(&mut self) -> u32 {
        self.clock += 1;
        self.clock
    }

    fn new_name(&mut self) -> ContainerName {
        ContainerName::parse(&format!("c{}", self.tick())).unwrap()
    }

    fn pick(&self, number: usize, wanted: impl Fn(&Place) -> bool) -> Option<Place> {
        let candidates: Vec<_> = self.expected.keys().filter(|place| wanted(place)).collect();
        candidates.get(number.checked_rem(candidates.len())?).map(|place| (*place).clone())
    }

    fn head(&self, number: usize) -> Option<Place> {
        self.pick(number, |(_, snapshot)| snapshot.is_none())
    }

    fn volumes(&self) -> BTreeMap<Place, Volume> {
        let mut found = BTreeMap::new();
        for record in self.engine.containers(&self.key(&ContainerName::parse("x").unwrap()).lxcpath).unwrap()
        {
            let snapshots = self.engine.snapshots(&record.key).unwrap();
            found.extend(
                snapshots.into_iter().map(|one| ((record.key.name.clone(), Some(one.name)), one.volume)),
            );
            found.insert((record.key.name.clone(), None), record.volume.unwrap());
        }
        found
    }

    fn act(&mut self, deed: &Deed) -> Option<Result<()>> {
        Some(match deed {
            Deed::Create => {
                let name = self.new_name();
                self.create(&name)
            }
            Deed::Snapshot(number) => {
                let place = self.head(*number)?;
                self.snapshot(&place)
            }
            Deed::Clone(number) => {
                let place = self.pick(*number, |_| true)?;
                let name = self.new_name();
                self.clone_of(&place, &name)
            }
            Deed::Write(number) => {
                let place = self.head(*number)?;
                self.write(&place)
            }
            Deed::Restore(number) => {
                let place = self.pick(*number, |(_, snapshot)| snapshot.is_some())?;
                self.restore(&place)
            }
            Deed::Rename(number) => {
                let place = self.head(*number)?;
                let name = self.new_name();
                self.rename(&place.0, &name)
            }
            Deed::Flatten(number) => {
                let place = self.head(*number)?;
                self.engine.flatten(&self.cx, &self.key(&place.0)).map(drop)
            }
            Deed::Destroy(number, scope) => {
                let place = self.pick(*number, |_| true)?;
                self.destroy(&place, *scope)
            }
        })
    }

    fn create(&mut self, name: &ContainerName) -> Result<()> {
        let request = CreateContainer {
            key: self.key(name),
            store: StoreChoice::Default,
            options: Properties::new(),
            config: Vec::new(),
            fill: None,
        };
        self.engine.create(&self.cx, request)?;
        self.expected.insert((name.clone(), None), TreeContent::new());
        Ok(())
    }

    fn snapshot(&mut self, place: &Place) -> Result<()> {
        let name = SnapshotName::parse(&format!("s{}", self.tick())).unwrap();
        let request = SnapshotContainer { key: self.key(&place.0), name: Some(name.clone()), comment: None };
        self.engine.snapshot(&self.cx, &request)?;
        self.expected.insert((place.0.clone(), Some(name)), self.expected[place].clone());
        Ok(())
    }

    fn clone_of(&mut self, place: &Place, name: &ContainerName) -> Result<()> {
        let request = CloneContainer {
            source: self.key(&place.0),
            snapshot: place.1.clone(),
            targets: vec![self.key(name)],
            mode: CloneMode::SnapshotOrCopy,
            store: StoreChoice::Default,
            options: Properties::new(),
            identity: Identity::Fresh,
            payload: Payload::Persistent,
        };
        self.engine.clone_container(&self.cx, &request)?;
        self.expected.insert((name.clone(), None), self.expected[place].clone());
        Ok(())
    }

    /// What a running container does.
    fn write(&mut self, place: &Place) -> Result<()> {
        let permit = self.engine.permit_start(&self.key(&place.0))?;
        let (text, volume) = (self.tick().to_string(), self.volumes()[place].clone());
        self.store.write(&volume, &text, text.as_bytes())?;
        self.expected.get_mut(place).unwrap().insert(text.clone().into(), text.into_bytes());
        drop(permit);
        Ok(())
    }

    fn restore(&mut self, place: &Place) -> Result<()> {
        let snapshot = place.1.clone().unwrap();
        self.engine.restore(&self.cx, &self.key(&place.0), &snapshot, &RestoreTarget::InPlace)?;
        self.expected.insert((place.0.clone(), None), self.expected[place].clone());
        Ok(())
    }

    fn rename(&mut self, old: &ContainerName, new: &ContainerName) -> Result<()> {
        self.engine.rename(&self.cx, &self.key(old), new)?;
        let places: Vec<_> = self.expected.keys().filter(|(name, _)| name == old).cloned().collect();
        for place in places {
            let content = self.expected.remove(&place).unwrap();
            self.expected.insert((new.clone(), place.1), content);
        }
        Ok(())
    }

    fn destroy(&mut self, place: &Place, scope: DestroyScope) -> Result<()> {
        let key = self.key(&place.0);
        if let Some(snapshot) = &place.1 {
            self.engine.destroy_snapshot(&self.cx, &key, snapshot)?;
            self.expected.remove(place);
            return Ok(());
        }
        let plan = self.engine.destroy(&self.cx, &key, scope)?;
        let mut gone = BTreeSet::from([place.clone()]);
        for step in plan.steps {
            match step.role {
                NodeRole::Head => gone.insert((step.container.name, None)),
                NodeRole::Snapshot(name) => gone.insert((step.container.name, Some(name))),
                NodeRole::Layer | NodeRole::Ghost => continue,
            };
        }
        assert!(scope == DestroyScope::WithDependents || gone.iter().all(|(name, _)| *name == place.0));
        self.expected.retain(|place, _| !gone.contains(place));
        Ok(())
    }

    fn check(&self, deed: &Deed) {
        assert_eq!(self.store.disk().violations(), Vec::<String>::new(), "{deed:?}");
        let volumes = self.volumes();
        let (there, wanted): (Vec<_>, Vec<_>) = (volumes.keys().collect(), self.expected.keys().collect());
        assert_eq!(there, wanted, "{deed:?}");
        for (place, volume) in &volumes {
            assert_eq!(self.store.contents(volume).unwrap(), self.expected[place], "{deed:?}: {place:?}");
        }
        let lineage = self.engine.lineage(self.lxcpath.path()).unwrap();
        let known: BTreeSet<VolumeId> = lineage.nodes().iter().map(|node| node.id).collect();
        assert_eq!(self.store.disk().ids(), known, "{deed:?} left or lost an object");
        assert!(lineage.garbage().is_empty(), "{deed:?} left garbage: {:#?}", lineage.tree());
        assert!(self.engine.gc(&self.cx).unwrap() == 0, "{deed:?} left an intent");
    }
}

/// What a user does next; numbers choose among what exists.
#[derive(Debug, Clone)]
enum Deed {
    Create,
    Snapshot(usize),
    Clone(usize),
    Write(usize),
    Restore(usize),
    Rename(usize),
    Flatten(usize),
    Destroy(usize, DestroyScope),
}

fn deed() -> impl Strategy<Value = Deed> {
    let scope = prop_oneof![
        Just(DestroyScope::Only),
        Just(DestroyScope::WithSnapshots),
        Just(DestroyScope::WithDependents)
    ];
    prop_oneof![
        1 => Just(Deed::Create),
        3 => any::<usize>().prop_map(Deed::Snapshot),
        3 => any::<usize>().prop_map(Deed::Clone),
        4 => any::<usize>().prop_map(Deed::Write),
        2 => any::<usize>().prop_map(Deed::Restore),
        1 => any::<usize>().prop_map(Deed::Rename),
        1 => any::<usize>().prop_map(Deed::Flatten),
        3 => (any::<usize>(), scope).prop_map(|(number, scope)| Deed::Destroy(number, scope)),
    ]
}

fn live(options: &ReferenceOptions, deeds: &[Deed]) {
    let mut world = World::new(options.clone());
    world.act(&Deed::Create).unwrap().unwrap();
    for deed in deeds {
        if let Some(Err(error)) = world.act(deed) {
            let refusals = [ErrorKind::HasDependents, ErrorKind::Unsupported];
            assert!(refusals.contains(&error.kind()), "{deed:?}: {error:?}");
        }
        world.check(deed);
    }
    while let Some(place) = world.head(0) {
        world.destroy(&place, DestroyScope::WithDependents).unwrap();
    }
    world.check(&Deed::Destroy(0, DestroyScope::WithDependents));
    assert!(world.store.disk().ids().is_empty(), "something is left");
}

/// Does a deed with an error at its `nth` step, if it has so many, lets recovery run, and takes over what became of it.
fn disturb(world: &mut World, deed: &Deed, nth: usize) {
    let (before, clock) = (world.expected.clone(), world.clock);
    world.cx = Context::new(Arc::new(Tripwire(AtomicUsize::new(nth))));
    let outcome = world.act(deed);
    world.cx = Context::default();
    let Some(Err(error)) = outcome else { return };
    world.engine.gc(&world.cx).unwrap();
    let volumes = world.volumes();
    if volumes.keys().eq(before.keys()) {
        if let (Deed::Restore(number), ErrorKind::Io) = (deed, error.kind()) {
            settle_restore(world, *number, &volumes);
        }
        return;
    }
    // It went forward: done is what an undisturbed world would have done.
    assert_eq!(error.kind(), ErrorKind::Io, "{deed:?}: a refusal changed something: {error:?}");
    let shown: BTreeMap<Place, TreeContent> = volumes
        .iter()
        .map(|(place, volume)| (place.clone(), world.store.contents(volume).unwrap()))
        .collect();
    let is_fresh = |place: &Place| format!("{place:?}").contains(&clock.wrapping_add(1).to_string());
    for (place, content) in &shown {
        match before.get(place) {
            Some(old) => assert_eq!(old, content, "{deed:?}: {place:?}"),
            None => assert!(is_fresh(place), "{deed:?}: {place:?} came from nowhere"),
        }
    }
    let lost = before.keys().any(|place| !shown.contains_key(place));
    assert!(
        !lost || matches!(deed, Deed::Destroy(..) | Deed::Rename(_)),
        "{deed:?} lost something: {error:?}"
    );
    world.expected = shown;
}

/// A restore was done if the head shows what the snapshot shows.
fn settle_restore(world: &mut World, number: usize, volumes: &BTreeMap<Place, Volume>) {
    let Some(snapshot) = world.pick(number, |(_, snapshot)| snapshot.is_some()) else { return };
    let head = (snapshot.0.clone(), None);
    let shown = world.store.contents(&volumes[&head]).unwrap();
    if shown == world.expected[&snapshot] {
        world.expected.insert(head, shown);
    }
}

fn live_disturbed(options: &ReferenceOptions, deeds: &[(Deed, usize)]) {
    let mut world = World::new(options.clone());
    world.act(&Deed::Create).unwrap().unwrap();
    for (deed, nth) in deeds {
        disturb(&mut world, deed, *nth);
        world.check(deed);
    }
}

fn quickly(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() }
}

macro_rules! histories {
    ($($(#[$attribute:meta])* $name:ident, $disturbed:ident: $options:expr;)*) => {
        proptest! {
            #![proptest_config(quickly(6))]
            $(
                $(#[$attribute])*
                #[test]
                fn $name(deeds in prop::collection::vec(deed(), 1..25)) {
                    live(&$options, &deeds);
                }

                $(#[$attribute])*
                #[test]
                fn $disturbed(deeds in prop::collection::vec((deed(), 1..14_usize), 1..15)) {
                    live_disturbed(&$options, &deeds);
                }
            )*
        }
    };
}

histories! {
    independent, independent_disturbed: ReferenceOptions::independent();
    independent_in_homes, independent_in_homes_disturbed: ReferenceOptions::independent().in_home();
    freezing, freezing_disturbed: ReferenceOptions::freezing();
    freezing_in_homes, freezing_in_homes_disturbed: ReferenceOptions::freezing().in_home();
    deferring, deferring_disturbed: ReferenceOptions::deferring();
    refusing, refusing_disturbed: ReferenceOptions::refusing();
    copying_in_homes, copying_in_homes_disturbed: ReferenceOptions::copying().in_home();
}
