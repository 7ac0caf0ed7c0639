//! Where the reference store's objects are: an entry in a map, or a file in a home whose text is the object's number.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::memory::Memory;
use crate::error::{Error, ErrorKind, Result, ResultExt};
use crate::volume::{StoreKind, VolumeSource};

/// Numbers are unique in the process, so that a file of one disk is foreign to another.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// How deep below an lxcpath a volume can lie: `.keiki/staging/<id>/snaps/<snapshot>/volume`.
const DEPTH: usize = 6;

impl Memory {
    /// The number of whatever is at the place; 0 for a file that no reference store wrote.
    pub(super) fn locate(&self, source: &VolumeSource) -> Result<Option<u64>> {
        let Some(path) = file_of(source) else { return Ok(self.places.get(source).copied()) };
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.trim().parse().unwrap_or(0))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io(format!("cannot read `{}`", path.display()), error)),
        }
    }

    /// Takes the place for a new object and returns its number.
    pub(super) fn occupy(&mut self, source: &VolumeSource) -> Result<u64> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        if let Some(path) = file_of(source) {
            let shown = || format!("cannot create `{}`", path.display());
            let mut file = fs::File::create_new(&path).or_err(shown)?;
            if let Err(error) = file.write_all(number.to_string().as_bytes()) {
                // A full disk lets a file be made and not written; without its number it would pass for foreign.
                let _gone = fs::remove_file(&path);
                return Err(Error::io(shown(), error));
            }
        } else if self.places.contains_key(source) {
            return Err(Error::new(ErrorKind::AlreadyExists, format!("`{source}` is taken")));
        } else {
            self.places.insert(source.clone(), number);
        }
        Ok(number)
    }

    pub(super) fn vacate(&mut self, source: &VolumeSource) -> Result<()> {
        match file_of(source) {
            Some(path) => fs::remove_file(&path).or_err(|| format!("cannot remove `{}`", path.display())),
            None => {
                self.places.remove(source);
                Ok(())
            }
        }
    }

    pub(super) fn swap(&mut self, a: &VolumeSource, b: &VolumeSource) -> Result<()> {
        if let (Some(a), Some(b)) = (file_of(a), file_of(b)) {
            return renameat_with(CWD, &a, CWD, &b, RenameFlags::EXCHANGE)
                .or_err(|| format!("cannot exchange `{}` and `{}`", a.display(), b.display()));
        }
        if let (Some(first), Some(second)) = (self.places.get(a).copied(), self.places.get(b).copied()) {
            self.places.insert(a.clone(), second);
            self.places.insert(b.clone(), first);
        }
        Ok(())
    }

    /// Moves the snapshots that are named below a volume along with it, and returns every place that changed.
    pub(super) fn carry(&mut self, from: &VolumeSource, to: &VolumeSource) -> Result<Vec<VolumeSource>> {
        let mut changed = Vec::new();
        let below = format!("{}@", from.location());
        let found: Vec<VolumeSource> = self
            .places
            .keys()
            .filter(|place| place.kind() == from.kind() && place.location().starts_with(&below))
            .cloned()
            .collect();
        for place in found {
            let rest = &place.location()[below.len()..];
            let target = VolumeSource::new(to.kind().clone(), format!("{}@{rest}", to.location()))?;
            self.relocate(&place, &target)?;
            changed.extend([place, target]);
        }
        Ok(changed)
    }

    pub(super) fn relocate(&mut self, from: &VolumeSource, to: &VolumeSource) -> Result<()> {
        if let (Some(from), Some(to)) = (file_of(from), file_of(to)) {
            return renameat_with(CWD, &from, CWD, &to, RenameFlags::NOREPLACE)
                .or_err(|| format!("cannot rename `{}`", from.display()));
        }
        if let Some(number) = self.places.remove(from) {
            self.places.insert(to.clone(), number);
        }
        Ok(())
    }
}

/// The sources of `kind` in the homes below `pool`.
pub(super) fn below(kind: &StoreKind, pool: &Path) -> Result<Vec<VolumeSource>> {
    let mut sources = Vec::new();
    let mut pending = vec![(pool.to_owned(), 0)];
    while let Some((directory, depth)) = pending.pop() {
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            // A container may be destroyed while we look.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Error::io(format!("cannot list `{}`", directory.display()), error)),
        };
        for entry in entries {
            let entry = entry.or_err(|| format!("cannot list `{}`", directory.display()))?;
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if is_directory && depth < DEPTH {
                pending.push((entry.path(), depth + 1));
            } else if is_place(&entry.path(), kind) {
                sources.push(VolumeSource::at_path(kind.clone(), &entry.path())?);
            }
        }
    }
    sources.sort();
    Ok(sources)
}

fn is_place(path: &Path, kind: &StoreKind) -> bool {
    let is_volume = path.file_stem().is_some_and(|stem| stem.to_string_lossy().starts_with("volume"));
    is_volume && path.extension().is_some_and(|extension| extension == kind.as_str())
}

fn file_of(source: &VolumeSource) -> Option<PathBuf> {
    source.location().starts_with('/').then(|| PathBuf::from(source.location()))
}
