//! `keiki stop`: asks init to shut down, and kills what does not; `--kill` does not ask.

use std::time::Duration;

use keiki_core::Result;
use keiki_runtime::{StopMode, StopOptions};

use crate::args;
use crate::error::Exit;
use crate::session::Session;

pub(crate) fn run(session: &Session, args: &args::Stop) -> Result<Exit> {
    let mode = if args.kill { StopMode::Kill } else { StopMode::Shutdown };
    let options = StopOptions { mode, timeout: Duration::from_secs(args.timeout) };
    session.each(&args.names, |name| {
        let key = session.container(name)?;
        session.runtime()?.stop(&key, &options)?;
        session.ui().done(&format!("stopped {}", key.name))
    })
}
