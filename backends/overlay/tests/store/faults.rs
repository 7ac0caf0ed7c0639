//! Errors at every step.

use std::fs;
use std::sync::{Arc, Mutex};

use keiki_core::context::{Context, Observer, Progress};
use keiki_core::mount_plan::AttachMode;
use keiki_core::store::{BackingStore, CloneJob, Presence};
use keiki_core::volume::{Volume, VolumeRole};
use keiki_core::{Error, ErrorKind, Result};

use crate::ground::*;

/// Fails at the n-th step; counts steps otherwise.
#[derive(Debug, Default)]
struct Failing {
    at: usize,
    seen: Mutex<Vec<String>>,
}

impl Observer for Failing {
    fn step(&self, name: &str) -> Result<()> {
        let mut seen = self.seen.lock().unwrap();
        seen.push(name.to_owned());
        if seen.len() == self.at {
            Err(Error::new(ErrorKind::NoSpace, format!("planted at {name}")))
        } else {
            Ok(())
        }
    }

    fn progress(&self, _progress: Progress) {}
}

/// Runs `verb` failing at its first step, its second, and so on, until it succeeds; `check` sees what each left.
fn failing_everywhere(verb: &dyn Fn(&Context) -> Result<()>, check: &dyn Fn(&str)) -> usize {
    for at in 1.. {
        let observer = Arc::new(Failing { at, seen: Mutex::default() });
        let result = verb(&Context::new(Arc::clone(&observer) as Arc<dyn Observer>));
        let step = observer.seen.lock().unwrap().last().cloned().unwrap();
        if result.is_ok() {
            return at - 1;
        }
        check(&step);
    }
    0
}

#[test]
fn making_and_destroying_can_fail_at_every_step_and_be_repeated_or_undone() {
    let Some(ground) = Ground::with_mounts() else { return };
    let parent = ground.created("parent");
    fill(&parent);
    let homes = |name: &str| fs::read_dir(ground.home(name)).unwrap().count();
    let created = ground.placed("a", VolumeRole::Head, None);
    let undone = |volume: &Volume, name: &str, step: &str| {
        assert!(matches!(probe(volume), Presence::Partial | Presence::Absent), "{step}");
        destroy(volume).unwrap();
        assert_eq!(probe(volume), Presence::Absent, "{step}");
        // At most the empty directory `overlay`, made before anything of ours was in it.
        assert!(homes(name) <= 1, "{step}");
    };
    let make = |context: &Context| wait(STORE.create(context, &created));
    assert_eq!(failing_everywhere(&make, &|step| undone(&created, "a", step)), 4);
    destroy(&created).unwrap();
    // Repeated instead of undone: each attempt goes on where the last one stopped.
    failing_everywhere(&make, &|step| assert_ne!(probe(&created), Presence::Complete(created.id), "{step}"));
    assert_eq!(probe(&created), Presence::Complete(created.id));

    let clone = ground.placed("b", VolumeRole::Head, Some(&parent));
    let make = |context: &Context| {
        let jobs = [CloneJob { target: clone.clone() }];
        wait(STORE.clones().unwrap().clone_from(context, &parent, &jobs)).remove(0)
    };
    assert_eq!(failing_everywhere(&make, &|step| undone(&clone, "b", step)), 3);

    let flat = ground.placed("b", VolumeRole::Successor, None);
    let make = |context: &Context| wait(STORE.lineage_ops().unwrap().flatten(context, &clone, &flat));
    let check = |step: &str| {
        undone(&flat, "b", step);
        assert_eq!(probe(&clone), Presence::Complete(clone.id));
    };
    assert_eq!(failing_everywhere(&make, &check), 5);

    let remove = |context: &Context| wait(STORE.destroy(context, &flat)).map(drop);
    failing_everywhere(&remove, &|step| assert_ne!(probe(&flat), Presence::Absent, "{step}"));
    assert_eq!(probe(&flat), Presence::Absent);
    assert_eq!(read(&mounted(&clone, AttachMode::ReadOnly), "kept").as_deref(), Some("1"));
}
