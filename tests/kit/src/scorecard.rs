//! The score card: what every store proved, a row a rig and a column a section, as Markdown.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::case::Section;
use crate::cases;
use crate::harness::run;
use crate::rig::Rig;
use crate::verdict::Proof;

/// What became of the cases of one section on one rig.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Declared and proven.
    pub works: usize,
    /// Not declared, and refused as it should be.
    pub refused: usize,
    /// Could not run here, by what is missing.
    pub skipped: BTreeMap<String, usize>,
    /// Failed: the case and why.
    pub failed: Vec<(&'static str, String)>,
}

/// The score card of several rigs.
#[derive(Debug, Clone, Default)]
pub struct ScoreCard {
    rows: Vec<(String, BTreeMap<Section, Tally>)>,
}

impl ScoreCard {
    /// Runs every case whose section is wanted on every rig; `heard` is told each case's end.
    pub fn of(rigs: &[Box<dyn Rig>], wanted: &[Section], heard: &mut dyn FnMut(&str)) -> Self {
        let mut card = Self::default();
        for rig in rigs {
            let mut row: BTreeMap<Section, Tally> = BTreeMap::new();
            for case in cases::all()
                .into_iter()
                .filter(|case| wanted.contains(&case.section) && case.concerns(&**rig))
            {
                let tally = row.entry(case.section).or_default();
                let verdict = run(&**rig, &case);
                heard(&format!("{} {case:?}: {verdict:?}", rig.name()));
                match verdict {
                    Ok(Proof::Works) => tally.works += 1,
                    Ok(Proof::Refused) => tally.refused += 1,
                    Ok(Proof::Skipped(needs)) => *tally.skipped.entry(needs).or_default() += 1,
                    Err(failure) => tally.failed.push((case.name, failure.to_string())),
                }
            }
            card.rows.push((rig.name(), row));
        }
        card
    }

    /// Returns how many cases passed (worked or were refused as they should), failed and were skipped.
    #[must_use]
    pub fn totals(&self) -> (usize, usize, usize) {
        let all = || self.rows.iter().flat_map(|(_, row)| row.values());
        let passed = all().map(|tally| tally.works + tally.refused).sum();
        let failed = all().map(|tally| tally.failed.len()).sum();
        let skipped = all().flat_map(|tally| tally.skipped.values()).sum();
        (passed, failed, skipped)
    }

    /// Returns the table, what was skipped with reasons, what failed, and the line of totals.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        self.table(&mut text);
        text.push_str("\n`n` declared and proven · `n✘` not declared, and refused as it should be · `n–` could not run here\n");
        self.remarks(&mut text);
        let (passed, failed, skipped) = self.totals();
        let _infallible = writeln!(text, "\n{passed} passed, {failed} failed, {skipped} skipped");
        text
    }

    fn table(&self, text: &mut String) {
        text.push_str("| store |");
        Section::ALL.iter().for_each(|section| *text += &format!(" {} |", section.word()));
        text.push_str("\n|---|");
        Section::ALL.iter().for_each(|_| text.push_str("---|"));
        text.push('\n');
        for (name, row) in &self.rows {
            *text += &format!("| {name} |");
            for section in Section::ALL {
                *text += &format!(" {} |", row.get(&section).map_or_else(String::new, cell));
            }
            text.push('\n');
        }
    }

    fn remarks(&self, text: &mut String) {
        let mut missing: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (name, row) in &self.rows {
            for (section, tally) in row {
                for (needs, count) in &tally.skipped {
                    missing.entry(needs).or_default().push(format!("{count} {} on {name}", section.word()));
                }
                for (case, why) in &tally.failed {
                    *text += &format!("\n- **failed**: {name}, {}, `{case}`: {why}", section.word());
                }
            }
        }
        for (needs, whom) in missing {
            *text += &format!("\n- skipped, needs {needs}: {}", whom.join(", "));
        }
        text.push('\n');
    }
}

fn cell(tally: &Tally) -> String {
    let skipped: usize = tally.skipped.values().sum();
    let parts = [(tally.works, ""), (tally.refused, "✘"), (skipped, "–")];
    let mut words: Vec<_> =
        parts.iter().filter(|(n, _)| *n > 0).map(|(n, mark)| format!("{n}{mark}")).collect();
    if !tally.failed.is_empty() {
        words.push(format!("**{} failed**", tally.failed.len()));
    }
    words.join(" ")
}
