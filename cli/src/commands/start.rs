//! `keiki start`: in the background; what the configuration asks and this version does not do yet is a warning.

use keiki_core::Result;
use keiki_runtime::StartOptions;

use super::exec::environment;
use crate::args;
use crate::error::Exit;
use crate::session::Session;

pub(crate) fn run(session: &Session, args: &args::Start) -> Result<Exit> {
    let key = session.container(&args.name)?;
    let command = (!args.command.is_empty()).then(|| args.command.clone());
    let options = StartOptions { command, environment: environment(&args.environment)? };
    let started = session.runtime()?.start(&session.context()?, &key, &options)?;
    let unused = session.global_config()?.unused().into_iter().map(|line| format!("{line} is not applied"));
    for warning in started.warnings.iter().cloned().chain(unused) {
        session.ui().warning(&warning);
    }
    session.ui().done(&format!("started {} (pid {})", key.name, started.pid))?;
    Ok(Exit::DONE)
}
