//! `keiki attach`: a shell, or another program, in a running container, on a terminal of its own when this process has one.

use keiki_core::Result;
use keiki_runtime::{AttachCommand, Terminal};

use crate::args;
use crate::error::Exit;
use crate::session::Session;

pub(crate) fn run(session: &Session, args: &args::Attach) -> Result<Exit> {
    let key = session.container(&args.name)?;
    let command = AttachCommand {
        argv: args.command.clone(),
        environment: super::exec::environment(&args.surroundings.environment)?,
        cwd: args.surroundings.cwd.clone(),
        terminal: Terminal::Auto,
        ..AttachCommand::default()
    };
    session.runtime()?.attach(&key, &command).map(Exit::of_command)
}
