//! `keiki config set` and `keiki config clear`.

use keiki_config::keys::{self, Applied};
use keiki_config::{Change, with_changes};
use keiki_core::Result;
use keiki_core::engine::{Backup, Edited};

use super::Target;
use crate::args;
use crate::error::Exit;
use crate::session::Session;

pub(super) fn set(session: &Session, args: &args::ConfigSet) -> Result<Exit> {
    let changes: Vec<Change> = args.changes.iter().map(|text| Change::parse(text)).collect::<Result<_>>()?;
    change(session, &args.target, &changes)
}

pub(super) fn clear(session: &Session, args: &args::ConfigClear) -> Result<Exit> {
    let changes: Vec<Change> = args.keys.iter().map(|key| Change::clear(key)).collect::<Result<_>>()?;
    change(session, &args.target, &changes)
}

fn change(session: &Session, target: &str, changes: &[Change]) -> Result<Exit> {
    let target = Target::parse(session, target)?;
    let edited = target
        .edit(session, Backup::None, |text, file| with_changes(text, file, changes))
        .map_err(|error| error.while_doing(format!("cannot configure `{}`", target.name())))?;
    for change in changes {
        tell_if_not_applied(session, change);
    }
    let name = target.name();
    session.ui().done(&match edited {
        Edited::Unchanged => format!("{name} is configured so already"),
        Edited::Replaced(_) if runs(session, &target)? => {
            format!("configured {name}; it runs, and has this at its next start")
        }
        Edited::Replaced(_) => format!("configured {name}"),
    })?;
    Ok(Exit::DONE)
}

/// No key is accepted and passed over in silence.
fn tell_if_not_applied(session: &Session, change: &Change) {
    let is_left_out = keys::find(change.key())
        .is_some_and(|(key, _)| matches!(key.applied, Applied::NotYet | Applied::Unused));
    if is_left_out && matches!(change, Change::Set { .. }) {
        session.ui().warning(&format!("{} is not applied by this version of keiki", change.key()));
    }
}

fn runs(session: &Session, target: &Target) -> Result<bool> {
    match target {
        Target::Container(key) => Ok(session.runtime()?.state(key)?.is_alive()),
        Target::File(_) => Ok(false),
    }
}
