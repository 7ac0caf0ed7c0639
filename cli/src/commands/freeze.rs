//! `keiki freeze`, `keiki unfreeze`: all processes of a container, suspended and let go on.

use keiki_core::Result;

use crate::args;
use crate::error::Exit;
use crate::session::Session;

pub(crate) fn freeze(session: &Session, args: &args::Freeze) -> Result<Exit> {
    session.each(&args.names, |name| {
        let key = session.container(name)?;
        session.runtime()?.freeze(&key)?;
        session.ui().done(&format!("froze {}", key.name))
    })
}

pub(crate) fn unfreeze(session: &Session, args: &args::Freeze) -> Result<Exit> {
    session.each(&args.names, |name| {
        let key = session.container(name)?;
        session.runtime()?.unfreeze(&key)?;
        session.ui().done(&format!("unfroze {}", key.name))
    })
}
