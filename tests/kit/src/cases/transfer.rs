//! Containers go through a pipe with their snapshots: in the form that every store understands, and in the store's own.
//!
//! Both ends are one engine, which is two hosts as far as a stream is concerned: it names nothing of either. A store without a form
//! of its own must refuse it, and those cases count as refused.

mod broken;

use std::fs::File;
use std::io::{Cursor, Read, Seek};
use std::os::fd::OwnedFd;
use std::thread;

use keiki_core::ErrorKind;
use keiki_core::context::Context;
use keiki_core::engine::{Continuation, Divergence, Encoding, Received, SendContainer, Sent};
use keiki_core::name::SnapshotName;
use keiki_core::{Error, Result};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};

use super::faults::history;
use crate::bench::Bench;
use crate::case::{Case, Section};
use crate::fidelity::FEATURES;
use crate::verdict::{Failure, Proof, Verdict};
use crate::yard::{ContainerView, Op, Reach, View, Yard};
use crate::{claim, claim_eq};

type Show = fn(&Bench<'_>, Encoding) -> Verdict<()>;

/// The claims, with their names in each form.
const CLAIMS: &[([&str; 2], Show)] = &[
    (["a_container_arrives_with_its_snapshots", "a_container_arrives_natively"], arrives),
    (["a_snapshot_arrives_alone", "a_snapshot_arrives_alone_natively"], arrives_until),
    (["everything_in_a_tree_arrives", "everything_in_a_tree_arrives_natively"], everything_arrives),
    (["what_changed_arrives_in_both_directions", "what_changed_arrives_natively"], changes_arrive),
    (["a_head_that_changed_here_is_not_overwritten", "a_changed_head_is_not_overwritten_natively"], diverged),
    (["changes_to_what_is_not_here_are_refused", "native_changes_to_what_is_not_here_are_refused"], no_base),
    (["a_cut_stream_is_continued", "a_cut_native_stream_is_continued"], broken::cut),
    (["a_damaged_stream_is_refused", "a_damaged_native_stream_is_refused"], broken::damaged),
    (["nothing_is_received_over_what_is_there", "nothing_is_received_natively_over_what_is_there"], taken),
    (["killed_while_receiving", "killed_while_receiving_natively"], broken::killed),
    (["failing_while_receiving", "failing_while_receiving_natively"], broken::failing),
    (["killed_while_receiving_changes", "killed_while_receiving_changes_natively"], broken::killed_onto),
];

pub(super) fn cases() -> Vec<Case> {
    let of = |(names, show): &([&'static str; 2], Show)| {
        let show = *show;
        [Encoding::Tree, Encoding::Native].into_iter().zip(*names).map(move |(form, name)| {
            Case::new(Section::Transfer, name, move |bench| in_form(bench, form, show)).mounted()
        })
    };
    CLAIMS.iter().flat_map(of).collect()
}

fn in_form(bench: &Bench<'_>, form: Encoding, show: Show) -> Verdict {
    if form == Encoding::Tree || bench.store.transfer().is_some() {
        return show(bench, form).map(|()| Proof::Works);
    }
    let yard = Yard::open(bench)?;
    yard.make_all(&history())?;
    let before = yard.view()?;
    match sent(&yard, &request(&yard, "a", form)?) {
        Err(error) if error.kind() == ErrorKind::Unsupported && !error.hints().is_empty() => {
            let after = yard.view()?;
            claim!(before == after, "refused, but it changed: {}", before.differences(&after));
            Ok(Proof::Refused)
        }
        other => Err(Failure::new(format!("a store without a form of its own sent in it: {other:?}"))),
    }
}

/// Asks for everything that a container has.
fn request(yard: &Yard<'_>, name: &str, encoding: Encoding) -> Verdict<SendContainer> {
    Ok(SendContainer { key: yard.key(name)?, until: None, since: None, resume: None, encoding })
}

fn until(request: SendContainer, snapshot: &str) -> Verdict<SendContainer> {
    Ok(SendContainer { until: Some(SnapshotName::parse(snapshot)?), ..request })
}

fn since(request: SendContainer, snapshot: &str) -> Verdict<SendContainer> {
    Ok(SendContainer { since: Some(SnapshotName::parse(snapshot)?), ..request })
}

fn resumed(request: &SendContainer, token: Continuation) -> SendContainer {
    SendContainer { until: None, since: None, resume: Some(token), ..request.clone() }
}

/// Sends into memory.
fn sent(yard: &Yard<'_>, request: &SendContainer) -> Result<Vec<u8>> {
    let io = |error| Error::io("memory", error);
    let memory = memfd_create("stream", MemfdFlags::CLOEXEC).map_err(|e| io(e.into()))?;
    let out = memory.try_clone().map_err(io)?;
    yard.engine.send(&Context::default(), request, out)?;
    let (mut file, mut bytes) = (File::from(memory), Vec::new());
    file.rewind().and_then(|()| file.read_to_end(&mut bytes)).map_err(io)?;
    Ok(bytes)
}

fn received(yard: &Yard<'_>, bytes: Vec<u8>, name: &str) -> Result<Received> {
    yard.receive(&Context::default(), Box::new(Cursor::new(bytes)), name, Divergence::Refuse)
}

/// Sends and receives at once, through a pipe that breaks after so many bytes.
fn through_a_pipe(
    yard: &Yard<'_>,
    request: &SendContainer,
    name: &str,
    length: u64,
) -> Verdict<(Result<Sent>, Result<Received>)> {
    let (read, write): (OwnedFd, OwnedFd) = pipe_with(PipeFlags::CLOEXEC)?;
    // The less it holds, the sooner a sender knows that nobody reads.
    fcntl_setpipe_size(&write, 4096)?;
    thread::scope(|scope| {
        let sender = scope.spawn(|| yard.engine.send(&Context::default(), request, write));
        let input = Box::new(File::from(read).take(length));
        let received = yard.receive(&Context::default(), input, name, Divergence::Refuse);
        let sent = sender.join().map_err(|_| Failure::new("the sender broke off"))?;
        Ok((sent, received))
    })
}

/// Fails unless two containers have the same content, configuration and snapshots.
#[track_caller]
fn alike(view: &View, left: &str, right: &str) -> Verdict<()> {
    let find = |name: &str| {
        view.containers.get(name).ok_or_else(|| Failure::new(format!("there is no container `{name}`")))
    };
    let (left, right) = (find(left)?, find(right)?);
    let facts = |view: &ContainerView| {
        let snapshots = view.snapshots.iter();
        let snapshots: Vec<_> =
            snapshots.map(|(name, at)| (name.clone(), at.comment.clone(), at.content.clone())).collect();
        (view.config.clone(), view.content.clone(), snapshots)
    };
    claim_eq!(facts(right), facts(left), "what arrived");
    Ok(())
}

/// A container with a history and a comment.
fn scene<'a>(bench: &Bench<'a>) -> Verdict<Yard<'a>> {
    let yard = Yard::open(bench)?;
    yard.make_all(&history())?;
    yard.make(Op::comment("a", "snap0", "before the upgrade"))?;
    Ok(yard)
}

fn arrives(bench: &Bench<'_>, form: Encoding) -> Verdict<()> {
    let yard = scene(bench)?;
    let before = yard.view()?;
    let (sent, received) = through_a_pipe(&yard, &request(&yard, "a", form)?, "copy", u64::MAX)?;
    let (sent, received) = (sent?, received?);
    claim_eq!(received.bytes, sent.bytes, "bytes");
    claim_eq!(received.snapshots, sent.snapshots, "snapshots");
    claim!(received.is_new && sent.head, "it is new and has its head");
    claim!((sent.encoding == "tree-1") == (form == Encoding::Tree), "the form is {}", sent.encoding);
    let after = yard.view()?;
    alike(&after, "a", "copy")?;
    alike(&before, "a", "a")?;
    claim!(
        before.containers.get("a") == after.containers.get("a"),
        "the sender changed: {}",
        before.differences(&after)
    );
    let times = |name: &str| -> Verdict<Vec<_>> {
        Ok(yard.engine.snapshots(&yard.key(name)?)?.into_iter().map(|record| record.created).collect())
    };
    claim_eq!(times("copy")?, times("a")?, "when the snapshots were taken");
    // What arrived is a container like any other.
    yard.make_all(&[
        Op::restore("copy", "snap0"),
        Op::snapshot("copy"),
        Op::destroy_snapshot("copy", "snap1"),
        Op::destroy("copy", Reach::Snapshots),
        Op::destroy("a", Reach::Snapshots),
    ])?;
    let left = bench.rig.objects(bench.ground())?;
    claim!(left.is_empty(), "left in the pool: {left:?}");
    Ok(())
}

fn arrives_until(bench: &Bench<'_>, form: Encoding) -> Verdict<()> {
    let yard = scene(bench)?;
    let bytes = sent(&yard, &until(request(&yard, "a", form)?, "snap0")?)?;
    let answer = received(&yard, bytes, "copy")?;
    claim_eq!(answer.snapshots.len(), 1, "snapshots");
    let view = yard.view()?;
    let (a, copy) = (&view.containers["a"], &view.containers["copy"]);
    let wanted = a.snapshots.get("snap0").map(|snapshot| &snapshot.content);
    claim!(Some(&copy.content) == wanted, "the head is not what the snapshot is");
    claim!(
        copy.snapshots.get("snap0").map(|snapshot| &snapshot.content) == wanted,
        "the snapshot is another"
    );
    Ok(())
}

/// Every feature that the kernels' own forms can hold: btrfs sends no path beyond `PATH_MAX`.
fn everything_arrives(bench: &Bench<'_>, form: Encoding) -> Verdict<()> {
    let yard = Yard::open(bench)?;
    yard.make(Op::create("a"))?;
    let key = yard.key("a")?;
    let record = yard.engine.container(&key)?;
    let volume = record.volume.ok_or_else(|| Failure::new("it has no volume"))?;
    let tree = bench.attach(&volume, keiki_core::mount_plan::AttachMode::ReadWrite)?;
    let left_out = |name: &str| {
        name.contains("ten_thousand")
            || name.contains("roots_own")
            || (form == Encoding::Native && name.contains("path_max"))
    };
    for feature in FEATURES.iter().filter(|feature| !left_out(feature.name)) {
        let directory = tree.path().join(feature.name);
        std::fs::create_dir(&directory)?;
        (feature.build)(&directory)?;
    }
    drop(tree);
    bench.wait(bench.store.detach(&Context::default(), &volume))?;
    yard.make(Op::snapshot("a"))?;
    received(&yard, sent(&yard, &request(&yard, "a", form)?)?, "copy")?;
    alike(&yard.view()?, "a", "copy")
}

fn changes_arrive(bench: &Bench<'_>, form: Encoding) -> Verdict<()> {
    let yard = scene(bench)?;
    received(&yard, sent(&yard, &request(&yard, "a", form)?)?, "copy")?;
    yard.make_all(&[
        Op::write("a", "state", "three"),
        Op::write("a", "new", "file"),
        Op::snapshot("a"),
        Op::write("a", "state", "four"),
        Op::snapshot("a"),
        Op::write("a", "late", "five"),
    ])?;
    let request_there = since(request(&yard, "a", form)?, "snap1")?;
    let answer = received(&yard, sent(&yard, &request_there)?, "copy")?;
    claim!(!answer.is_new, "it was brought up to date");
    claim_eq!(answer.snapshots.len(), 2, "snapshots");
    alike(&yard.view()?, "a", "copy")?;
    // And back: whoever received can send what changed there.
    yard.make_all(&[
        Op::write("copy", "state", "six"),
        Op::snapshot("copy"),
        Op::write("copy", "new", "seven"),
    ])?;
    let request_back = since(request(&yard, "copy", form)?, "snap3")?;
    let back = Cursor::new(sent(&yard, &request_back)?);
    yard.receive(&Context::default(), Box::new(back), "a", Divergence::Overwrite)?;
    alike(&yard.view()?, "copy", "a")
}

fn diverged(bench: &Bench<'_>, form: Encoding) -> Verdict<()> {
    let yard = scene(bench)?;
    received(&yard, sent(&yard, &request(&yard, "a", form)?)?, "copy")?;
    yard.make_all(&[
        Op::write("copy", "mine", "precious"),
        Op::write("a", "state", "three"),
        Op::snapshot("a"),
    ])?;
    let bytes = sent(&yard, &since(request(&yard, "a", form)?, "snap1")?)?;
    let before = yard.view()?;
    let error = received(&yard, bytes.clone(), "copy").err();
    let kind = error.as_ref().map(Error::kind);
    claim_eq!(kind, Some(ErrorKind::AlreadyExists), "a head that changed here");
    claim!(before == yard.view()?, "refused, but it changed");
    yard.receive(&Context::default(), Box::new(Cursor::new(bytes)), "copy", Divergence::Overwrite)?;
    alike(&yard.view()?, "a", "copy")
}

fn no_base(bench: &Bench<'_>, form: Encoding) -> Verdict<()> {
    let yard = scene(bench)?;
    yard.make(Op::create("copy"))?;
    yard.make(Op::snapshot("copy"))?;
    let bytes = sent(&yard, &since(request(&yard, "a", form)?, "snap0")?)?;
    let before = yard.view()?;
    for name in ["copy", "nobody"] {
        let kind = received(&yard, bytes.clone(), name).err().map(|error| error.kind());
        claim_eq!(kind, Some(ErrorKind::NotFound), "changes for `{name}`");
    }
    claim!(before == yard.view()?, "refused, but it changed");
    Ok(())
}

fn taken(bench: &Bench<'_>, form: Encoding) -> Verdict<()> {
    let yard = scene(bench)?;
    yard.make(Op::create("mine"))?;
    let bytes = sent(&yard, &request(&yard, "a", form)?)?;
    let foreign = yard.lxcpath.join("theirs");
    std::fs::create_dir(&foreign)?;
    std::fs::write(foreign.join("precious"), "data of somebody else")?;
    let (before, objects) = (yard.view()?, bench.rig.objects(bench.ground())?);
    for name in ["mine", "theirs"] {
        let kind = received(&yard, bytes.clone(), name).err().map(|error| error.kind());
        claim!(
            matches!(kind, Some(ErrorKind::AlreadyExists | ErrorKind::Foreign)),
            "received over `{name}`: {kind:?}"
        );
    }
    claim!(before == yard.view()?, "refused, but it changed");
    claim_eq!(std::fs::read_to_string(foreign.join("precious"))?, "data of somebody else", "what is theirs");
    claim_eq!(bench.rig.objects(bench.ground())?, objects, "objects in the pool");
    let pending = yard.engine.pending(&yard.lxcpath)?;
    claim!(pending.is_empty(), "left: {pending:?}");
    foreign_object(bench, &yard, bytes)
}

/// In a store whose objects have names of their own, somebody's object may have the name that the container wants.
fn foreign_object(bench: &Bench<'_>, yard: &Yard<'_>, bytes: Vec<u8>) -> Verdict<()> {
    if bench.promises()?.residence != keiki_core::capability::Residence::Named {
        return Ok(());
    }
    let place = bench.place("stranger", None)?;
    std::fs::remove_dir(yard.lxcpath.join("stranger"))?;
    let Ok(stranger) = bench.rig.plant_stranger(bench.ground(), &place) else { return Ok(()) };
    let kind = received(yard, bytes, "stranger").err().map(|error| error.kind());
    claim!(
        matches!(kind, Some(ErrorKind::AlreadyExists | ErrorKind::Foreign)),
        "received over an object of somebody else: {kind:?}"
    );
    stranger.expect_untouched()?;
    // What came may wait for the name.
    for pending in yard.engine.pending(&yard.lxcpath)? {
        yard.engine.discard_pending(&Context::default(), &yard.lxcpath, &pending.name)?;
    }
    stranger.expect_untouched()
}
