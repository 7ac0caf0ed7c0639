//! The reference store keeps the contract's own words: idempotency, foreignness, faults, lineage.

use std::future::Future;

use super::*;
use crate::name::{ContainerName, SnapshotName};
use crate::store::CloneJob;
use crate::volume::{Properties, VolumeId};

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

struct Bench {
    store: ReferenceStore,
    cx: Context,
    home: tempfile::TempDir,
}

impl Bench {
    fn new(options: ReferenceOptions) -> Self {
        let store = ReferenceStore::new(options, &ReferenceDisk::new());
        Self { store, cx: Context::default(), home: tempfile::tempdir().unwrap() }
    }

    fn placement(&self, name: &str, role: VolumeRole) -> Placement {
        let home = self.home.path().join(name);
        std::fs::create_dir_all(&home).unwrap();
        let container = ContainerName::parse(name).unwrap();
        Placement { id: VolumeId::generate(), container, role, home, options: Properties::new() }
    }

    fn volume(&self, name: &str, role: VolumeRole, origin: Option<&Volume>) -> Volume {
        let placement = self.placement(name, role);
        Volume::new(placement.id, self.store.place(&placement, origin).unwrap())
    }

    fn head(&self, name: &str) -> Volume {
        let volume = self.volume(name, VolumeRole::Head, None);
        wait(self.store.create(&self.cx, &volume)).unwrap();
        volume
    }

    fn clone_of(&self, source: &Volume, name: &str) -> Volume {
        let target = self.volume(name, VolumeRole::Head, Some(source));
        let jobs = [CloneJob { target: target.clone() }];
        wait(self.any().clones().unwrap().clone_from(&self.cx, source, &jobs)).remove(0).unwrap();
        target
    }

    /// The store as the engine sees it: groups are reached through the contract.
    fn any(&self) -> &dyn BackingStore {
        &self.store
    }

    fn file(&self, volume: &Volume, path: &str) -> Option<String> {
        let contents = self.store.contents(volume).unwrap();
        contents.get(Path::new(path)).map(|bytes| String::from_utf8(bytes.clone()).unwrap())
    }

    fn destroy(&self, volume: &Volume) -> Result<Destroyed> {
        wait(self.store.destroy(&self.cx, volume))
    }
}

fn every_lineage() -> Vec<ReferenceOptions> {
    let named = [
        ReferenceOptions::independent(),
        ReferenceOptions::freezing(),
        ReferenceOptions::deferring(),
        ReferenceOptions::refusing(),
        ReferenceOptions::copying(),
    ];
    named.iter().cloned().chain(named.iter().cloned().map(ReferenceOptions::in_home)).collect()
}

#[test]
fn create_and_destroy_may_be_repeated() {
    for options in every_lineage() {
        let bench = Bench::new(options);
        let volume = bench.head("a");
        bench.store.write(&volume, "x", b"1").unwrap();
        wait(bench.store.create(&bench.cx, &volume)).unwrap();
        assert_eq!(bench.file(&volume, "x").as_deref(), Some("1"), "a repeated create changes nothing");
        assert_eq!(wait(bench.store.probe(&volume)).unwrap(), Presence::Complete(volume.id));
        assert_eq!(bench.destroy(&volume).unwrap(), Destroyed::Removed);
        assert_eq!(bench.destroy(&volume).unwrap(), Destroyed::Absent);
        assert_eq!(wait(bench.store.probe(&volume)).unwrap(), Presence::Absent);
        assert!(bench.store.disk().ids().is_empty());
    }
}

#[test]
fn an_object_that_is_not_ours_is_left_alone() {
    for options in every_lineage() {
        let bench = Bench::new(options);
        let volume = bench.volume("a", VolumeRole::Head, None);
        bench.store.disk().plant_foreign(&volume.source).unwrap();
        assert_eq!(wait(bench.store.create(&bench.cx, &volume)).unwrap_err().kind(), ErrorKind::Foreign);
        assert_eq!(bench.destroy(&volume).unwrap_err().kind(), ErrorKind::Foreign);
        assert_eq!(wait(bench.store.probe(&volume)).unwrap(), Presence::Foreign);
        let pool = Pool { path: bench.home.path().to_owned(), options: Properties::new() };
        assert!(wait(bench.store.list(&pool)).unwrap().is_empty());
        wait(bench.store.adopt(&bench.cx, &volume, None)).unwrap();
        let found = wait(bench.store.list(&pool)).unwrap();
        assert_eq!(found, [Found { id: volume.id, source: volume.source.clone() }]);
        let other = Volume::new(VolumeId::generate(), volume.source.clone());
        assert_eq!(bench.destroy(&other).unwrap_err().kind(), ErrorKind::Foreign);
    }
}

#[test]
fn clones_begin_as_their_source_and_go_their_own_way() {
    for options in every_lineage() {
        let bench = Bench::new(options);
        let source = bench.head("a");
        bench.store.write(&source, "etc/x", b"old").unwrap();
        let clone = bench.clone_of(&source, "b");
        bench.store.write(&clone, "etc/x", b"new").unwrap();
        bench.store.write(&clone, "y", b"y").unwrap();
        assert_eq!(bench.file(&source, "etc/x").as_deref(), Some("old"));
        assert_eq!(bench.file(&clone, "etc/x").as_deref(), Some("new"));
        bench.store.remove(&clone, "etc/x").unwrap();
        assert_eq!(bench.file(&clone, "etc/x"), None);
        assert_eq!(bench.store.disk().violations(), Vec::<String>::new());
    }
}

#[test]
fn a_write_to_a_frozen_parent_shows_through_and_is_a_violation() {
    let bench = Bench::new(ReferenceOptions::freezing());
    let source = bench.head("a");
    let clone = bench.clone_of(&source, "b");
    bench.store.write(&source, "x", b"1").unwrap();
    assert_eq!(bench.file(&clone, "x").as_deref(), Some("1"));
    assert_eq!(bench.store.disk().violations().len(), 1);
    let free = Bench::new(ReferenceOptions::deferring());
    let source = free.head("a");
    let clone = free.clone_of(&source, "b");
    free.store.write(&source, "x", b"1").unwrap();
    assert_eq!(free.file(&clone, "x"), None);
    assert!(free.store.disk().violations().is_empty());
}

#[test]
fn destroying_a_parent_of_dependents_is_a_violation_that_changes_nothing() {
    for (options, refused) in [
        (ReferenceOptions::freezing(), true),
        (ReferenceOptions::deferring(), true),
        (ReferenceOptions::refusing(), true),
        (ReferenceOptions::independent(), false),
    ] {
        let bench = Bench::new(options);
        let source = bench.head("a");
        bench.store.write(&source, "x", b"1").unwrap();
        let clone = bench.clone_of(&source, "b");
        assert_eq!(bench.destroy(&source).is_err(), refused);
        assert_eq!(bench.store.disk().violations().len(), usize::from(refused));
        assert_eq!(bench.file(&clone, "x").as_deref(), Some("1"));
    }
}

#[test]
fn what_a_store_lacks_is_refused_in_its_own_words() {
    let bench = Bench::new(ReferenceOptions::refusing());
    let source = bench.head("a");
    let snapshot = bench.volume("a", VolumeRole::Snapshot(SnapshotName::parse("s").unwrap()), Some(&source));
    let group = bench.any().snapshots().unwrap();
    wait(group.snapshot(&bench.cx, &source, &snapshot)).unwrap();
    let second = bench.volume("a", VolumeRole::Snapshot(SnapshotName::parse("t").unwrap()), Some(&snapshot));
    let error = wait(group.snapshot(&bench.cx, &snapshot, &second)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("`reference`"), "{error}");
    let error = wait(bench.store.attach(&bench.cx, &source, AttachMode::ReadWrite)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let bare = Bench::new(ReferenceOptions::independent().without(Group::Clones).without(Group::Snapshots));
    assert!(
        bare.any().clones().is_none() && bare.any().snapshots().is_none() && bare.any().resize().is_some()
    );
    let mut placement = bench.placement("c", VolumeRole::Head);
    placement.options.insert("vgname".into(), "x".into());
    assert_eq!(bench.store.place(&placement, None).unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[test]
fn a_chain_is_as_deep_as_allowed_and_a_long_one_is_read_without_recursion() {
    let mut options = ReferenceOptions::freezing();
    options.capabilities.max_depth = Some(2_000);
    let bench = Bench::new(options);
    let mut last = bench.head("a");
    bench.store.write(&last, "x", b"deep").unwrap();
    for _ in 0..2_000 {
        last = bench.clone_of(&last, "b");
    }
    assert_eq!(bench.file(&last, "x").as_deref(), Some("deep"));
    let error = bench.store.place(&bench.placement("c", VolumeRole::Head), Some(&last)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
}

#[test]
fn an_exchange_swaps_places_and_a_rename_moves_one() {
    for options in [ReferenceOptions::independent(), ReferenceOptions::independent().in_home()] {
        let bench = Bench::new(options);
        let (a, b) = (bench.head("a"), bench.head("b"));
        wait(bench.any().exchange().unwrap().exchange(&bench.cx, &a, &b)).unwrap();
        assert_eq!(wait(bench.store.probe(&a)).unwrap(), Presence::Complete(b.id));
        assert_eq!(wait(bench.store.probe(&b)).unwrap(), Presence::Complete(a.id));
        let Some(group) = bench.any().rename() else { continue };
        let moved = Volume::new(b.id, a.source.clone());
        let target = VolumeSource::new(bench.store.kind(), "c").unwrap();
        for _ in 0..2 {
            wait(group.rename(&bench.cx, &moved, &target)).unwrap();
        }
        assert_eq!(wait(bench.store.probe(&a)).unwrap(), Presence::Absent);
    }
}

#[test]
fn faults_strike_once_before_in_the_middle_or_after() {
    for (moment, left) in
        [(Moment::Before, None), (Moment::Halfway, Some(false)), (Moment::After, Some(true))]
    {
        let bench = Bench::new(ReferenceOptions::independent());
        let volume = bench.volume("a", VolumeRole::Head, None);
        let fault = Fault { verb: Verb::Create, nth: 1, moment, kind: ErrorKind::NoSpace };
        bench.store.disk().plant(fault);
        let error = wait(bench.store.create(&bench.cx, &volume)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoSpace);
        let expected = match left {
            None => Presence::Absent,
            Some(false) => Presence::Partial,
            Some(true) => Presence::Complete(volume.id),
        };
        assert_eq!(wait(bench.store.probe(&volume)).unwrap(), expected);
        wait(bench.store.create(&bench.cx, &volume)).unwrap();
        assert_eq!(wait(bench.store.probe(&volume)).unwrap(), Presence::Complete(volume.id));
    }
}

#[test]
fn a_home_takes_its_volume_along() {
    let bench = Bench::new(ReferenceOptions::independent().in_home());
    let volume = bench.head("a");
    bench.store.write(&volume, "x", b"1").unwrap();
    std::fs::rename(bench.home.path().join("a"), bench.home.path().join("b")).unwrap();
    let mut placement = bench.placement("b", VolumeRole::Head);
    placement.id = volume.id;
    let moved = Volume::new(volume.id, bench.store.place(&placement, None).unwrap());
    assert_eq!(bench.file(&moved, "x").as_deref(), Some("1"));
    assert_eq!(wait(bench.store.probe(&volume)).unwrap(), Presence::Absent);
}

#[test]
fn usage_tells_what_is_shown_and_what_is_held() {
    let bench = Bench::new(ReferenceOptions::freezing());
    let source = bench.head("a");
    bench.store.write(&source, "x", b"12345").unwrap();
    let clone = bench.clone_of(&source, "b");
    bench.store.write(&clone, "y", b"1").unwrap();
    let absent = bench.volume("c", VolumeRole::Head, None);
    let usage = wait(bench.store.usage(&bench.cx, &[clone, absent])).unwrap();
    assert_eq!(usage[0].referenced.map(|bytes| bytes.0), Some(6));
    assert_eq!(usage[0].exclusive.map(|bytes| bytes.0), Some(1));
    assert_eq!(usage[1], Usage::default());
}

#[test]
fn a_power_cut_takes_what_no_barrier_made_stable() {
    let bench = Bench::new(ReferenceOptions::deferring().unsynced());
    let (kept, lost) = (bench.head("a"), bench.volume("b", VolumeRole::Head, None));
    bench.store.write(&kept, "x", b"1").unwrap();
    wait(bench.store.sync_barrier(&bench.cx, std::slice::from_ref(&kept))).unwrap();
    bench.store.write(&kept, "x", b"2").unwrap();
    wait(bench.store.create(&bench.cx, &lost)).unwrap();
    bench.store.disk().cut_power();
    assert_eq!(bench.file(&kept, "x").as_deref(), Some("1"));
    assert_eq!(wait(bench.store.probe(&lost)).unwrap(), Presence::Absent);
    bench.destroy(&kept).unwrap();
    bench.store.disk().cut_power();
    assert_eq!(bench.file(&kept, "x").as_deref(), Some("1"), "an unsynced removal is undone");
    bench.destroy(&kept).unwrap();
    wait(bench.store.sync_barrier(&bench.cx, &[kept])).unwrap();
    bench.store.disk().cut_power();
    assert!(bench.store.disk().ids().is_empty());
}

#[test]
fn a_durable_store_survives_a_power_cut_after_every_verb() {
    let bench = Bench::new(ReferenceOptions::deferring());
    let (a, b) = (bench.head("a"), bench.head("b"));
    let clone = bench.clone_of(&a, "c");
    wait(bench.any().exchange().unwrap().exchange(&bench.cx, &a, &b)).unwrap();
    let moved = Volume::new(clone.id, VolumeSource::new(bench.store.kind(), "d").unwrap());
    wait(bench.any().rename().unwrap().rename(&bench.cx, &clone, &moved.source)).unwrap();
    bench.store.disk().cut_power();
    assert_eq!(wait(bench.store.probe(&a)).unwrap(), Presence::Complete(b.id));
    assert_eq!(wait(bench.store.probe(&moved)).unwrap(), Presence::Complete(clone.id));
    assert_eq!(wait(bench.store.probe(&clone)).unwrap(), Presence::Absent);
}
