//! `keiki send`: a container goes to stdout.

use std::io::IsTerminal;
use std::os::fd::AsFd;

use keiki_core::engine::{Continuation, Encoding, SendContainer, Sent};
use keiki_core::name::SnapshotName;
use keiki_core::units::Bytes;
use keiki_core::{Error, ErrorKind, Result, ResultExt};

use crate::args;
use crate::error::Exit;
use crate::session::Session;

pub(crate) fn run(session: &Session, args: &args::Send) -> Result<Exit> {
    let stdout = std::io::stdout();
    if stdout.is_terminal() {
        return Err(Error::new(ErrorKind::InvalidArgument, "a stream is not written to a terminal")
            .with_hint("pipe it: `keiki send NAME | ssh HOST keiki receive`, or `> FILE`"));
    }
    let request = request(session, args)?;
    let out = stdout.as_fd().try_clone_to_owned().or_err(|| "cannot use stdout".to_owned())?;
    let sent = session.runtime()?.engine().send(&session.context()?, &request, out)?;
    session.ui().done_aside(&format!("sent {}", described(&sent)));
    Ok(Exit::DONE)
}

fn request(session: &Session, args: &args::Send) -> Result<SendContainer> {
    let resume = args.resume.as_deref().map(str::parse::<Continuation>).transpose()?;
    let (key, until) = match (&args.source, &resume) {
        (Some(source), _) => session.source(source)?,
        (None, Some(token)) => (session.container(token.container().as_str())?, None),
        (None, None) => return Err(Error::new(ErrorKind::InvalidArgument, "no container is named")),
    };
    let since = args.since.as_deref().map(SnapshotName::existing).transpose()?;
    let mut request = SendContainer { key, until, since, resume, encoding: Encoding::Tree };
    let wants_native = match (&args.accept, args.native) {
        (Some(offer), _) => {
            let engine = session.runtime()?.engine();
            engine
                .format_of(&request.key)?
                .is_some_and(|form| offer.split_whitespace().any(|word| word == form))
        }
        (None, native) => native,
    };
    if wants_native {
        request.encoding = Encoding::Native;
    }
    Ok(request)
}

fn described(sent: &Sent) -> String {
    let what = match (sent.snapshots.len(), sent.head) {
        (0, _) => "the present state".to_owned(),
        (count, true) => format!("{count} snapshot{} and the present state", plural(count)),
        (count, false) => format!("{count} snapshot{}", plural(count)),
    };
    format!("{} ({what}, {}, {})", sent.name, sent.encoding, Bytes(sent.bytes))
}

/// Returns the ending of a plural.
pub(super) fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}
