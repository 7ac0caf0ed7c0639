//! The verbs, one file each. A verb parses names, asks the runtime, and says what was done.

mod attach;
mod autostart;
mod cgroup;
mod check;
mod clone;
mod config;
mod create;
mod destroy;
mod df;
mod exec;
mod flatten;
mod freeze;
mod info;
mod ls;
mod net;
mod outcome;
mod promote;
mod receive;
mod rename;
mod resize;
mod run;
mod send;
mod snapshot;
mod start;
mod status;
mod stop;
mod stores;
mod tree;
mod wait;

use keiki_core::Result;

use crate::args::Verb;
use crate::error::Exit;
use crate::session::Session;

/// Runs one verb.
///
/// # Errors
/// What the verb fails with; its kind decides the exit code.
pub(crate) fn run(session: &Session, verb: &Verb) -> Result<Exit> {
    match verb {
        Verb::Create(args) => create::run(session, args),
        Verb::Start(args) => start::run(session, args),
        Verb::Stop(args) => stop::run(session, args),
        Verb::Attach(args) => attach::run(session, args),
        Verb::Exec(args) => exec::run(session, args),
        Verb::Run(args) => run::run(session, args),
        Verb::Freeze(args) => freeze::freeze(session, args),
        Verb::Unfreeze(args) => freeze::unfreeze(session, args),
        Verb::Cgroup(args) => cgroup::run(session, args),
        Verb::Autostart(args) => autostart::run(session, args),
        Verb::Wait(args) => wait::run(session, args),
        Verb::Clone(args) => clone::run(session, args),
        Verb::Snapshot(args) => snapshot::run(session, &args.verb),
        Verb::Send(args) => send::run(session, args),
        Verb::Receive(args) => receive::run(session, args),
        Verb::Destroy(args) => destroy::run(session, args),
        Verb::Rename(args) => rename::run(session, args),
        Verb::Flatten(args) => flatten::run(session, args),
        Verb::Promote(args) => promote::run(session, args),
        Verb::Resize(args) => resize::resize(session, args),
        Verb::Quota(args) => resize::quota(session, args),
        Verb::Config(args) => config::run(session, &args.verb),
        Verb::Net(args) => net::run(session, args),
        Verb::Ls(args) => ls::run(session, args),
        Verb::Info(args) => info::run(session, args),
        Verb::Tree(args) => tree::run(session, args),
        Verb::Df(args) => df::run(session, args),
        Verb::Stores(args) => stores::run(session, args),
        Verb::Check(args) => check::run(session, args),
    }
}
