//! [`BackingStore`]: the contract that every backend signs.
//!
//! A backend performs **one physical effect at a time and answers questions about physical objects**. It owns no names,
//! no lineage, no policy, no journal and no locks: the [engine](crate::engine) owns those. That is what lets a
//! stranger write a correct backend in a few hundred lines (see `CONTRIBUTING.md`).
//!
//! # Rules for implementers
//! - A verb that returns `Ok` has made its effect, visible to every process; durable after `sync_barrier`.
//! - A verb that returns `Err` may leave a part behind; the engine calls `destroy` for it, at once or after a crash.
//! - Every verb is idempotent as its documentation says, because recovery repeats it.
//! - Every object carries the volume's id as its ownership mark, and the mark is set *last*, so that a marked object is
//!   a complete one. An object without our mark is foreign: refused, never adopted, changed or removed.
//! - Effects block; a verb moves them to the pool by [`Context::run`] and announces each by [`Context::step`].
//! - No method has a default: a wrapper that forgets one should not compile.
//!
//! Where stores differ is said at each method.

use std::fmt::Debug;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::capability::{Availability, Capabilities};
use crate::context::Context;
use crate::error::Result;
use crate::mount_plan::{AttachMode, MountPlan};
use crate::units::Bytes;
use crate::volume::{Placement, Properties, StoreKind, Volume, VolumeId, VolumeSource};

/// The place in which a question about capabilities is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// The lxcpath, or another directory whose file system matters; it exists.
    pub path: PathBuf,
    /// The user's options, or the properties of an existing volume.
    pub options: Properties,
}

/// What is physically at a volume's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Nothing.
    Absent,
    /// Something of ours that was never finished, or half destroyed.
    Partial,
    /// A finished object that carries this mark.
    Complete(VolumeId),
    /// Something without our mark.
    Foreign,
}

/// What `destroy` found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destroyed {
    /// It was there and is gone.
    Removed,
    /// It was not there.
    Absent,
}

/// One marked object, as `list` finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The mark.
    pub id: VolumeId,
    /// Where it is.
    pub source: VolumeSource,
}

/// Space that a volume takes. `None` means that the store cannot tell, not zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Bytes reachable through it.
    pub referenced: Option<Bytes>,
    /// Bytes that destroying it alone would free.
    pub exclusive: Option<Bytes>,
    /// The most that it may hold: the size of its device, or its quota. `None` also means that there is no limit.
    pub limit: Option<Bytes>,
    /// How far the numbers can be trusted.
    pub exactness: Exactness,
}

/// How far a number can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exactness {
    /// It is what the file system or volume manager accounts.
    #[default]
    Exact,
    /// It was estimated (extents that reflinks share, quotas that are being counted).
    Approximate,
    /// The truth is this or more: space that only members of a set share among them was not counted.
    AtLeast,
}

/// What destroying a whole set of volumes would free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freed {
    /// The bytes.
    pub bytes: Bytes,
    /// How far they can be trusted.
    pub exactness: Exactness,
}

/// What a volume is after its size was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resized {
    /// The size that it got after rounding.
    pub size: Bytes,
    /// Its properties from now on: a store that remembers sizes there writes the new one.
    pub properties: Properties,
}

/// Where the volumes of a family are, and who needs whom, as the store finds them now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Promoted {
    /// Every volume of the family that is not where it was said to be, with its place.
    pub sources: Vec<(VolumeId, VolumeSource)>,
    /// Every volume of the family with the one whose data it needs; `None` when it needs nobody of the family.
    pub parents: Vec<(VolumeId, Option<VolumeId>)>,
}

/// One clone to be made: the volume's place was chosen by [`BackingStore::place`] with the source as origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloneJob {
    /// The new volume.
    pub target: Volume,
}

/// A place where root filesystems live.
#[async_trait]
pub trait BackingStore: Send + Sync + Debug {
    /// Returns the word by which it is chosen and which stands in front of its sources.
    fn kind(&self) -> StoreKind;

    /// Returns what it can do in `pool`. Cheap: no tool is run; may look at the file system of `pool.path`.
    ///
    /// # Errors
    /// When the pool cannot be looked at.
    fn capabilities(&self, pool: &Pool) -> Result<Capabilities>;

    /// Tells whether the host has what the store needs in `pool`. No side effects.
    async fn availability(&self, pool: &Pool) -> Availability;

    /// Chooses the physical place of a new volume. Pure, except that it checks `placement.options`.
    ///
    /// `origin` is the volume that the new one will be cloned from; an overlay's source names its lowers.
    ///
    /// # Errors
    /// `InvalidArgument` for options that the store does not know or take; `Unsupported` for an origin that it cannot
    /// clone from; `LimitExceeded` beyond the depth limit.
    fn place(&self, placement: &Placement, origin: Option<&Volume>) -> Result<VolumeSource>;

    /// Makes an empty volume at its place.
    ///
    /// # Behavior
    /// Repeating it for a complete object with the same id succeeds and changes nothing.
    ///
    /// # Errors
    /// `Foreign` when an object without our mark (or with another id) is in the way; it is left as it was.
    async fn create(&self, context: &Context, volume: &Volume) -> Result<()>;

    /// Removes a volume, complete or partial. The data is out of reach when it returns.
    ///
    /// # Behavior
    /// Absent is success. Only what the volume owns goes: an overlay's lowers that belong to others stay.
    ///
    /// # Errors
    /// `Foreign` when the object there does not carry `volume.id`; `Busy` naming the holder.
    async fn destroy(&self, context: &Context, volume: &Volume) -> Result<Destroyed>;

    /// Tells what is at the volume's place.
    ///
    /// # Errors
    /// When it could not be found out. Never "absent" for an answer that was not understood.
    async fn probe(&self, volume: &Volume) -> Result<Presence>;

    /// Finds every object of ours in `pool`, in bulk.
    ///
    /// # Errors
    /// When the pool cannot be read.
    async fn list(&self, pool: &Pool) -> Result<Vec<Found>>;

    /// Puts our mark on an object that LXC made, so that later verbs accept it. Its content is not touched.
    ///
    /// `copied` is the mark that the object may carry already: LXC copies trees with all of their attributes, so a copy of
    /// one of our volumes carries that volume's mark. The caller has seen that volume in its own place.
    ///
    /// # Errors
    /// `NotFound`, and `Foreign` when it carries any other mark.
    async fn adopt(&self, context: &Context, volume: &Volume, copied: Option<VolumeId>) -> Result<()>;

    /// Tells how to mount a volume. Block stores activate the device here.
    ///
    /// # Errors
    /// `NotFound` when it is not there.
    async fn attach(&self, context: &Context, volume: &Volume, mode: AttachMode) -> Result<MountPlan>;

    /// Undoes what `attach` activated. Success when nothing was.
    ///
    /// # Errors
    /// `Busy` naming the holder.
    async fn detach(&self, context: &Context, volume: &Volume) -> Result<()>;

    /// Measures volumes, in the order given; one bulk query where the store has one.
    ///
    /// # Errors
    /// When the store cannot be asked at all; a single missing volume is `Usage::default()`.
    async fn usage(&self, context: &Context, volumes: &[Volume]) -> Result<Vec<Usage>>;

    /// Returns when every effect on these volumes so far is on stable storage; once a batch.
    ///
    /// # Errors
    /// The kernel's error of the write-back.
    async fn sync_barrier(&self, context: &Context, volumes: &[Volume]) -> Result<()>;

    /// Returns the group of snapshot verbs; `None` means that the store has no snapshots.
    fn snapshots(&self) -> Option<&dyn Snapshots>;

    /// Returns the group of clone verbs.
    fn clones(&self) -> Option<&dyn Clones>;

    /// Returns the group that swaps two objects' places.
    fn exchange(&self) -> Option<&dyn Exchange>;

    /// Returns the group that gives an object another name of its own.
    fn rename(&self) -> Option<&dyn Rename>;

    /// Returns the group that changes a volume's size.
    fn resize(&self) -> Option<&dyn Resize>;

    /// Returns the group that limits a volume's space.
    fn quota(&self) -> Option<&dyn Quota>;

    /// Returns the group that makes volumes independent.
    fn lineage_ops(&self) -> Option<&dyn LineageOps>;

    /// Returns the group that writes and reads streams of the store's own.
    fn transfer(&self) -> Option<&dyn Transfer>;

    /// Returns the group that turns a dependency round.
    fn promotion(&self) -> Option<&dyn Promote>;

    /// Returns the group that tells what destroying a set would free; without it the engine adds up
    /// [`Usage::exclusive`] and says that the sum is a lower bound.
    fn accounting(&self) -> Option<&dyn Accounting>;
}

/// Snapshots of [`SnapshotStyle::Beside`](crate::capability::SnapshotStyle): an object beside the source.
///
/// Stores of the style `Freeze` have no verb of their own: the engine freezes the source by recording it as a layer and
/// asks [`Clones`] for the snapshot and for the new head.
#[async_trait]
pub trait Snapshots: Send + Sync {
    /// Makes `target` hold what `source` holds now. Idempotent like [`BackingStore::create`].
    ///
    /// # Errors
    /// `Unsupported` for a snapshot of a snapshot where the store has none; `Foreign` as for `create`.
    async fn snapshot(&self, context: &Context, source: &Volume, target: &Volume) -> Result<()>;
}

/// Writable volumes that begin as another volume.
#[async_trait]
pub trait Clones: Send + Sync {
    /// Makes every job's target begin as `source`, sharing what can be shared (a commit, a lock, a tool run).
    ///
    /// | store | mechanism | write to the source afterwards | destroy the source first |
    /// |---|---|---|---|
    /// | dir | copy (reflink where possible) | free | free |
    /// | overlay | the source becomes a lower layer | forbidden | refused |
    /// | btrfs | writable subvolume snapshot | free | free |
    /// | zfs | snapshot and clone | free | deferred |
    ///
    /// Idempotent like [`BackingStore::create`]. One result a job, in order; a failed job leaves the others alone.
    async fn clone_from(&self, context: &Context, source: &Volume, jobs: &[CloneJob]) -> Vec<Result<()>>;
}

/// Swapping the places of two volumes of one store, atomically.
#[async_trait]
pub trait Exchange: Send + Sync {
    /// Makes each object take the other's place. Afterwards `probe` of `a`'s place finds `b`'s mark.
    ///
    /// # Errors
    /// `NotFound` when either is missing; nothing changed then.
    async fn exchange(&self, context: &Context, a: &Volume, b: &Volume) -> Result<()>;
}

/// New physical names for stores of [`Residence::Named`](crate::capability::Residence).
///
/// The engine renames a container's volumes to where [`BackingStore::place`] puts them for its new name, and a volume that
/// stops being a head or a snapshot while others need it (a *ghost*) to where [`Rename::aside`] says, so that its name is free
/// at once. After each move it asks [`Rename::follow`] where every other volume of the family went.
#[async_trait]
pub trait Rename: Send + Sync {
    /// Returns where the volume lives while it is a ghost; its own place when that cannot be in anybody's way. Pure.
    ///
    /// # Errors
    /// As for a source that cannot be written.
    fn aside(&self, volume: &Volume) -> Result<VolumeSource>;

    /// Returns where `volume` is after the object at `moved` went to `target`: its own place, unless the one carries the
    /// other with it as a zfs dataset does its snapshots. Pure. For the moved object itself it is `target`.
    ///
    /// # Errors
    /// As for a source that cannot be written.
    fn follow(&self, volume: &Volume, moved: &VolumeSource, target: &VolumeSource) -> Result<VolumeSource>;

    /// Tells the options by which the pool of a volume is found again, where only its place is known: LXC made it, or the
    /// catalogue was lost.
    ///
    /// # Errors
    /// When the store cannot be asked.
    async fn options_of(&self, volume: &Volume) -> Result<Properties>;

    /// Moves the object of `volume` to `target`; succeeds when it is there already.
    ///
    /// # Errors
    /// `Foreign` or `AlreadyExists` when the target is taken, `NotFound` when it is at neither place, `Busy` naming the
    /// holder; nothing changed then.
    async fn rename(&self, context: &Context, volume: &Volume, target: &VolumeSource) -> Result<()>;
}

/// Changing the size of a volume.
#[async_trait]
pub trait Resize: Send + Sync {
    /// Makes the volume, and the file system in it, `size` large.
    ///
    /// # Behavior
    /// Idempotent: repeating it after a kill finishes what was begun. It looks by itself whether the volume is mounted.
    ///
    /// # Errors
    /// `Unsupported` for a direction that the file system cannot take, and `InvalidArgument` for a size that its content does
    /// not fit in; nothing changed then. `Busy` when it would have to be unmounted; `NoSpace`.
    async fn resize(&self, context: &Context, volume: &Volume, size: Bytes) -> Result<Resized>;
}

/// Limiting the space of a volume without a size of its own.
#[async_trait]
pub trait Quota: Send + Sync {
    /// Sets the limit; `None` lifts it.
    ///
    /// # Errors
    /// `Unavailable` when the file system keeps no quotas.
    async fn set_quota(&self, context: &Context, volume: &Volume, limit: Option<Bytes>) -> Result<()>;

    /// Returns the limit that is set, without measuring anything: a restore asks for it and sets it on the new head.
    ///
    /// # Errors
    /// When the store cannot be asked; a file system that keeps no quotas is `None`.
    async fn limit_of(&self, context: &Context, volume: &Volume) -> Result<Option<Bytes>>;
}

/// Changing who depends on whom.
#[async_trait]
pub trait LineageOps: Send + Sync {
    /// Makes `target`, placed without an origin, hold everything that `volume` shows, depending on nobody.
    ///
    /// # Errors
    /// `NoSpace`, or what reading fails with; `volume` is unchanged.
    async fn flatten(&self, context: &Context, volume: &Volume, target: &Volume) -> Result<()>;
}

/// What becomes of a container's head when a snapshot of it is received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReceivedHead {
    /// Nothing: the engine makes the head from the last snapshot, by [`Clones`] or by a copy.
    Apart,
    /// It holds what the snapshot holds: the two are one object (zfs). The first `receive` makes it.
    Follows,
}

/// Streams in a form that only stores of this kind understand: what the kernel or the tool itself sends and receives.
///
/// The engine names, orders, checks and journals; a stream holds one snapshot, whole or as the difference to one that both
/// ends have. A stream is hostile input: nothing outside of the volumes named may be written, whatever it says.
#[async_trait]
pub trait Transfer: Send + Sync {
    /// Returns the word for the stream's form and version, `btrfs-1`; two stores with the same word understand each other.
    fn format(&self) -> &'static str;

    /// Tells what receiving a snapshot does to the head.
    fn received_head(&self) -> ReceivedHead;

    /// Writes `snapshot` into `out`, which is closed at the end: whole, or what changed since `base`, an earlier snapshot of
    /// the same container.
    ///
    /// # Errors
    /// `Unsupported` for a base that the store cannot start from; what writing fails with (`EPIPE` when nobody reads).
    async fn send(
        &self,
        context: &Context,
        snapshot: &Volume,
        base: Option<&Volume>,
        out: OwnedFd,
    ) -> Result<()>;

    /// Makes `snapshot` hold what the stream in `input` holds, upon `base` if there is one; complete and marked on return.
    ///
    /// # Behavior
    /// With [`ReceivedHead::Follows`], `head` is made by the first stream (`base` is `None`) and moved by every further one;
    /// what it wrote since `base` is lost. Otherwise `head` is not touched and need not exist. A part is left behind
    /// on error, as by `create`.
    ///
    /// # Errors
    /// `Corrupt` for a stream that is damaged or cut; `Protocol` for one that is not of this form; `NotFound` when `base`
    /// is missing or is not what the stream starts from.
    async fn receive(
        &self,
        context: &Context,
        head: &Volume,
        snapshot: &Volume,
        base: Option<&Volume>,
        input: OwnedFd,
    ) -> Result<()>;
}

/// Turning a dependency round: the child gets the data, and its former parent needs the child.
#[async_trait]
pub trait Promote: Send + Sync {
    /// Makes `volume` need none of those that it needs now; they need it afterwards.
    ///
    /// # Behavior
    /// Idempotent; the effect is atomic. `family` is every volume of this store in the connected graph around `volume`, itself
    /// among them; what it returns is [`Promote::standing`] after the effect, by one bulk query.
    ///
    /// # Errors
    /// `NoSpace` when a limit does not bear the data; nothing changed then.
    async fn promote(&self, context: &Context, volume: &Volume, family: &[Volume]) -> Result<Promoted>;

    /// Tells how the family stands, without any effect: what recovery asks.
    ///
    /// # Behavior
    /// A volume is found by its mark, wherever it is. One that is not there at all is left out of both lists.
    ///
    /// # Errors
    /// When the store cannot be asked.
    async fn standing(&self, context: &Context, family: &[Volume]) -> Result<Promoted>;
}

/// Telling what a set of volumes takes together, where the store knows better than a sum.
#[async_trait]
pub trait Accounting: Send + Sync {
    /// Returns what destroying all of `volumes` at once would free.
    ///
    /// # Errors
    /// When the store cannot be asked.
    async fn freed(&self, context: &Context, volumes: &[Volume]) -> Result<Freed>;
}
