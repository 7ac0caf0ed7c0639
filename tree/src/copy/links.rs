//! Hard links: the first name of a file is copied, every further one becomes a link to that copy.
//!
//! The map is split by inode number so that threads seldom meet. A lock is held while the first copy is *created*,
//! not while it is filled: a second name may be linked to a file that another thread still writes.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::sync::{Arc, Mutex, PoisonError};

use crate::entries::FileId;
use crate::error::Result;
use crate::walk::{Node, Visit};

const SHARDS: usize = 16;

type Shard<V> = Mutex<HashMap<FileId, (Arc<Node<V>>, CString)>>;

/// Where the first name of every file with several links was copied to.
pub(super) struct Links<V: Visit>([Shard<V>; SHARDS]);

impl<V: Visit> Default for Links<V> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::default()))
    }
}

/// What is to be done with a name of a file with several links.
pub(super) enum Claim<V: Visit, T> {
    /// It is the first: this was made.
    First(T),
    /// It was copied before, in this directory under this name.
    Again(Arc<Node<V>>, CString),
}

impl<V: Visit> Links<V> {
    /// Makes the file by `create` when `id` is new, and remembers where.
    pub(super) fn claim<T>(
        &self,
        id: FileId,
        node: &Arc<Node<V>>,
        name: &CStr,
        create: impl FnOnce() -> Result<T>,
    ) -> Result<Claim<V, T>> {
        let shard = &self.0[usize::try_from(id.2).unwrap_or_default() % SHARDS];
        let mut copied = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((node, name)) = copied.get(&id) {
            return Ok(Claim::Again(Arc::clone(node), name.clone()));
        }
        let made = create()?;
        copied.insert(id, (Arc::clone(node), name.to_owned()));
        Ok(Claim::First(made))
    }
}
