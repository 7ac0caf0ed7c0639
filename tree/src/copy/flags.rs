//! Inode flags (immutable, append-only, no-dump): set when everything else is done, because they forbid all of it.
//!
//! Best effort: file systems without flags and callers without `CAP_LINUX_IMMUTABLE` lose them, as with every other
//! tool. The kernel tells us of them in the answer that we need anyway, so trees without flags pay nothing.

use std::ffi::{CStr, CString};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{IFlags, OFlags, StatxAttributes, ioctl_getflags, ioctl_setflags};
use rustix::io::Errno;

use super::Copier;
use crate::entries::open_quietly;
use crate::error::Result;
use crate::walk::{Node, Visit, reach};

const FLAGS: [(StatxAttributes, IFlags); 3] = [
    (StatxAttributes::IMMUTABLE, IFlags::IMMUTABLE),
    (StatxAttributes::APPEND, IFlags::APPEND),
    (StatxAttributes::NODUMP, IFlags::NODUMP),
];

/// Entries that will get flags.
pub(super) struct Flags<V: Visit>(Mutex<Vec<Flagged<V>>>);

struct Flagged<V: Visit> {
    directory: Arc<Node<V>>,
    /// `None` is the directory itself.
    name: Option<CString>,
    flags: IFlags,
}

impl<V: Visit> Default for Flags<V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<V: Visit> Flags<V> {
    /// Remembers the flags of an entry, if it has any.
    pub(super) fn note(&self, directory: &Arc<Node<V>>, name: Option<&CStr>, attributes: StatxAttributes) {
        let known = FLAGS.iter().filter(|(attribute, _)| attributes.contains(*attribute));
        let flags = known.fold(IFlags::empty(), |flags, (_, flag)| flags | *flag);
        if !flags.is_empty() {
            let flagged = Flagged { directory: Arc::clone(directory), name: name.map(CStr::to_owned), flags };
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(flagged);
        }
    }
}

impl Copier<'_> {
    /// Sets the flags of every entry that has some.
    pub(super) fn set_flags(&self) -> Result<()> {
        let flagged = std::mem::take(&mut *self.flags.0.lock().unwrap_or_else(PoisonError::into_inner));
        for entry in flagged {
            let directory = reach(self, &entry.directory)?;
            let name = entry.name.as_deref().unwrap_or(c".");
            // Best effort, see above: the copy is complete without them.
            let _: Result<(), Errno> = open_quietly(&directory.handle.target, name, OFlags::RDONLY)
                .and_then(|fd| ioctl_setflags(&fd, ioctl_getflags(&fd)? | entry.flags));
        }
        Ok(())
    }
}
