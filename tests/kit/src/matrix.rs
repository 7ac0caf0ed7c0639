//! The matrix of copies: a container in every store, cloned into every other, and compared entry by entry.
//!
//! One engine serves all stores, each with an lxcpath and a pool of its own, as on a machine that has them all. The tree holds every
//! feature of the section *fidelity* but a directory of ten thousand entries; what is compared is what `keiki_tree` describes, and that
//! files with holes take no more room than their data. Where a target cannot hold something, the cell says what. The table is for
//! `docs/copies.md` (`tests/suites/copies.sh`).

use std::collections::BTreeMap;
use std::fmt::Write;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use keiki_core::capability::Cost;
use keiki_core::context::Context;
use keiki_core::engine::{
    CloneContainer, CloneMode, ContainerKey, CreateContainer, DestroyScope, Engine, EngineOptions, Fill,
    Identity, Payload,
};
use keiki_core::mount_plan::{AttachMode, execute};
use keiki_core::name::ContainerName;
use keiki_core::registry::{Registry, StoreChoice};
use keiki_core::{Error, Result};
use keiki_tree::Description;
use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::bench::Tree;
use crate::rig::{Ground, Rig, in_tree, namespace};
use crate::verdict::{Failure, Verdict};
use crate::yard::{Idle, PATIENCE};
use crate::{claim, fidelity, leak};

/// The rigs, in the order of the table.
const RIGS: [&str; 7] =
    ["dir@native", "overlay@native", "btrfs@btrfs", "loop@native", "lvm-plain@vm", "lvm-thin@vm", "zfs@vm"];

/// Files with holes, below the root; each has a few blocks of data.
const SPARSE: [&str; 2] = ["holes_read_as_zeros/sparse", "a_file_that_is_one_hole_is_kept/hole"];

/// What a file with holes may take: its data, in records of 128 KiB on zfs, and what a file system keeps beside it.
const SPARSE_MAX: u64 = 512 << 10;

/// One store with its ground.
#[derive(Debug)]
struct Place {
    rig: Box<dyn Rig>,
    ground: std::result::Result<Ground, String>,
}

impl Place {
    fn word(&self) -> String {
        self.rig.name().split('@').next().unwrap_or_default().to_owned()
    }

    fn key(&self, name: &str) -> Verdict<ContainerKey> {
        let ground = self.ground.as_ref().map_err(|needs| Failure::new(needs.clone()))?;
        Ok(ContainerKey { lxcpath: ground.lxcpath(), name: ContainerName::parse(name)? })
    }
}

/// What became of one copy.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Cell {
    /// The trees are equal.
    Equal(Cost),
    /// The machine lacks something.
    Skipped,
    /// They are not.
    Failed,
}

/// Every store, an engine over all of them, and what was found.
#[derive(Debug)]
struct Matrix {
    engine: Engine,
    cells: Mutex<BTreeMap<(usize, usize), Cell>>,
    sources: Mutex<BTreeMap<usize, Description>>,
    // In order of dropping: a ground goes before the rig that made it.
    places: Vec<Place>,
}

/// Runs the matrix and ends the process with the result; the table goes to standard output.
pub fn matrix() -> ! {
    let mut arguments = Arguments::from_args();
    // A cell is the comparison of two whole trees: one after the other, and the last looks at what is left.
    arguments.test_threads = Some(1);
    let missing = namespace::enter().err().map(|missing| missing.0);
    let opened = if arguments.list { None } else { Some(Matrix::open(missing.as_deref()).map(Arc::new)) };
    let opened = opened.transpose().map_err(|failure| failure.to_string());
    let trials = trials(&opened);
    let conclusion = libtest_mimic::run(&arguments, trials);
    if let Ok(Some(matrix)) = opened {
        matrix.print();
    }
    conclusion.exit()
}

fn trials(opened: &std::result::Result<Option<Arc<Matrix>>, String>) -> Vec<Trial> {
    let word = |index: usize| RIGS[index].split('@').next().unwrap_or_default();
    let mut trials = Vec::new();
    for (from, to) in (0..RIGS.len()).flat_map(|from| (0..RIGS.len()).map(move |to| (from, to))) {
        let name = format!("copies::{}_to_{}_is_the_same_tree", word(from), word(to)).replace('-', "_");
        let opened = opened.clone();
        trials.push(Trial::ignorable_test(name, move || match opened? {
            Some(matrix) => matrix.show(from, to),
            None => Ok(Completion::Completed),
        }));
    }
    let opened = opened.clone();
    trials.push(Trial::test("copies::nothing_is_left_in_any_store", move || match opened? {
        Some(matrix) => Ok(matrix.close()?),
        None => Ok(()),
    }));
    trials
}

/// Builds everything that a tree can hold.
#[derive(Debug)]
struct Everything;

impl Fill for Everything {
    fn fill(&mut self, _context: &Context, root: BorrowedFd<'_>) -> Result<()> {
        fidelity::everything(&PathBuf::from(format!("/proc/self/fd/{}", root.as_raw_fd())))
            .map_err(|e| Error::io("cannot build the tree", e))
    }
}

impl Matrix {
    fn open(missing: Option<&str>) -> Verdict<Self> {
        let mut known = in_tree();
        let mut places = Vec::new();
        for name in RIGS {
            let found = known.iter().position(|rig| rig.name() == name);
            let rig = known.remove(found.ok_or_else(|| Failure::new(format!("no rig `{name}`")))?);
            let ground = match missing {
                Some(missing) => Err(missing.to_owned()),
                None => rig.fresh_pool().map_err(|missing| missing.0),
            };
            places.push(Place { rig, ground });
        }
        let state = places.iter().find_map(|place| Some(place.ground.as_ref().ok()?.state()));
        let engine = Engine::open(EngineOptions {
            registry: registry(&places),
            state: state.unwrap_or_else(|| std::env::temp_dir().join("keiki-matrix")),
            activity: Arc::new(Idle),
            editor: Arc::new(crate::editor::LineEditor),
            lock_wait: PATIENCE,
        })?;
        Ok(Self { engine, cells: Mutex::default(), sources: Mutex::default(), places })
    }

    fn show(&self, from: usize, to: usize) -> std::result::Result<Completion, Failed> {
        for place in [&self.places[from], &self.places[to]] {
            if let Err(needs) = &place.ground {
                self.note(from, to, Cell::Skipped);
                return Ok(Completion::ignored_with(format!("needs {needs}")));
            }
        }
        match self.copy(from, to) {
            Ok(cost) => {
                self.note(from, to, Cell::Equal(cost));
                Ok(Completion::Completed)
            }
            Err(failure) => {
                self.note(from, to, Cell::Failed);
                Err(failure.into())
            }
        }
    }

    fn note(&self, from: usize, to: usize, cell: Cell) {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner).insert((from, to), cell);
    }

    /// Clones the source of one store into another, as `keiki clone --bdev` does, and compares.
    fn copy(&self, from: usize, to: usize) -> Verdict<Cost> {
        let before = self.source(from)?;
        let (source, target) = (self.places[from].key("source")?, self.places[to].key("copy")?);
        let ground = self.places[to].ground.as_ref().map_err(|needs| Failure::new(needs.clone()))?;
        let request = CloneContainer {
            source: source.clone(),
            snapshot: None,
            targets: vec![target.clone()],
            mode: CloneMode::Copy,
            store: StoreChoice::FirstOf(vec![self.places[to].rig.store().kind()]),
            options: ground.options().clone(),
            identity: Identity::Fresh,
            payload: Payload::Persistent,
        };
        let outcomes = self.engine.clone_container(&Context::default(), &request)?;
        let cost = outcomes.first().map(|outcome| outcome.cost);
        let compared = self.compare(&target, &before, "the copy");
        self.engine.destroy(&Context::default(), &target, DestroyScope::Only)?;
        compared?;
        self.compare(&source, &before, "the source afterwards")?;
        cost.ok_or_else(|| Failure::new("the clone tells no cost"))
    }

    /// Returns what the source of a store holds, which is made when it is first asked for.
    fn source(&self, from: usize) -> Verdict<Description> {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = sources.get(&from) {
            return Ok(known.clone());
        }
        let (place, key) = (&self.places[from], self.places[from].key("source")?);
        let ground = place.ground.as_ref().map_err(|needs| Failure::new(needs.clone()))?;
        let request = CreateContainer {
            key: key.clone(),
            store: StoreChoice::FirstOf(vec![place.rig.store().kind()]),
            options: ground.options().clone(),
            config: Vec::new(),
            fill: Some(&mut Everything),
        };
        self.engine.create(&Context::default(), request)?;
        let described = self.look(&key, |tree| tree.describe())?;
        sources.insert(from, described.clone());
        Ok(described)
    }

    fn compare(&self, key: &ContainerKey, before: &Description, what: &str) -> Verdict<()> {
        let (after, rooms) = self.look(key, |tree| Ok((tree.describe()?, rooms(&tree.path())?)))?;
        let differences: Vec<String> = before.diff(&after).iter().take(8).map(ToString::to_string).collect();
        claim!(differences.is_empty(), "{what}: {}", differences.join("; "));
        claim!(before.hash() == after.hash(), "{what}: the trees have two hashes and no difference");
        for (file, bytes) in rooms {
            claim!(bytes <= SPARSE_MAX, "{what}: `{file}` takes {bytes} bytes: its holes were filled");
        }
        Ok(())
    }

    fn look<T>(&self, key: &ContainerKey, see: impl FnOnce(&Tree) -> Verdict<T>) -> Verdict<T> {
        let plan = self.engine.attach(&Context::default(), key, AttachMode::ReadOnly)?;
        let seen = execute(&plan).map_err(Failure::from).and_then(|mount| see(&Tree::open(mount)?));
        let record = self.engine.container(key)?;
        if let Some(volume) = record.volume {
            let place = self.places.iter().find(|place| place.rig.store().kind() == *volume.kind());
            let runtime = tokio::runtime::Builder::new_current_thread().build()?;
            if let Some(place) = place {
                runtime.block_on(place.rig.store().detach(&Context::default(), &volume))?;
            }
        }
        seen
    }

    /// Destroys the sources, and looks at what is left.
    fn close(&self) -> Verdict<()> {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        for from in std::mem::take(&mut *sources).into_keys() {
            self.engine.destroy(
                &Context::default(),
                &self.places[from].key("source")?,
                DestroyScope::Only,
            )?;
        }
        for place in &self.places {
            let Ok(ground) = &place.ground else { continue };
            let left = place.rig.objects(ground)?;
            claim!(left.is_empty(), "left in the pool of {}: {left:?}", place.rig.name());
            // The catalogue is open as long as the engine is.
            let held = place.rig.held(ground)?;
            claim!(held.is_empty(), "left by {}: {held:?}", place.rig.name());
            let loops = leak::loop_devices_that_stay(ground.root());
            claim!(loops.is_empty(), "left by {}: {loops:?}", place.rig.name());
        }
        Ok(())
    }

    #[expect(clippy::print_stdout, reason = "the table is what the program is for")]
    fn print(&self) {
        println!("{}", self.table());
    }

    /// Returns the table in Markdown.
    fn table(&self) -> String {
        let cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        let words: Vec<String> = self.places.iter().map(Place::word).collect();
        let mut text = format!("| from, to | {} |\n|---|{}", words.join(" | "), "---|".repeat(words.len()));
        for (from, word) in words.iter().enumerate() {
            let row: Vec<&str> = (0..words.len()).map(|to| shown(cells.get(&(from, to)))).collect();
            let _infallible = write!(text, "\n| {word} | {} |", row.join(" | "));
        }
        text.push('\n');
        text
    }
}

fn shown(cell: Option<&Cell>) -> &'static str {
    match cell {
        Some(Cell::Equal(Cost::PerEntry)) => "equal, reflinked",
        Some(Cell::Equal(Cost::Constant)) => "equal, shared",
        Some(Cell::Equal(Cost::PerByte)) => "equal",
        Some(Cell::Failed) => "**not equal**",
        Some(Cell::Skipped) | None => "–",
    }
}

fn registry(places: &[Place]) -> Registry {
    let mut kinds = Vec::new();
    places.iter().fold(Registry::new(), |registry, place| {
        let store = place.rig.store();
        if kinds.contains(&store.kind()) {
            return registry;
        }
        kinds.push(store.kind());
        registry.with(store)
    })
}

/// Returns what each file with holes takes.
fn rooms(root: &Path) -> Verdict<Vec<(&'static str, u64)>> {
    let room = |file: &'static str| Ok((file, std::fs::metadata(root.join(file))?.blocks() * 512));
    SPARSE.into_iter().map(room).collect()
}
