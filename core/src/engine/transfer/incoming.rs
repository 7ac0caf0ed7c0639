//! What a stream that was cut left: a directory that no list shows, with a container in it and a note of how far it came.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Pending;
use super::manifest::Manifest;
use super::token::{Continuation, Inner, Place};
use crate::context::Context;
use crate::engine::request::{ContainerKey, DestroyScope};
use crate::engine::{Engine, home};
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::name::ContainerName;
use crate::volume::{Properties, StoreKind, VolumeId};

/// How far a stream came.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Progress {
    pub(super) manifest: Manifest,
    /// The name that the container will have.
    pub(super) name: ContainerName,
    pub(super) store: StoreKind,
    pub(super) options: Properties,
    /// Sections that are here.
    pub(super) done: usize,
    /// How much of the next one is here.
    pub(super) place: Place,
}

/// The directory of one stream, held by whoever receives.
#[derive(Debug)]
pub(super) struct Incoming {
    directory: PathBuf,
    lxcpath: PathBuf,
    pub(super) progress: Progress,
    _held: File,
}

fn directory(lxcpath: &Path, stream: VolumeId) -> PathBuf {
    lxcpath.join(home::OURS).join("incoming").join(stream.to_string())
}

impl Incoming {
    /// Begins a new one.
    pub(super) fn make(lxcpath: &Path, progress: Progress) -> Result<Self> {
        let directory = directory(lxcpath, progress.manifest.stream);
        home::make_parent(&directory)?;
        match DirBuilder::new().mode(0o711).create(&directory) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                return Err(Error::new(ErrorKind::AlreadyExists, "this stream was begun here before")
                    .with_hint("`keiki receive --pending` shows how to continue or discard it"));
            }
            other => other.or_err(|| format!("cannot make the directory `{}`", directory.display()))?,
        }
        let held = hold(&directory)?;
        let incoming = Self { directory, lxcpath: lxcpath.to_owned(), progress, _held: held };
        incoming.save()?;
        Ok(incoming)
    }

    /// Opens one that was left.
    pub(super) fn open(lxcpath: &Path, stream: VolumeId) -> Result<Self> {
        let directory = directory(lxcpath, stream);
        if !home::exists(&directory)? {
            return Err(Error::new(ErrorKind::NotFound, "nothing of this stream was received here")
                .with_context("stream", stream.to_string())
                .with_hint(
                    "`keiki receive --pending` shows what can be continued; `-P` chooses another lxcpath",
                ));
        }
        let held = hold(&directory)?;
        let progress = read(&directory)?.ok_or_else(|| unreadable(&directory))?;
        Ok(Self { directory, lxcpath: lxcpath.to_owned(), progress, _held: held })
    }

    /// Returns the container as which it grows.
    pub(super) fn key(&self) -> ContainerKey {
        ContainerKey { lxcpath: self.directory.clone(), name: self.progress.name.clone() }
    }

    /// Returns the container that it will be.
    pub(super) fn target(&self) -> ContainerKey {
        ContainerKey { lxcpath: self.lxcpath.clone(), name: self.progress.name.clone() }
    }

    /// Writes down how far it came.
    pub(super) fn save(&self) -> Result<()> {
        let text = serde_json::to_vec(&self.progress).map_err(|e| {
            Error::new(ErrorKind::Internal, "cannot write down what was received").with_source(e)
        })?;
        home::replace_file(&self.directory.join("state"), &text)
    }

    /// Returns whether anything is here that would have to be sent again.
    pub(super) fn is_worth_keeping(&self) -> bool {
        self.progress.done > 0 || self.progress.place.records > 0
    }

    /// Returns what the sender is to be told; `None` when everything is here.
    pub(super) fn token(&self) -> Option<Continuation> {
        token(&self.progress)
    }

    /// Removes the directory, whose container is gone or moved.
    pub(super) fn remove(self) -> Result<()> {
        home::remove(&self.directory)
    }
}

fn token(progress: &Progress) -> Option<Continuation> {
    let Progress { manifest, done, place, .. } = progress;
    let rest = manifest.sections.get(*done..).filter(|rest| !rest.is_empty())?;
    let before = match done.checked_sub(1).and_then(|index| manifest.sections.get(index)) {
        Some(section) => Some(section.identity),
        None => manifest.base.as_ref().map(|base| base.identity),
    };
    Some(Continuation(Inner {
        name: manifest.name.clone(),
        stream: manifest.stream,
        encoding: manifest.encoding.clone(),
        before,
        rest: rest.iter().map(|section| section.identity).collect(),
        head: rest.last().is_some_and(|section| section.snapshot.is_none()),
        place: place.clone(),
    }))
}

fn open_lock(directory: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let path = directory.join("lock");
    options.open(&path).or_err(|| format!("cannot open `{}`", path.display()))
}

fn hold(directory: &Path) -> Result<File> {
    let file = open_lock(directory)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::new(ErrorKind::Busy, "this stream is being received")
            .with_hint("wait for that command to end")),
        Err(TryLockError::Error(error)) => {
            Err(error).or_err(|| format!("cannot lock `{}`", directory.display()))
        }
    }
}

fn read(directory: &Path) -> Result<Option<Progress>> {
    let Some(text) = home::read_file(&directory.join("state"))? else { return Ok(None) };
    serde_json::from_slice(&text).map(Some).map_err(|e| unreadable(directory).with_source(e))
}

fn unreadable(directory: &Path) -> Error {
    Error::new(ErrorKind::Corrupt, format!("`{}` does not say how far it came", directory.display()))
        .with_hint("discard it: `keiki receive --discard NAME`, or remove the directory")
}

impl Engine {
    /// Returns the streams that were cut in an lxcpath, eldest first.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn pending(&self, lxcpath: &Path) -> Result<Vec<Pending>> {
        let mut found = Vec::new();
        if self.catalogue.obstacle().is_none() {
            self.sweep_incoming(lxcpath)?;
        }
        for stream in streams(lxcpath)? {
            let at = directory(lxcpath, stream);
            // One that is unreadable was killed before it was anything; `gc` removes it.
            let Ok(Some(progress)) = read(&at) else { continue };
            let is_held = matches!(hold(&at), Err(error) if error.kind() == ErrorKind::Busy);
            found.push(Pending {
                stream,
                sections: (progress.done, progress.manifest.sections.len()),
                token: if is_held { None } else { token(&progress) },
                name: progress.name,
            });
        }
        Ok(found)
    }

    /// Throws away what was received of streams for a container that were cut, and returns how many there were.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is none; [`ErrorKind::Busy`] while it is being received.
    pub fn discard_pending(&self, context: &Context, lxcpath: &Path, name: &ContainerName) -> Result<usize> {
        self.catalogue.require_writable()?;
        self.recover()?;
        let pending: Vec<Pending> =
            self.pending(lxcpath)?.into_iter().filter(|pending| pending.name == *name).collect();
        if pending.is_empty() {
            return Err(Error::new(ErrorKind::NotFound, format!("no stream of `{name}` was cut here"))
                .with_hint("`keiki receive --pending` shows what there is"));
        }
        for one in &pending {
            let incoming = Incoming::open(lxcpath, one.stream)?;
            self.discard(context, incoming)?;
        }
        Ok(pending.len())
    }

    /// Removes a container in the making with its directory.
    pub(super) fn discard(&self, context: &Context, incoming: Incoming) -> Result<()> {
        let key = incoming.key();
        if home::exists(&key.home())? {
            self.destroy(context, &key, DestroyScope::WithSnapshots)?;
        }
        incoming.remove()
    }

    /// Removes directories of streams that died before they were anything, or when everything had its name.
    pub(in crate::engine) fn sweep_incoming(&self, lxcpath: &Path) -> Result<()> {
        for stream in streams(lxcpath)? {
            let at = directory(lxcpath, stream);
            let Ok(_held) = hold(&at) else { continue };
            let is_needless = match read(&at) {
                Ok(None) => true,
                Ok(Some(progress)) => {
                    let is_complete = progress.done == progress.manifest.sections.len();
                    is_complete && !home::exists(&at.join(progress.name.as_str()))?
                }
                Err(_) => false,
            };
            if is_needless {
                home::remove(&at)?;
            }
        }
        Ok(())
    }
}

fn streams(lxcpath: &Path) -> Result<Vec<VolumeId>> {
    let entries = home::entries(&lxcpath.join(home::OURS).join("incoming"))?;
    let mut streams: Vec<VolumeId> = entries.iter().filter_map(|name| name.to_str()?.parse().ok()).collect();
    streams.sort_unstable();
    Ok(streams)
}
