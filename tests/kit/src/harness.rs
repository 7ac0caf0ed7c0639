//! [`harness`]: every case on every rig as a test that `cargo test` counts.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use libtest_mimic::{Arguments, Completion, Failed, Trial};

use crate::bench::Bench;
use crate::case::Case;
use crate::cases;
use crate::leak;
use crate::rig::{Rig, namespace};
use crate::verdict::{Failure, Proof, Verdict};
use crate::worker;

/// Runs every case on every rig and ends the process with the result; the whole `main` of a conformance test.
///
/// # Behavior
/// Tests are called `rig::section::claim` and are chosen by the arguments of `cargo test`. What cannot run here is counted
/// as ignored, with the reason. `KEIKI_KIT_RIGS` chooses among the rigs, `KEIKI_KIT_SECTIONS` among the sections. The same program serves as the helper process that the crash cases kill.
#[expect(clippy::exit, reason = "it is the whole `main` of a test program")]
pub fn harness(rigs: Vec<Box<dyn Rig>>) -> ! {
    if let Some(code) = worker::serve_if_asked(&rigs) {
        std::process::exit(i32::from(code));
    }
    let arguments = Arguments::from_args();
    let missing = namespace::enter().err();
    let mut trials = Vec::new();
    for rig in rigs.into_iter().filter(|rig| is_wanted(&rig.name())) {
        let rig: Arc<dyn Rig> = Arc::from(rig);
        for case in cases::all().into_iter().filter(|case| case.concerns(&*rig)) {
            trials.push(trial(Arc::clone(&rig), case, missing.clone().map(|m| m.0)));
        }
    }
    // The rigs are gone with the trials when `run` returns, so their file systems are unmounted before we exit.
    libtest_mimic::run(&arguments, trials).exit()
}

/// Returns whether `KEIKI_KIT_RIGS` asks for a rig: a list of stores (`lvm-thin,zfs`), or of stores to leave out (`!zfs`).
fn is_wanted(name: &str) -> bool {
    let Ok(list) = std::env::var("KEIKI_KIT_RIGS") else { return true };
    let store = name.split('@').next().unwrap_or(name);
    let words = list.split(',').filter(|word| !word.is_empty());
    let (left_out, asked): (Vec<_>, Vec<_>) = words.partition(|word| word.starts_with('!'));
    !left_out.iter().any(|word| word[1..] == *store) && (asked.is_empty() || asked.contains(&store))
}

/// Returns whether `KEIKI_KIT_SECTIONS` asks for a section: a list (`lifecycle,snapshots`); without it all are run.
fn is_asked(section: &str) -> bool {
    std::env::var("KEIKI_KIT_SECTIONS").map_or(true, |list| list.split(',').any(|word| word == section))
}

fn trial(rig: Arc<dyn Rig>, case: Case, missing: Option<String>) -> Trial {
    let name = format!("{}::{}::{}", rig.name(), case.section.word(), case.name);
    Trial::ignorable_test(name, move || {
        if !is_asked(case.section.word()) {
            return Ok(Completion::ignored_with("needs more time than KEIKI_KIT_SECTIONS allows"));
        }
        if let Some(missing) = &missing {
            return Ok(Completion::ignored_with(format!("needs {missing}")));
        }
        match run(&*rig, &case) {
            Ok(Proof::Works | Proof::Refused) => Ok(Completion::Completed),
            Ok(Proof::Skipped(needs)) => Ok(Completion::ignored_with(format!("needs {needs}"))),
            Err(failure) => Err(Failed::from(failure)),
        }
    })
}

/// Runs one case on one rig: fresh ground, the case, then the check that nothing is left.
///
/// # Errors
/// The failure of the case, or what it left behind.
pub fn run(rig: &dyn Rig, case: &Case) -> Verdict {
    let renewed = rig.renewed();
    let rig = renewed.as_deref().unwrap_or(rig);
    let bench = match Bench::open(rig) {
        Ok(bench) => bench,
        Err(missing) => return Ok(Proof::Skipped(missing.0)),
    };
    // A store that panics has failed one case, not the run.
    let shown = catch_unwind(AssertUnwindSafe(|| case.show(&bench)));
    let proof = shown.unwrap_or_else(|_| Err(Failure::new("the case or the store panicked")))?;
    leak::check(rig, bench.ground())?;
    Ok(proof)
}
