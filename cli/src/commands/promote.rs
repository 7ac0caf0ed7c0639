//! `keiki promote`: turns a dependency round, so that an origin can go and its clone stays.

use keiki_core::Result;

use crate::args;
use crate::error::Exit;
use crate::session::Session;

pub(crate) fn run(session: &Session, args: &args::Promote) -> Result<Exit> {
    let key = session.container(&args.name)?;
    let needed_by = session.runtime()?.engine().promote(&session.context()?, &key)?;
    let said = if needed_by.is_empty() {
        format!("promoted {}: it depends on nobody, and nobody on it", key.name)
    } else {
        format!("promoted {}: it depends on nobody; needed by {}", key.name, needed_by.join(", "))
    };
    session.ui().done(&said)?;
    Ok(Exit::DONE)
}
