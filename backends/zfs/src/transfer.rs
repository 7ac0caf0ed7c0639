//! Streams of zfs's own: `zfs send` of one snapshot, whole or upon an earlier one of the same dataset, and `zfs receive` of it.
//!
//! ```text
//! whole      zfs receive -u -o keiki:id=HEAD … DATASET@keiki-<short>    makes the dataset and its first snapshot
//! changes    zfs receive -u -F DATASET@keiki-<short>                    what the dataset wrote since the base is lost
//! then       zfs set keiki:id=… DATASET@keiki-<short>
//! ```
//!
//! The snapshot is marked last; without the mark its name says that it is ours and unfinished. A receive that breaks off leaves nothing:
//! zfs itself takes back a whole one, and writes changes beside the dataset until they are complete.
//!
//! `-F` would destroy every snapshot that is younger than the base, whoever made it. So the base has to be the youngest, and the
//! refusal names those that are in the way.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::thread;

use keiki_core::context::Context;
use keiki_core::store::Presence;
use keiki_core::tool::Answer;
use keiki_core::volume::Volume;
use keiki_core::{Error, ErrorKind, Result, ResultExt};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::busy::{name_holders, refuse_mounted};
use crate::create::{foreign, missing, presence, require, with_properties};
use crate::dataset::Place;
use crate::parse::{self, MARK};
use crate::stream;
use crate::tool;

/// The form of the streams.
pub(crate) const FORMAT: &str = "zfs-1";

/// Writes `snapshot` into `out`; see `Transfer::send`.
pub(crate) fn send(context: &Context, snapshot: &Volume, base: Option<&Volume>, out: OwnedFd) -> Result<()> {
    let (place, sight) = tool::look_at(context, snapshot)?;
    require(&place, snapshot, &sight)?;
    if place.snapshot.is_none() {
        return Err(other_form(&format!("`{}` is a snapshot that zfs keeps as a clone", place.name())));
    }
    let name = place.name();
    let mut arguments = vec!["send", "-L", "-c"];
    let from = base.map(|base| base_of(context, base, &place)).transpose()?;
    arguments.extend(from.iter().flat_map(|from| ["-i", from.as_str()]));
    arguments.push(&name);
    context.step("zfs.send")?;
    complete(&tool::write_stream(context, &arguments, out)?, "send", &name)
}

/// Returns the name of the snapshot that changes are told from.
fn base_of(context: &Context, base: &Volume, place: &Place) -> Result<String> {
    let (at, sight) = tool::look_at(context, base)?;
    require(&at, base, &sight)?;
    if at.snapshot.is_none() || at.dataset != place.dataset {
        let why = format!("`{}` and `{}` are no snapshots of one dataset", at.name(), place.name());
        return Err(other_form(&why));
    }
    Ok(at.name())
}

/// Returns the error for what only the form that every store understands can carry.
fn other_form(why: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("zfs has no stream of this: {why}"))
        .with_hint("send without `--native`")
}

/// Makes `snapshot` what the stream holds; see `Transfer::receive`.
pub(crate) fn receive(
    context: &Context,
    head: &Volume,
    snapshot: &Volume,
    base: Option<&Volume>,
    input: OwnedFd,
) -> Result<()> {
    let (dataset, place) = (Place::of(head)?, Place::of(snapshot)?);
    if place.snapshot.is_none() || place.dataset != dataset.dataset || dataset.snapshot.is_some() {
        return Err(other_form(&format!("`{}` is no snapshot of `{}`", place.name(), dataset.name())));
    }
    let mut input = File::from(input);
    let record = stream::read(&mut input)?;
    let header = stream::parse(&record)?;
    let name = place.name();
    let options = match base {
        None => {
            require_whole(header.from)?;
            require_free(context, (head, &dataset), (snapshot, &place))?;
            with_properties(head.id)
        }
        Some(base) => {
            require_base(context, (head, &dataset), base, header.from)?;
            refuse_mounted(&dataset.dataset, "receive into")?;
            vec!["-F".to_owned()]
        }
    };
    let front = ["receive", "-u"].into_iter().chain(options.iter().map(String::as_str));
    let arguments: Vec<&str> = front.chain([name.as_str()]).collect();
    context.step("zfs.receive")?;
    let answer = feed(context, &arguments, &record, input)?;
    complete(&answer, "receive", &name).map_err(|error| name_holders(error, &dataset.dataset))?;
    context.step("zfs.mark")?;
    let mark = format!("{MARK}={}", snapshot.id);
    tool::require(context, &["set", &mark, &name], "mark", &name).map(drop)
}

fn complete(answer: &Answer, what: &str, name: &str) -> Result<()> {
    if answer.code == 0 { Ok(()) } else { Err(tool::complaint(answer, what, name)) }
}

fn require_whole(from: Option<u64>) -> Result<()> {
    match from {
        None => Ok(()),
        Some(_) => {
            Err(Error::new(ErrorKind::NotFound, "the zfs stream holds only changes, and there is no base")
                .with_hint("send it whole first"))
        }
    }
}

/// Refuses names that are taken.
fn require_free(context: &Context, head: (&Volume, &Place), snapshot: (&Volume, &Place)) -> Result<()> {
    let names = [head.1.name(), snapshot.1.name()];
    let sight = tool::look(context, &[&names[0], &names[1]])?;
    for (volume, place) in [head, snapshot] {
        if presence(place, volume, &sight) != Presence::Absent {
            return Err(foreign(place, &sight));
        }
    }
    Ok(())
}

/// Refuses a base that is not what the stream starts from, and one that is not the youngest snapshot.
fn require_base(
    context: &Context,
    (head, dataset): (&Volume, &Place),
    base: &Volume,
    from: Option<u64>,
) -> Result<()> {
    let at = Place::of(base)?;
    let name = at.name();
    let sight = tool::look(context, &[&dataset.dataset, &name])?;
    require(dataset, head, &sight)?;
    require(&at, base, &sight)?;
    if at.dataset != dataset.dataset {
        return Err(other_form(&format!("`{name}` is no snapshot of `{}`", dataset.dataset)));
    }
    let arguments = [
        "get",
        "-Hp",
        "-d",
        "1",
        "-t",
        "snapshot",
        "-o",
        "name,property,value,source",
        "guid,createtxg",
        &dataset.dataset,
    ];
    let answer = tool::require(context, &arguments, "look at the snapshots of", &dataset.dataset)?;
    let known = snapshots(answer.text()?).map_err(|why| answer.misunderstood(&why))?;
    let Some(known_base) = known.iter().find(|known| known.name == name) else { return Err(missing(&at)) };
    if Some(known_base.guid) != from {
        return Err(Error::new(ErrorKind::NotFound, format!("the zfs stream does not start from `{name}`"))
            .with_hint(
                "send since a snapshot that came from there by a stream of zfs, or without `--native`",
            ));
    }
    let younger: Vec<String> = known
        .iter()
        .filter(|known| known.created > known_base.created)
        .map(|known| format!("`{}`", known.name))
        .collect();
    if younger.is_empty() {
        return Ok(());
    }
    let names = younger.join(", ");
    let text = format!("`{}` cannot go back to `{name}`: {names} would be lost", dataset.dataset);
    Err(Error::new(ErrorKind::HasDependents, text)
        .with_context("younger", names)
        .with_hint("destroy them, and the clones that stand on them; or send without `--native`"))
}

/// A snapshot with what orders it and what it is.
#[derive(Debug, Default, PartialEq, Eq)]
struct Known {
    name: String,
    guid: u64,
    created: u64,
}

fn snapshots(text: &str) -> Result<Vec<Known>, String> {
    let mut known: Vec<Known> = Vec::new();
    for row in parse::rows(text)? {
        if known.last().is_none_or(|last| last.name != row.name) {
            known.push(Known { name: row.name.to_owned(), ..Known::default() });
        }
        let number =
            parse::number(row.value)?.ok_or_else(|| format!("`{}` has no {}", row.name, row.property))?;
        match (known.last_mut(), row.property) {
            (Some(last), "guid") => last.guid = number,
            (Some(last), "createtxg") => last.created = number,
            (_, other) => return Err(format!("a property `{other}` that was not asked for")),
        }
    }
    Ok(known)
}

/// Runs `zfs` on the stream whose first record was read already.
fn feed(context: &Context, arguments: &[&str], record: &[u8], mut rest: File) -> Result<Answer> {
    let (input, end) = pipe_with(PipeFlags::CLOEXEC).or_err(|| "cannot make a pipe".to_owned())?;
    thread::scope(|scope| {
        let carrier = scope.spawn(move || carry(record, &mut rest, &mut File::from(end)));
        let answer = tool::read_stream(context, arguments, input);
        let carried = carrier.join().map_err(|_| Error::new(ErrorKind::Internal, "a thread broke off"))?;
        carried.or_err(|| "cannot read the zfs stream".to_owned()).and(answer)
    })
}

/// Carries a stream into a pipe. That nobody reads to the end is said by who does not.
fn carry(record: &[u8], rest: &mut impl Read, end: &mut impl Write) -> io::Result<()> {
    let written = end.write_all(record).and_then(|()| {
        let mut buffer = vec![0; 256 << 10];
        loop {
            match rest.read(&mut buffer)? {
                0 => return Ok(()),
                read => end.write_all(&buffer[..read])?,
            }
        }
    });
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn snapshots_are_read_with_their_order() {
        let text = "t/a@x\tguid\t18446744073709551615\t-\nt/a@x\tcreatetxg\t12\t-\nt/a@y\tguid\t3\t-\nt/a@y\tcreatetxg\t14\t-\n";
        let known = snapshots(text).unwrap();
        assert_eq!(known.len(), 2);
        assert_eq!((known[0].guid, known[0].created), (u64::MAX, 12));
        assert!(snapshots("t/a@x\tguid\t-\t-").is_err());
        assert!(snapshots("t/a@x\tcolour\t3\t-").is_err());
        assert!(snapshots("t/a@x guid 3").is_err());
    }

    #[test]
    fn a_reader_that_ends_early_is_no_error_of_the_carrier() {
        let (input, end) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        drop(input);
        carry(b"record", &mut io::repeat(1).take(1 << 20), &mut File::from(end)).unwrap();
    }
}
