//! The one way through a tree: parallel by directory, bounded in descriptors, whatever the depth.
//!
//! A [`Visit`] says what happens to entries; this module decides in which order, on which thread and with which open
//! directories. All threads share one stack of tasks (last in, first out, so that the walk goes deep before it goes
//! wide and few directories are open at a time). A directory with many entries becomes many tasks. A task keeps its
//! directory open while there is room below the limit; beyond it, the directory is opened again when the task's turn
//! comes, name by name from the nearest ancestor that is open. The way up needs no memory of descriptors either: `..`
//! of the child is opened and must be the directory that we came from.
//!
//! The first error stops every thread and is the walk's result. It locks only its own queue.

use std::ffi::{CStr, CString};
use std::num::NonZeroUsize;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;

use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use crate::entries::{Entry, as_path, read_entries};
use crate::error::{Result, TreeError};

mod queue;

use queue::Queue;

/// Entries of one directory that a thread takes at once.
const BATCH: usize = 128;
/// More threads than this only wait for each other in the file system.
const MOST_WORKERS: usize = 8;

/// What happens to the entries of a tree.
pub(crate) trait Visit: Sized + Sync {
    /// The descriptors of one open directory.
    type Handle: Send + Sync;
    /// What is remembered about a directory until everything below it is done.
    type Memory: Send + Sync;
    /// What one thread keeps to itself.
    type Worker;

    /// Whether [`Self::leave`] has anything to do.
    const LEAVES: bool;

    /// Returns what a new thread starts with.
    fn worker(&self) -> Self::Worker;
    /// Takes over what a thread gathered.
    fn retire(&self, worker: Self::Worker);
    /// Returns the directory whose names are visited.
    fn directory<'a>(&self, handle: &'a Self::Handle) -> BorrowedFd<'a>;
    /// Opens the directory `name` for the first time.
    fn enter(&self, worker: &mut Self::Worker, at: &Place<'_, Self>, name: &CStr) -> Result<Entered<Self>>;
    /// Opens a directory that was entered before.
    fn reopen(&self, parent: &Self::Handle, node: &Node<Self>) -> Result<Self::Handle>;
    /// Opens the directory above `child`, which must be `node`.
    fn climb(&self, child: &Self::Handle, node: &Node<Self>) -> Result<Self::Handle>;
    /// Does what is to be done to an entry that is not a directory.
    fn entry(&self, worker: &mut Self::Worker, at: &Place<'_, Self>, entry: &Entry) -> Result<()>;
    /// Does what is to be done to a directory when everything below it is done.
    fn leave(&self, worker: &mut Self::Worker, at: &Place<'_, Self>) -> Result<()>;
}

/// A directory that was just opened.
pub(crate) struct Entered<V: Visit> {
    pub(crate) handle: V::Handle,
    pub(crate) memory: V::Memory,
    pub(crate) content: Content,
}

/// Whether the entries of a directory are visited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    /// Yes.
    Visit,
    /// No: another file system is mounted there.
    Pass,
}

/// A directory of the tree: its name, what is above it, and how much below it is not done yet.
pub(crate) struct Node<V: Visit> {
    parent: Option<Arc<Self>>,
    name: CString,
    pub(crate) memory: V::Memory,
    pending: AtomicUsize,
    open: Mutex<Weak<Opened<V::Handle>>>,
}

/// An open directory that counts itself.
pub(crate) struct Opened<H> {
    pub(crate) handle: H,
    alive: Arc<AtomicUsize>,
}

/// Where a visitor stands.
pub(crate) struct Place<'a, V: Visit> {
    pub(crate) node: &'a Arc<Node<V>>,
    pub(crate) handle: &'a V::Handle,
}

impl<H> Opened<H> {
    fn new(handle: H, alive: &Arc<AtomicUsize>) -> Arc<Self> {
        alive.fetch_add(1, Ordering::Relaxed);
        Arc::new(Self { handle, alive: Arc::clone(alive) })
    }
}

impl<H> Drop for Opened<H> {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<V: Visit> Node<V> {
    fn new(
        parent: Option<Arc<Self>>,
        name: CString,
        memory: V::Memory,
        open: &Arc<Opened<V::Handle>>,
    ) -> Arc<Self> {
        let open = Mutex::new(Arc::downgrade(open));
        Arc::new(Self { parent, name, memory, pending: AtomicUsize::new(1), open })
    }

    /// Returns the name in the directory above; the root has none.
    pub(crate) fn name(&self) -> &CStr {
        &self.name
    }

    /// Returns an error of `call` on this directory.
    pub(crate) fn error(&self, call: &'static str) -> impl Fn(Errno) -> TreeError + Copy {
        move |errno| TreeError::Call { call, path: self.path(), errno }
    }

    /// Returns whether it is the root of the walk.
    pub(crate) fn is_root(&self) -> bool {
        self.parent.is_none()
    }

    /// Returns the path from the root, for messages; `.` is the root itself.
    pub(crate) fn path(&self) -> PathBuf {
        let mut names = Vec::new();
        let mut node = self;
        while let Some(parent) = &node.parent {
            names.push(as_path(&node.name));
            node = parent;
        }
        if names.is_empty() { PathBuf::from(".") } else { names.into_iter().rev().collect() }
    }

    /// Returns the path of an entry, for messages.
    pub(crate) fn path_of(&self, name: &CStr) -> PathBuf {
        if self.is_root() { as_path(name).to_owned() } else { self.path().join(as_path(name)) }
    }

    fn opened(&self) -> Option<Arc<Opened<V::Handle>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
    }

    fn remember(&self, open: &Arc<Opened<V::Handle>>) {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(open);
    }

    fn has_finished_one(&self) -> bool {
        self.pending.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

impl<V: Visit> Drop for Node<V> {
    /// Lets go of the ancestors one by one: recursion would overflow the stack in a very deep tree.
    fn drop(&mut self) {
        let mut above = self.parent.take();
        while let Some(node) = above {
            above = Arc::into_inner(node).and_then(|mut node| node.parent.take());
        }
    }
}

impl<V: Visit> Place<'_, V> {
    /// Returns an error of `call` on an entry of this directory.
    pub(crate) fn error(&self, call: &'static str, name: &CStr) -> impl FnOnce(Errno) -> TreeError {
        move |errno| TreeError::Call { call, path: self.node.path_of(name), errno }
    }

    /// Returns an error of `call` on this directory itself.
    pub(crate) fn own_error(&self, call: &'static str) -> impl FnOnce(Errno) -> TreeError {
        self.node.error(call)
    }
}

/// Opens a directory that was entered before, from the nearest ancestor that is still open.
pub(crate) fn reach<V: Visit>(visit: &V, node: &Arc<Node<V>>) -> Result<Arc<Opened<V::Handle>>> {
    let mut closed = Vec::new();
    let mut ancestor = node;
    let mut open = loop {
        if let Some(open) = ancestor.opened() {
            break open;
        }
        closed.push(ancestor);
        // The walk itself holds the root, so this ends there.
        ancestor = ancestor.parent.as_ref().ok_or_else(|| TreeError::Moved { path: node.path() })?;
    };
    for node in closed.into_iter().rev() {
        open = Opened::new(visit.reopen(&open.handle, node)?, &open.alive);
        node.remember(&open);
    }
    Ok(open)
}

/// Something to do.
enum Task<V: Visit> {
    /// Open a directory for the first time and visit what is in it.
    Enter { parent: Arc<Node<V>>, open: Option<Arc<Opened<V::Handle>>>, name: CString },
    /// Visit some entries of a directory.
    Entries { node: Arc<Node<V>>, open: Arc<Opened<V::Handle>>, entries: Vec<Entry> },
}

/// How a tree is walked.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct WalkOptions<'a> {
    pub(crate) workers: Option<NonZeroUsize>,
    /// Names directly below the root that are passed over.
    pub(crate) exclude: &'a [&'a std::ffi::OsStr],
}

struct Walk<'a, V: Visit> {
    visit: &'a V,
    queue: Queue<Task<V>>,
    most_open: usize,
}

/// Walks the tree below `root`; when everything is done, `then` is called while the root is still open.
pub(crate) fn walk<V: Visit>(
    visit: &V,
    root: V::Handle,
    memory: V::Memory,
    options: WalkOptions<'_>,
    then: impl FnOnce(&V) -> Result<()>,
) -> Result<()> {
    let open = Opened::new(root, &Arc::default());
    let node = Node::new(None, CString::default(), memory, &open);
    let walk = Walk { visit, queue: Queue::new(), most_open: most_open() };
    let mut worker = visit.worker();
    walk.scan(&mut worker, node, Arc::clone(&open), options.exclude)?;
    // A tree without directories and with few files is done by now.
    let helpers = if walk.queue.is_empty() { 0 } else { workers(options.workers).get() - 1 };
    thread::scope(|scope| {
        for _ in 0..helpers {
            // A thread that cannot be started is not missed: this one does the whole walk if need be.
            let started = thread::Builder::new().spawn_scoped(scope, || {
                let mut worker = visit.worker();
                walk.work(&mut worker);
                visit.retire(worker);
            });
            if started.is_err() {
                break;
            }
        }
        walk.work(&mut worker);
        visit.retire(worker);
    });
    walk.queue.result()?;
    then(visit)
}

/// Returns how many threads to use: twice the processors, since half of them wait for the disk.
fn workers(wanted: Option<NonZeroUsize>) -> NonZeroUsize {
    wanted.unwrap_or_else(|| {
        let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        NonZeroUsize::new((2 * processors).min(MOST_WORKERS)).unwrap_or(NonZeroUsize::MIN)
    })
}

/// Returns how many directories may stay open: a quarter of what the process may have, since it needs some itself.
fn most_open() -> usize {
    let limit = getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit).ok());
    (limit.unwrap_or(1024) / 8).clamp(8, 256)
}

impl<V: Visit> Walk<'_, V> {
    fn work(&self, worker: &mut V::Worker) {
        while let Some((task, receipt)) = self.queue.take() {
            receipt.finish(self.process(worker, task));
        }
    }

    fn process(&self, worker: &mut V::Worker, task: Task<V>) -> Result<()> {
        match task {
            Task::Enter { parent, open, name } => {
                let above = open.map_or_else(|| reach(self.visit, &parent), Ok)?;
                let entered =
                    self.visit.enter(worker, &Place { node: &parent, handle: &above.handle }, &name)?;
                let open = Opened::new(entered.handle, &above.alive);
                drop(above);
                let node = Node::new(Some(parent), name, entered.memory, &open);
                match entered.content {
                    Content::Visit => self.scan(worker, node, open, &[]),
                    Content::Pass => self.complete(worker, node, open),
                }
            }
            Task::Entries { node, open, entries } => self.entries(worker, node, open, entries),
        }
    }

    /// Reads a directory, hands out most of it, and does the rest at once.
    fn scan(
        &self,
        worker: &mut V::Worker,
        node: Arc<Node<V>>,
        open: Arc<Opened<V::Handle>>,
        exclude: &[&std::ffi::OsStr],
    ) -> Result<()> {
        let directory = self.visit.directory(&open.handle);
        let mut entries = read_entries(directory).map_err(|errno| TreeError::Call {
            call: "getdents64",
            path: node.path(),
            errno,
        })?;
        if !exclude.is_empty() {
            entries.retain(|entry| !exclude.iter().any(|name| Path::new(name) == as_path(&entry.name)));
        }
        let (directories, mut others): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| entry.kind == FileType::Directory);
        let has_room = open.alive.load(Ordering::Relaxed) <= self.most_open;
        let mut tasks = Vec::new();
        while has_room && others.len() > BATCH {
            let entries = others.split_off(others.len() - BATCH);
            tasks.push(Task::Entries { node: Arc::clone(&node), open: Arc::clone(&open), entries });
        }
        tasks.extend(directories.into_iter().map(|entry| Task::Enter {
            parent: Arc::clone(&node),
            open: has_room.then(|| Arc::clone(&open)),
            name: entry.name,
        }));
        node.pending.fetch_add(tasks.len(), Ordering::AcqRel);
        self.queue.add(tasks);
        self.entries(worker, node, open, others)
    }

    fn entries(
        &self,
        worker: &mut V::Worker,
        node: Arc<Node<V>>,
        open: Arc<Opened<V::Handle>>,
        entries: Vec<Entry>,
    ) -> Result<()> {
        let place = Place { node: &node, handle: &open.handle };
        for entry in entries {
            if self.queue.is_stopped() {
                return Ok(());
            }
            self.visit.entry(worker, &place, &entry)?;
        }
        self.complete(worker, node, open)
    }

    /// Counts one thing below `node` as done, and leaves every directory in which that was the last.
    fn complete(
        &self,
        worker: &mut V::Worker,
        mut node: Arc<Node<V>>,
        mut open: Arc<Opened<V::Handle>>,
    ) -> Result<()> {
        while V::LEAVES && node.has_finished_one() {
            self.visit.leave(worker, &Place { node: &node, handle: &open.handle })?;
            let Some(parent) = node.parent.clone() else { break };
            open = match parent.opened() {
                Some(open) => open,
                None => Opened::new(self.visit.climb(&open.handle, &parent)?, &open.alive),
            };
            node = parent;
        }
        Ok(())
    }
}
