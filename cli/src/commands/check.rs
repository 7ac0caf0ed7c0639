//! `keiki check`: what the catalogue says against what is on disk; `--repair` repairs what it safely can.

use keiki_core::Result;
use keiki_core::engine::{CheckReport, Finding, FindingState};
use serde_json::Value;

use crate::args;
use crate::error::Exit;
use crate::session::Session;
use crate::ui::color::{Palette, Style};
use crate::ui::format::{self, Cell, Format, Record};

pub(crate) fn run(session: &Session, args: &args::Check) -> Result<Exit> {
    let engine = session.runtime()?.engine();
    let lxcpath = session.lxcpath()?;
    let report =
        if args.repair { engine.repair(&session.context()?, &lxcpath)? } else { engine.check(&lxcpath)? };
    let palette = session.ui().palette();
    let text = match args.format {
        Format::Table => summary(&report, palette),
        other => format::many(&report.findings, other, &[], palette)?,
    };
    session.ui().data(&text)?;
    Ok(if report.is_sound() { Exit::DONE } else { Exit::FAILED })
}

fn summary(report: &CheckReport, palette: Palette) -> String {
    let mut text = String::new();
    for finding in &report.findings {
        let subject = Cell::Text(finding.subject.clone()).shown();
        let detail = Cell::Text(finding.detail.clone()).shown();
        let remedy = Cell::Text(finding.remedy.clone()).shown();
        let label = palette.paint(style(finding.state), word(finding.state));
        text.push_str(&format!("{label}: {subject}: {detail}\n  {remedy}\n"));
    }
    if let Some(aside) = &report.set_aside {
        text.push_str(&format!("the damaged catalogue was kept as {}\n", aside.display()));
    }
    let wrong = report.findings.iter().filter(|finding| finding.state != FindingState::Noted).count();
    let verdict = match (wrong, report.is_sound()) {
        (0, _) => "nothing is wrong".to_owned(),
        (1, true) => "1 finding, repaired".to_owned(),
        (count, true) => format!("{count} findings, all repaired"),
        (1, false) => "1 finding".to_owned(),
        (count, false) => format!("{count} findings"),
    };
    text.push_str(&format!(
        "{}: containers checked: {}, volumes: {}; {verdict}\n",
        report.lxcpath.display(),
        report.containers,
        report.volumes
    ));
    text
}

fn word(state: FindingState) -> &'static str {
    match state {
        FindingState::Repairable => "repairable",
        FindingState::Repaired => "repaired",
        FindingState::NeedsDecision => "needs a decision",
        FindingState::Noted => "noted",
    }
}

fn style(state: FindingState) -> Style {
    match state {
        FindingState::Repairable => Style::Warning,
        FindingState::Repaired => Style::Good,
        FindingState::NeedsDecision => Style::Error,
        FindingState::Noted => Style::Warning,
    }
}

impl Record for Finding {
    const FIELDS: &'static [&'static str] = &["name", "problem", "state", "detail", "remedy"];
    const TABLE: &'static [&'static str] = Self::FIELDS;

    fn cell(&self, field: &str) -> Cell {
        match field {
            "name" => Cell::Text(self.subject.clone()),
            // The words of serde are the stable ones; there is one list of them, in core.
            "problem" => Cell::text(serde_json::to_value(self.problem).ok().as_ref().and_then(Value::as_str)),
            "state" => Cell::text(serde_json::to_value(self.state).ok().as_ref().and_then(Value::as_str)),
            "detail" => Cell::Text(self.detail.clone()),
            "remedy" => Cell::Text(self.remedy.clone()),
            _ => Cell::Absent,
        }
    }
}
