//! `keiki rename`.

use keiki_core::Result;
use keiki_core::name::ContainerName;

use crate::args;
use crate::error::Exit;
use crate::session::Session;

pub(crate) fn run(session: &Session, args: &args::Rename) -> Result<Exit> {
    let key = session.container(&args.name)?;
    let new = ContainerName::parse(&args.new)?;
    session.runtime()?.engine().rename(&session.context()?, &key, &new)?;
    session.ui().done(&format!("renamed {} to {new}", key.name))?;
    Ok(Exit::DONE)
}
