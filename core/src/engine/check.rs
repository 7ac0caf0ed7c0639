//! `keiki check`: does the catalogue say what the disk says? `keiki check --repair`: makes it so, where that is safe.
//!
//! What is safe: to write down what carries our marks, to forget what is gone with everything that was in it, to replace
//! files that can be derived, and to go on with what was begun. What is not: to remove an object that no row names. Two
//! installations may share a volume group or zpool, so such an object is shown and left alone, and is nothing wrong.
//!
//! A catalogue that cannot be read is set aside under another name and built anew the same way, from homes,
//! configurations and marks. Where copies came from is lost then; who needs whose data is not.

mod cure;
mod diagnosis;
mod kinship;
mod survey;

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::catalogue::set_aside;
use super::{Engine, EngineOptions};
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result};
use cure::Cure;
use diagnosis::Diagnosis;

/// How often is looked again after repairs: what a repair brings to light is repaired in the next round.
const ROUNDS: usize = 8;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Problem {
    /// The catalogue cannot be read.
    DamagedCatalogue,
    /// An operation broke off and could neither be finished nor undone so far.
    UnfinishedOperation,
    /// A container of ours is on disk, not in the catalogue.
    UnrecordedContainer,
    /// A snapshot of ours is on disk, not in the catalogue.
    UnrecordedSnapshot,
    /// A volume of ours is there, and nothing in the catalogue or on disk says what for.
    UnrecordedVolume,
    /// A volume needs another's data, and the catalogue does not say so.
    UnrecordedDependency,
    /// A container is in the catalogue, its directory is gone.
    MissingHome,
    /// The directory under a container's name is another one.
    ForeignHome,
    /// A volume is in the catalogue, its object is gone.
    MissingVolume,
    /// A volume's object is not whole.
    PartialVolume,
    /// What is in a volume's place is not the volume.
    ForeignVolume,
    /// A configuration names another root filesystem than the catalogue.
    ConfigDisagrees,
    /// LXC's relation files do not name everybody who needs a container.
    RelationsDisagree,
    /// A directory that was made on the way to a container, or out of it, belongs to no operation.
    StrayDirectory,
    /// A volume without a name that nobody needs any more.
    UnneededVolume,
}

/// What becomes of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingState {
    /// `keiki check --repair` would repair it.
    Repairable,
    /// It was repaired.
    Repaired,
    /// A person must decide; the remedy says what can be done.
    NeedsDecision,
    /// It may be as it should: another installation's in the same pool. It is shown, left alone, and counts as sound.
    Noted,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What.
    pub problem: Problem,
    /// With what, as the user names it.
    pub subject: String,
    /// What was found, in a sentence.
    pub detail: String,
    /// What would repair it, or what did.
    pub remedy: String,
    /// What becomes of it.
    pub state: FindingState,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// The lxcpath that was looked at.
    pub lxcpath: PathBuf,
    /// How many containers the catalogue has there.
    pub containers: usize,
    /// How many volumes were looked at.
    pub volumes: usize,
    /// What is wrong; sorted by problem and subject.
    pub findings: Vec<Finding>,
    /// Where a damaged catalogue was put.
    pub set_aside: Option<PathBuf>,
}

impl CheckReport {
    /// Returns whether nothing is wrong any more.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let is_well = |state| matches!(state, FindingState::Repaired | FindingState::Noted);
        self.findings.iter().all(|finding| is_well(finding.state))
    }
}

impl Engine {
    /// Compares the catalogue with an lxcpath and the stores. Changes nothing.
    ///
    /// # Behavior
    /// What a living process is working on is left out.
    ///
    /// # Errors
    /// When the lxcpath, the catalogue or a store that has volumes there cannot be read. A damaged catalogue is a
    /// finding, not an error.
    pub fn check(&self, lxcpath: &Path) -> Result<CheckReport> {
        match self.catalogue.damage(lxcpath)? {
            Some(why) => Ok(damaged_report(lxcpath, &why)),
            None => Ok(self.diagnose(lxcpath)?.0),
        }
    }

    /// Repairs what [`Self::check`] finds, where that is safe, and says what was done.
    ///
    /// # Behavior
    /// A damaged catalogue is set aside as `catalogue.sqlite.damaged-N`; this engine goes on without it, the next one
    /// that is opened has the new catalogue. Repeating it after a repair changes nothing.
    ///
    /// # Errors
    /// As [`Self::check`]; `ReadOnly` and `PermissionDenied` when nothing may be changed.
    pub fn repair(&self, context: &Context, lxcpath: &Path) -> Result<CheckReport> {
        let Some(why) = self.catalogue.damage(lxcpath)? else {
            self.catalogue.require_writable()?;
            return self.repair_in_rounds(context, lxcpath);
        };
        self.catalogue.require_owned()?;
        context.step("check.set-aside")?;
        let aside = set_aside(self.catalogue.path())?;
        let mut finding = damaged(&why);
        finding.state = FindingState::Repaired;
        finding.remedy = format!("it was set aside as `{}` and built anew", aside.display());
        let fresh = Self::open(self.options_again()?)?;
        let mut report = fresh.repair_in_rounds(context, lxcpath)?;
        report.findings.insert(0, finding);
        report.set_aside = Some(aside);
        Ok(report)
    }

    fn repair_in_rounds(&self, context: &Context, lxcpath: &Path) -> Result<CheckReport> {
        // What cannot be finished is found again below, with its reason.
        let _unfinished = self.gc(context);
        let mut done: Vec<Finding> = Vec::new();
        for _ in 0..ROUNDS {
            let (report, diagnoses) = self.diagnose(lxcpath)?;
            let mut failed = Vec::new();
            let mut repaired = 0;
            for Diagnosis { mut finding, cure } in diagnoses {
                if cure == Cure::None {
                    continue;
                }
                match self.cure(context, &cure) {
                    Ok(()) => {
                        repaired += 1;
                        finding.state = FindingState::Repaired;
                        done.push(finding);
                    }
                    Err(error) => failed.push((finding, error)),
                }
            }
            if repaired == 0 {
                return Ok(concluded(report, done, &failed));
            }
        }
        Err(Error::new(ErrorKind::Internal, "the repairs bring more and more to light")
            .with_hint("`keiki check` shows what is left"))
    }

    fn diagnose(&self, lxcpath: &Path) -> Result<(CheckReport, Vec<Diagnosis>)> {
        let survey = self.survey(lxcpath)?;
        let mut diagnoses = self.diagnoses(&survey)?;
        diagnoses.sort_by(|a, b| {
            (a.finding.problem, &a.finding.subject).cmp(&(b.finding.problem, &b.finding.subject))
        });
        let report = CheckReport {
            lxcpath: lxcpath.to_owned(),
            containers: survey.containers.len(),
            volumes: survey.rows.len(),
            findings: diagnoses.iter().map(|diagnosis| diagnosis.finding.clone()).collect(),
            set_aside: None,
        };
        Ok((report, diagnoses))
    }

    /// The options with which this engine can be opened once more.
    fn options_again(&self) -> Result<EngineOptions> {
        let state = self.catalogue.path().parent().map(Path::to_owned);
        Ok(EngineOptions {
            registry: self.registry.clone(),
            state: state.ok_or_else(|| Error::new(ErrorKind::Internal, "the catalogue has no directory"))?,
            activity: self.activity.clone(),
            editor: self.editor.clone(),
            lock_wait: self.locks.patience(),
        })
    }
}

/// The last look, with what was repaired before it in front and why repairs failed.
fn concluded(mut report: CheckReport, done: Vec<Finding>, failed: &[(Finding, Error)]) -> CheckReport {
    for finding in &mut report.findings {
        if let Some((_, error)) = failed.iter().find(|(other, _)| other == finding) {
            finding.state = FindingState::NeedsDecision;
            finding.remedy = format!("the repair failed: {}", error.full_message());
        }
    }
    report.findings.splice(0..0, done);
    report
}

fn damaged(why: &Error) -> Finding {
    Finding {
        problem: Problem::DamagedCatalogue,
        subject: "catalogue".to_owned(),
        detail: why.full_message(),
        remedy: "`keiki check --repair` sets it aside and builds it anew from what is on disk".to_owned(),
        state: FindingState::Repairable,
    }
}

fn damaged_report(lxcpath: &Path, why: &Error) -> CheckReport {
    CheckReport {
        lxcpath: lxcpath.to_owned(),
        containers: 0,
        volumes: 0,
        findings: vec![damaged(why)],
        set_aside: None,
    }
}
