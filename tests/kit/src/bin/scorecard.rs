//! Prints the score card of the stores in this repository as Markdown; the last line has the totals.
//!
//! `cargo run -p keiki-kit --bin scorecard [SECTION…]`. Progress goes to standard error.
#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::process::ExitCode;

use keiki_kit::Section;
use keiki_kit::rig::{in_tree, namespace};
use keiki_kit::scorecard::ScoreCard;
use keiki_kit::worker;

fn main() -> io::Result<ExitCode> {
    let rigs = in_tree();
    if let Some(code) = worker::serve_if_asked(&rigs) {
        return Ok(ExitCode::from(code));
    }
    if let Err(missing) = namespace::enter() {
        writeln!(io::stderr(), "error: needs {}", missing.0)?;
        return Ok(ExitCode::FAILURE);
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    let asked = |section: &Section| words.is_empty() || words.iter().any(|word| word == section.word());
    let wanted: Vec<Section> = Section::ALL.into_iter().filter(asked).collect();
    let card = ScoreCard::of(&rigs, &wanted, &mut |line| {
        // A closed standard error is no reason to stop.
        let _unheard = writeln!(io::stderr(), "{line}");
    });
    io::stdout().write_all(card.markdown().as_bytes())?;
    Ok(if card.totals().1 == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
