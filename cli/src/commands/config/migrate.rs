//! `keiki config migrate`: names of LXC 1 and 2, replaced in place.

use keiki_config::{ContainerConfig, Renaming, migrated};
use keiki_core::Result;
use keiki_core::engine::{Backup, Edited};

use super::Target;
use crate::args;
use crate::error::Exit;
use crate::session::Session;
use crate::ui::format::{self, Cell, Format, Record};

/// As lxc-update-config names it.
const BACKUP: Backup = Backup::Suffix(".backup");

pub(super) fn run(session: &Session, args: &args::ConfigMigrate) -> Result<Exit> {
    let mut exit = Exit::DONE;
    let each = session.each(&args.targets, |target| {
        let target = Target::parse(session, target)?;
        if migrate(session, args, &target)? == Soundness::Wrong {
            exit = Exit::FAILED;
        }
        Ok(())
    })?;
    Ok(if each == Exit::DONE { exit } else { each })
}

/// Whether the new text is a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Soundness {
    Sound,
    Wrong,
}

fn migrate(session: &Session, args: &args::ConfigMigrate, target: &Target) -> Result<Soundness> {
    let mut renamings = Vec::new();
    let mut new = Vec::new();
    let edited = if args.dry_run {
        (new, renamings) = migrated(&target.read(session)?);
        Edited::Unchanged
    } else {
        let edited = target.edit(session, BACKUP, |text, _| {
            (new, renamings) = migrated(text);
            Ok(new.clone())
        });
        edited.map_err(|error| error.while_doing(format!("cannot migrate `{}`", target.name())))?
    };
    show(session, args, target, &renamings)?;
    if let Edited::Replaced(Some(backup)) = &edited {
        let count = renamings.len();
        session.ui().done_aside(&format!(
            "migrated {} ({count} {}); the old file is {}",
            target.name(),
            if count == 1 { "line" } else { "lines" },
            backup.display()
        ));
    } else if renamings.is_empty() {
        session.ui().done_aside(&format!("{} has no old names", target.name()));
    }
    Ok(told(session, &new, target))
}

fn show(
    session: &Session,
    args: &args::ConfigMigrate,
    target: &Target,
    renamings: &[Renaming],
) -> Result<()> {
    let file = target.path().display().to_string();
    let rows: Vec<Row<'_>> = renamings.iter().map(|renaming| Row { file: &file, renaming }).collect();
    let text = match args.format {
        Format::Table => rows.iter().map(Row::line).collect(),
        other => format::many(&rows, other, &[], session.ui().palette())?,
    };
    session.ui().data(&text)
}

/// Tells what else is wrong: an include of LXC 1 that nobody ships any more, most often.
fn told(session: &Session, text: &[u8], target: &Target) -> Soundness {
    let Err(wrong) = ContainerConfig::parse(text, &target.path()) else { return Soundness::Sound };
    for diagnostic in wrong.0 {
        session.ui().warning(&diagnostic.to_string());
    }
    Soundness::Wrong
}

struct Row<'a> {
    file: &'a str,
    renaming: &'a Renaming,
}

impl Row<'_> {
    fn line(&self) -> String {
        let place = format!("{}:{}", self.file, self.renaming.line);
        match &self.renaming.new {
            Some(new) => format!("{place}: {} → {new}\n", self.renaming.old),
            None => format!("{place}: {} is gone\n", self.renaming.old),
        }
    }
}

impl Record for Row<'_> {
    const FIELDS: &'static [&'static str] = &["file", "line", "old", "new"];
    const TABLE: &'static [&'static str] = Self::FIELDS;

    fn cell(&self, field: &str) -> Cell {
        match field {
            "file" => Cell::Text(self.file.to_owned()),
            "line" => Cell::number(u64::try_from(self.renaming.line).ok()),
            "old" => Cell::Text(self.renaming.old.clone()),
            "new" => Cell::text(self.renaming.new.as_deref()),
            _ => Cell::Absent,
        }
    }
}
