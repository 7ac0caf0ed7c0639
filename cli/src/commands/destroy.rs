//! `keiki destroy`: refuses while others need the data, and says who; `--dry-run` shows the plan and changes nothing.

use keiki_core::Result;
use keiki_core::engine::{ContainerKey, DestroyScope};
use keiki_core::lineage::{Action, Cause, DestroyPlan, DestroyStep};
use keiki_runtime::Running;

use crate::args;
use crate::error::Exit;
use crate::session::Session;
use crate::ui::format::{self, Cell, Format, Record};

pub(crate) fn run(session: &Session, args: &args::Destroy) -> Result<Exit> {
    session.each(&args.names, |name| {
        let key = session.container(name)?;
        if args.dry_run { show(session, args, &key) } else { destroy(session, args, &key) }
    })
}

fn destroy(session: &Session, args: &args::Destroy, key: &ContainerKey) -> Result<()> {
    let running = if args.force { Running::Stop } else { Running::Refuse };
    let plan = session.runtime()?.destroy(&session.context()?, key, scope(args), running)?;
    plan.steps
        .iter()
        .filter(|step| step.role.is_named())
        .try_for_each(|step| session.ui().done(&format!("destroyed {}", step.name)))
}

/// Prints what a destroy would do; one that would be refused is refused here too, with the same code.
fn show(session: &Session, args: &args::Destroy, key: &ContainerKey) -> Result<()> {
    let plan: DestroyPlan = session.runtime()?.engine().plan_destroy(key, scope(args))?.permitted()?;
    let text = match args.format {
        Format::Table => plan.steps.iter().map(|step| format!("would {}\n", step.describe())).collect(),
        other => format::many(&plan.steps, other, &[], session.ui().palette())?,
    };
    session.ui().data(&text)
}

fn scope(args: &args::Destroy) -> DestroyScope {
    match (args.with_dependents, args.with_snapshots) {
        (true, _) => DestroyScope::WithDependents,
        (_, true) => DestroyScope::WithSnapshots,
        (false, false) => DestroyScope::Only,
    }
}

impl Record for DestroyStep {
    const FIELDS: &'static [&'static str] = &["name", "kind", "action", "cause", "container"];
    const TABLE: &'static [&'static str] = Self::FIELDS;

    fn cell(&self, field: &str) -> Cell {
        match field {
            "name" => Cell::Text(self.name.clone()),
            "kind" => Cell::Text(self.role.word().to_owned()),
            "action" => Cell::Text(action(self.action).to_owned()),
            "cause" => Cell::Text(cause(self.cause).to_owned()),
            "container" => Cell::Text(self.container.name.to_string()),
            _ => Cell::Absent,
        }
    }
}

fn action(action: Action) -> &'static str {
    match action {
        Action::Destroy => "destroy",
        Action::Defer => "defer",
    }
}

fn cause(cause: Cause) -> &'static str {
    match cause {
        Cause::Named => "named",
        Cause::Snapshot => "snapshot",
        Cause::Dependent => "dependent",
        Cause::Unneeded => "unneeded",
    }
}
