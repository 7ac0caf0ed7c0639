//! Streams of the kernel's own form: sent by ioctl, received by us.
//!
//! ```text
//! receiving:   subvolume, or snapshot of the base   mark "<volume id>@receiving"   (a part of ours from here on)
//!              changes …                            until the stream's end was read
//!              the sender's identity, our mark      complete, and closed for writing
//! ```
//! What is sent since a base is found by the identity that the stream names: the base's own, or the one that the base had where it was
//! sent from. A subvolume inside the volume is not in the kernel's stream, so such a volume is refused: our own form
//! holds it. What does not survive this form is said in `docs/copies.md`.

use std::fs::File;
use std::io::BufReader;
use std::os::fd::{AsFd, OwnedFd};

use keiki_core::context::{Context, Progress};
use keiki_core::homes::Place;
use keiki_core::store::Presence;
use keiki_core::volume::Volume;
use keiki_core::{Error, ErrorKind, Result, ResultExt};
use keiki_sys::btrfs::{self, Subvolume, Writes};
use rustix::io::Errno;

use crate::apply::{ApplyError, Target};
use crate::create::explain;
use crate::stream::{Command, Commands, Identity, StreamError};
use crate::subvolume::{self, not_ours, opened, presence};

/// The word for the kernel's stream, version 1.
pub(crate) const FORMAT: &str = "btrfs-1";

const OWN_FORM: &str = "send without `--native`: every store understands that";

/// Read at a time.
const BUFFER: usize = 256 << 10;

/// So many commands are carried out between two reports.
const REPORT: u64 = 1024;

/// Writes a snapshot into `out`; see `Transfer::send`.
pub(crate) fn send(context: &Context, snapshot: &Volume, base: Option<&Volume>, out: &OwnedFd) -> Result<()> {
    let (place, from) = sendable(snapshot)?;
    let base = base.map(sendable).transpose()?;
    let base = base.map(|(_, base)| info(&base)).transpose()?;
    context.step("btrfs.send")?;
    let sent = btrfs::send_subvolume(from.as_fd(), base.map(|base| base.tree_id), out.as_fd());
    sent.map_err(|error| {
        let text = format!("cannot send `{}`", place.path().display());
        let hint = match Errno::from_io_error(&error) {
            Some(Errno::PERM) => {
                Some("the kernel lets only root send a subvolume; without `--native` you can")
            }
            Some(Errno::NAMETOOLONG | Errno::NOMEM) => {
                Some("the kernel's form cannot hold every path: send without `--native`")
            }
            _ => None,
        };
        hint.into_iter().fold(Error::io(text, error), Error::with_hint)
    })
}

/// Opens a snapshot that the kernel can send whole.
fn sendable(volume: &Volume) -> Result<(Place, OwnedFd)> {
    let place = subvolume::require(volume)?;
    let root = opened(&place)?;
    let refuse = |why: &str| {
        let text = format!("`{}` {why}", place.path().display());
        Err(Error::new(ErrorKind::Unsupported, text).with_hint(OWN_FORM))
    };
    if !info(&root)?.read_only {
        return refuse("takes writes, and the kernel sends only what does not");
    }
    let nested = btrfs::nested_subvolumes(root.as_fd())
        .or_err(|| format!("cannot look for subvolumes inside `{}`", place.path().display()))?;
    if !nested.is_empty() {
        return refuse("has subvolumes inside, which the kernel does not send");
    }
    Ok((place, root))
}

fn info(root: &OwnedFd) -> Result<Subvolume> {
    btrfs::subvolume_info(root.as_fd()).or_err(|| "cannot read the subvolume's identity".to_owned())
}

/// Makes `snapshot` what a stream holds; see `Transfer::receive`.
pub(crate) fn receive(
    context: &Context,
    snapshot: &Volume,
    base: Option<&Volume>,
    input: OwnedFd,
) -> Result<()> {
    let place = subvolume::require(snapshot)?;
    match presence(&place)? {
        Presence::Complete(id) if id == snapshot.id => return Ok(()),
        Presence::Complete(_) | Presence::Foreign => return Err(not_ours(&place)),
        Presence::Partial => crate::destroy::remove(&place)?,
        Presence::Absent => {}
    }
    let input = BufReader::with_capacity(BUFFER, File::from(input));
    let mut commands = Commands::begin(input).map_err(not_understood)?;
    let (mut target, identity) = match commands.next().map_err(not_understood)? {
        Command::Subvolume(identity) => (begin_whole(context, &place, snapshot, identity)?, identity),
        Command::Snapshot { of, identity } => {
            let base = base.ok_or_else(|| {
                unknown_base("it holds only changes, and there is nothing here that they are to")
            })?;
            (begin_upon(context, &place, base, of, identity)?, identity)
        }
        _ => return Err(Error::new(ErrorKind::Corrupt, "the stream begins with a change to nothing")),
    };
    let mut count: u64 = 0;
    loop {
        match commands.next().map_err(not_understood)? {
            Command::End => break,
            command => target.apply(&command).map_err(not_applied)?,
        }
        count += 1;
        if count.is_multiple_of(REPORT) {
            context.progress(Progress { entries: count, bytes: 0 });
        }
    }
    commands.finish().map_err(not_understood)?;
    complete(context, &place, snapshot, &target.into_root(), identity)
}

fn begin_whole(context: &Context, place: &Place, volume: &Volume, identity: Identity) -> Result<Target> {
    context.step("btrfs.create")?;
    btrfs::create_subvolume(place.parent().as_fd(), place.name())
        .map_err(|error| explain(error, place, "create"))?;
    let root = opened(place)?;
    // Until now it was empty, which is known for a part of ours; with content it must carry a mark.
    subvolume::write_part_mark(&root, volume.id)?;
    Ok(Target::new(root, identity.uuid, None))
}

/// Begins as a snapshot of the base, whose mark says that it is a part.
fn begin_upon(
    context: &Context,
    place: &Place,
    base: &Volume,
    of: Identity,
    identity: Identity,
) -> Result<Target> {
    let from = subvolume::require(base)?;
    let from = opened(&from)?;
    let found = info(&from)?;
    if of.uuid != found.uuid && of.uuid != found.received_uuid {
        return Err(unknown_base("the snapshot that it starts from is another one here"));
    }
    if !found.read_only {
        return Err(unknown_base("the snapshot that it starts from takes writes here"));
    }
    context.step("btrfs.snapshot")?;
    btrfs::snapshot_subvolume(from.as_fd(), place.parent().as_fd(), place.name())
        .map_err(|error| explain(error, place, "make"))?;
    Ok(Target::new(opened(place)?, identity.uuid, Some((of.uuid, from))))
}

fn complete(
    context: &Context,
    place: &Place,
    volume: &Volume,
    root: &OwnedFd,
    identity: Identity,
) -> Result<()> {
    context.step("btrfs.received")?;
    btrfs::set_received(root.as_fd(), identity.uuid, identity.transaction)
        .map_err(|error| explain(error, place, "note the origin of"))?;
    context.step("btrfs.mark")?;
    subvolume::write_mark(root, volume.id)?;
    btrfs::set_writes(root.as_fd(), Writes::Refused).map_err(|error| explain(error, place, "close"))
}

fn unknown_base(why: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("the stream has no base here: {why}")).with_hint(
        "both ends must have got that snapshot by `--native`; without it, changes go upon any copy of it",
    )
}

fn not_understood(error: StreamError) -> Error {
    let kind = match error {
        StreamError::NoStream | StreamError::Version(_) => ErrorKind::Protocol,
        StreamError::Cut | StreamError::Damaged(_) => ErrorKind::Corrupt,
        StreamError::Read(_) => ErrorKind::Io,
    };
    Error::new(kind, "cannot read the stream of btrfs").with_source(error)
}

fn not_applied(error: ApplyError) -> Error {
    let kind = match &error {
        ApplyError::Impossible { .. } | ApplyError::Unrelated => ErrorKind::Corrupt,
        ApplyError::Failed { why, .. } => ErrorKind::from_io(why),
    };
    Error::new(kind, "cannot carry out the stream of btrfs").with_source(error)
}
