//! The lvm store: a root filesystem is a logical volume with a file system in it.
//!
//! ```text
//! /dev/VG/web1                      a head; tag keiki.id=<volume id>, set last (keiki.partial=<volume id> until then)
//! /dev/VG/web1-snap0-<short id>     its snapshot snap0
//! /dev/VG/web1-<short id>           a head that took another's place
//! /dev/VG/keiki-ghost-<short id>    a former head that snapshots still need
//! ```
//!
//! Volumes come in two sorts, told apart by the property `thinpool`:
//! - *thin*: in a thin pool. Clones and snapshots take constant time and are independent. The pool's fill is looked at before
//!   each clone, because a full pool stops every volume in it.
//! - *plain*: extents of their own. A snapshot or snapshot clone is a copy-on-write volume of a size fixed at creation,
//!   depends on its origin, and has no snapshots itself.
//!
//! - Volumes are made with the activation-skip flag: nothing is active but what is attached.
//! - Only LVM's own commands change anything. One report answers for many volumes; a batch of clones is one process.
//! - What lacks our tag is never changed: commands that could hit a stranger select by the tag, under LVM's own lock.
//!
//! What it does not do: it makes no volume groups and pools, and repairs none; it says which command does.
#![forbid(unsafe_code)]

mod attach;
mod clone;
mod create;
mod destroy;
mod explain;
mod flatten;
mod holders;
mod list;
mod mark;
mod place;
mod pool;
mod rename;
mod report;
mod resize;
mod spec;
mod store;
mod tool;

pub use store::LvmStore;
