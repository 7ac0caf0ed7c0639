//! `keiki config check`: what is wrong, and what is understood and not applied.

use std::path::{Path, PathBuf};

use keiki_config::keys::{self, Applied};
use keiki_config::{ContainerConfig, Diagnostic, GlobalConfig};
use keiki_core::name::ContainerName;
use keiki_core::{Error, Result};
use keiki_runtime::start_warnings;

use super::Target;
use crate::args;
use crate::error::Exit;
use crate::session::Session;
use crate::ui::color::{Palette, Style};
use crate::ui::format::{self, Cell, Format, Record};
use crate::ui::without_numbers;

pub(super) fn run(session: &Session, args: &args::ConfigCheck) -> Result<Exit> {
    let targets = if args.targets.is_empty() {
        everything(session)?
    } else {
        args.targets.iter().map(|target| Target::parse(session, target)).collect::<Result<_>>()?
    };
    let mut findings = Vec::new();
    if args.targets.is_empty() {
        findings.extend(
            session.global_config()?.unused().iter().map(|key| Finding::warning(&format!("{key} {UNUSED}"))),
        );
    }
    for target in &targets {
        findings.extend(look_at(session, target)?);
    }
    let palette = session.ui().palette();
    let text = match args.format {
        Format::Table => told(&findings, targets.len(), palette),
        other => format::many(&findings, other, &[], palette)?,
    };
    session.ui().data(&text)?;
    let is_sound = findings.iter().all(|finding| finding.severity == Severity::Warning);
    Ok(if is_sound { Exit::DONE } else { Exit::FAILED })
}

const UNUSED: &str = "is not applied by this version of keiki";

/// Returns the configuration that new containers get, and those of all containers; also of those that no other verb would know,
/// because their names of keys are old.
fn everything(session: &Session) -> Result<Vec<Target>> {
    let usual = session.global_config()?.default_config().map(Target::File);
    let lxcpath = session.lxcpath()?;
    let cannot_list = |e| Error::io(format!("cannot list `{}`", lxcpath.display()), e);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&lxcpath).map_err(cannot_list)? {
        let entry = entry.map_err(cannot_list)?;
        let name =
            entry.file_name().to_str().filter(|name| !name.starts_with('.')).map(ContainerName::existing);
        if let Some(Ok(name)) = name
            && entry.path().join("config").is_file()
        {
            names.push(name);
        }
    }
    names.sort();
    let key = |name| keiki_core::engine::ContainerKey { lxcpath: lxcpath.clone(), name };
    Ok(usual.into_iter().chain(names.into_iter().map(|name| Target::Container(key(name)))).collect())
}

fn look_at(session: &Session, target: &Target) -> Result<Vec<Finding>> {
    let (text, path) = (target.read(session)?, target.path());
    if path.file_name().is_some_and(|name| name == "lxc.conf") {
        return Ok(match GlobalConfig::parse(&text, &path) {
            Ok(config) => {
                config.unused().iter().map(|key| Finding::warning(&format!("{key} {UNUSED}"))).collect()
            }
            Err(wrong) => wrong.0.into_iter().map(Finding::error).collect(),
        });
    }
    match ContainerConfig::parse(&text, &path) {
        Err(wrong) => Ok(wrong.0.into_iter().map(Finding::error).collect()),
        Ok(config) => Ok(not_applied(&config, &text, &path, target)),
    }
}

/// Returns what a start would say, and what nobody acts upon at any time.
fn not_applied(config: &ContainerConfig, text: &[u8], path: &Path, target: &Target) -> Vec<Finding> {
    let at_start = match start_warnings(text, path, &target.name()) {
        Ok(warnings) => warnings.iter().map(|text| Finding::warning(text)).collect(),
        Err(error) => vec![Finding::refusal(&error)],
    };
    let is_unused = |key: &str| keys::find(key).is_some_and(|(key, _)| key.applied == Applied::Unused);
    let unused = config.settings().iter().filter(|setting| is_unused(&setting.key));
    let unused =
        unused.map(|setting| Finding::warning(&format!("{}: {} {UNUSED}", setting.place, setting.key)));
    let mut findings: Vec<Finding> = at_start.into_iter().chain(unused).collect();
    findings.sort_by(|a, b| a.at.cmp(&b.at));
    findings
}

fn told(findings: &[Finding], files: usize, palette: Palette) -> String {
    let mut text = String::new();
    for finding in findings {
        let (word, style) = match finding.severity {
            Severity::Error => ("error:", Style::Error),
            Severity::Warning => ("warning:", Style::Warning),
        };
        let place = finding.place().map_or(String::new(), |place| format!("{place}: "));
        let message = Cell::Text(without_numbers(&finding.message)).shown();
        text.push_str(&format!("{} {place}{message}\n", palette.paint(style, word)));
        if let Some(hint) = &finding.hint {
            text.push_str(&format!("  {}\n", Cell::Text(hint.clone()).shown()));
        }
    }
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    text.push_str(&format!("configurations checked: {files}; errors: {errors}, warnings: {warnings}\n"));
    text
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Severity {
    Error,
    Warning,
}

struct Finding {
    severity: Severity,
    /// File, line and column, where they are known.
    at: Option<(PathBuf, u64, u64)>,
    message: String,
    hint: Option<String>,
}

impl Finding {
    fn error(diagnostic: Diagnostic) -> Self {
        let place = diagnostic.place;
        let number = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let at = (place.file.as_ref().clone(), number(place.line), number(place.column));
        Self { severity: Severity::Error, at: Some(at), message: diagnostic.message, hint: diagnostic.hint }
    }

    /// What is said as `file:line:column: text`.
    fn warning(told: &str) -> Self {
        let (at, message) = split_place(told).map_or((None, told), |(at, message)| (Some(at), message));
        Self { severity: Severity::Warning, at, message: message.to_owned(), hint: None }
    }

    /// What a start would refuse.
    fn refusal(error: &Error) -> Self {
        let hint = error.hints().first().cloned();
        Self { severity: Severity::Error, hint, ..Self::warning(&error.full_message()) }
    }

    fn place(&self) -> Option<String> {
        self.at.as_ref().map(|(file, line, column)| format!("{}:{line}:{column}", file.display()))
    }
}

fn split_place(told: &str) -> Option<((PathBuf, u64, u64), &str)> {
    let (place, message) = told.split_once(": ")?;
    let mut parts = place.rsplitn(3, ':');
    let column = parts.next()?.parse().ok()?;
    let line = parts.next()?.parse().ok()?;
    Some(((PathBuf::from(parts.next()?), line, column), message))
}

impl Record for Finding {
    const FIELDS: &'static [&'static str] = &["file", "line", "column", "severity", "message", "hint"];
    const TABLE: &'static [&'static str] = Self::FIELDS;

    fn cell(&self, field: &str) -> Cell {
        match field {
            "file" => Cell::text(self.at.as_ref().map(|(file, ..)| file.display())),
            "line" => Cell::number(self.at.as_ref().map(|(_, line, _)| *line)),
            "column" => Cell::number(self.at.as_ref().map(|(.., column)| *column)),
            "severity" if self.severity == Severity::Error => Cell::Text("error".to_owned()),
            "severity" => Cell::Text("warning".to_owned()),
            "message" => Cell::Text(self.message.clone()),
            "hint" => Cell::text(self.hint.as_ref()),
            _ => Cell::Absent,
        }
    }
}
