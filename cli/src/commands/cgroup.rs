//! `keiki cgroup`: what the kernel allows and counts for a running container, file by file.

use keiki_core::Result;

use crate::args;
use crate::error::Exit;
use crate::session::Session;

pub(crate) fn run(session: &Session, args: &args::Cgroup) -> Result<Exit> {
    let key = session.container(&args.name)?;
    match &args.value {
        Some(value) => {
            session.runtime()?.set_cgroup_value(&key, &args.file, value)?;
            session.ui().done(&format!("set {} of {} to {value}", args.file, key.name))?;
        }
        None => {
            let value = session.runtime()?.cgroup_value(&key, &args.file)?;
            session.ui().data(&format!("{value}\n"))?;
        }
    }
    Ok(Exit::DONE)
}
