//! `keiki flatten`: copies what a container still shares, so that it depends on nobody.

use keiki_core::Result;

use super::outcome::described;
use crate::args;
use crate::error::Exit;
use crate::session::Session;

pub(crate) fn run(session: &Session, args: &args::Flatten) -> Result<Exit> {
    let key = session.container(&args.name)?;
    let outcome = session.runtime()?.engine().flatten(&session.context()?, &key)?;
    session.ui().done(&format!("flattened {} ({})", key.name, described(&outcome)))?;
    Ok(Exit::DONE)
}
