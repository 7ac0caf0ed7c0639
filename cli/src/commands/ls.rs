//! `keiki ls`: answered from the catalogue and the run directory; no tool, no mount, no lock a container.

use keiki_core::{Error, ErrorKind, Result};
use keiki_runtime::ContainerStatus;

use crate::args;
use crate::error::Exit;
use crate::session::Session;
use crate::ui::format;

pub(crate) fn run(session: &Session, args: &args::Ls) -> Result<Exit> {
    let lxcpath = session.listed_lxcpath()?;
    let mut statuses = session.runtime()?.statuses(&lxcpath)?;
    check_names(&statuses, &args.names)?;
    statuses.retain(|status| is_wanted(status, args));
    let text = if args.names_only {
        statuses.iter().map(|status| format!("{}\n", status.record.key.name)).collect()
    } else {
        format::many(&statuses, args.format, &args.columns, session.ui().palette())?
    };
    session.ui().data(&text)?;
    Ok(Exit::DONE)
}

fn check_names(statuses: &[ContainerStatus], names: &[String]) -> Result<()> {
    let missing = names.iter().find(|name| !statuses.iter().any(|s| s.record.key.name.as_str() == **name));
    missing.map_or(Ok(()), |name| {
        Err(Error::new(ErrorKind::NotFound, format!("there is no container `{name}`")))
    })
}

fn is_wanted(status: &ContainerStatus, args: &args::Ls) -> bool {
    let name = status.record.key.name.as_str();
    let is_alive = status.state.is_alive();
    (args.names.is_empty() || args.names.iter().any(|wanted| wanted == name))
        && (!args.running || is_alive)
        && (!args.stopped || !is_alive)
}
