//! The zfs store: a root filesystem is a dataset, a snapshot is a zfs snapshot, a clone is a zfs clone.
//!
//! ```text
//! ROOT/web1                        the head of the container `web1`          keiki:id=<id>
//! ROOT/web1@keiki-<short>          a snapshot of it                          keiki:id=<id>
//! ROOT/web1@keiki-clone-<short>    what clones of the head stand on          keiki:clone=<id>,<id>,…
//! ROOT/web2                        a clone                                   keiki:id=<id>
//! ROOT/web1-<short>                a head that a restore or flatten made     keiki:id=<id>
//! ROOT/keiki-ghost-<short>         a former head that others need            keiki:id=<id>
//! ROOT/keiki-snapshot-<short>      a snapshot of a snapshot: a closed clone  keiki:id=<id>
//! ```
//!
//! - `ROOT` is the option `zfsroot`, or what the program set as default; names hold twelve digits of the identity wherever two
//!   containers could want the same one.
//! - The mark is a user property of the object itself; one that is only inherited marks nothing. It is set by the command that
//!   makes the object.
//! - Nothing mounts by itself (`canmount=noauto`, `mountpoint=legacy`): mounts are made detached by whoever needs one. Datasets that
//!   LXC made keep their properties.
//! - A clone of a head stands on a snapshot of our own, which goes with the last clone by zfs's own deferred destroy. A snapshot that
//!   we did not make is never destroyed: it makes its dataset stay, and the refusal names it.
//! - A stream holds one snapshot; its first record is read before zfs gets it, so that nothing but the dataset named can be reached.
//! - Everything goes through the commands `zfs` and `zpool` (`-Hp`); no library is linked.
//!
//! What it does not do: it imports no pool, makes no pool and no root dataset, and never touches what carries no mark.
#![forbid(unsafe_code)]

mod accounting;
mod attach;
mod busy;
mod clone;
mod create;
mod dataset;
mod destroy;
mod list;
mod parse;
mod promote;
mod rename;
mod spec;
mod store;
mod stream;
mod tool;
mod transfer;

pub use store::ZfsStore;
