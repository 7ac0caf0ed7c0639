//! `keiki resize` and `keiki quota`: how much a container may hold.

use keiki_core::Result;
use keiki_core::units::Bytes;

use crate::args;
use crate::error::Exit;
use crate::session::Session;

pub(crate) fn resize(session: &Session, args: &args::Resize) -> Result<Exit> {
    let key = session.container(&args.name)?;
    let size: Bytes = args.size.parse()?;
    let got = session.runtime()?.engine().resize(&session.context()?, &key, size)?;
    session.ui().done(&format!("resized {} to {got}", key.name))?;
    Ok(Exit::DONE)
}

pub(crate) fn quota(session: &Session, args: &args::Quota) -> Result<Exit> {
    let key = session.container(&args.name)?;
    let limit: Option<Bytes> = if args.size == "none" { None } else { Some(args.size.parse()?) };
    session.runtime()?.engine().quota(&session.context()?, &key, limit)?;
    let said = match limit {
        Some(limit) => format!("limited {} to {limit}", key.name),
        None => format!("lifted the limit of {}", key.name),
    };
    session.ui().done(&said)?;
    Ok(Exit::DONE)
}
