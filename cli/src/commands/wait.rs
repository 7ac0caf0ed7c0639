//! `keiki wait`: returns when a container is in one of some states.

use std::time::Duration;

use keiki_core::Result;
use keiki_runtime::ContainerState;

use crate::args;
use crate::error::Exit;
use crate::session::Session;

pub(crate) fn run(session: &Session, args: &args::Wait) -> Result<Exit> {
    let key = session.container(&args.name)?;
    let states = args.states.iter().map(|text| text.parse()).collect::<Result<Vec<ContainerState>>>()?;
    let timeout = args.timeout.map(Duration::from_secs);
    let state = session.runtime()?.wait(&key, &states, timeout)?;
    session.ui().done(&format!("{} is {state}", key.name))?;
    Ok(Exit::DONE)
}
