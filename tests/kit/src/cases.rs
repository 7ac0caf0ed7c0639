//! Every case of the kit, a file a section.

mod concurrency;
mod damage;
mod defects;
mod description;
mod faults;
mod fidelity;
mod histories;
mod honesty;
mod lifecycle;
mod lineage;
mod mounts;
mod scale;
mod sizes;
mod snapshots;
mod transfer;

use crate::case::Case;

/// Returns every case, in the order of the score card.
#[must_use]
pub fn all() -> Vec<Case> {
    [
        description::cases(),
        honesty::cases(),
        lifecycle::cases(),
        fidelity::cases(),
        snapshots::cases(),
        lineage::cases(),
        sizes::cases(),
        mounts::cases(),
        transfer::cases(),
        concurrency::cases(),
        faults::cases(),
        damage::cases(),
        histories::cases(),
        scale::cases(),
        defects::cases(),
    ]
    .concat()
}

/// How much a run may take: `KEIKI_KIT_SCALE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scale {
    /// `vm`: an emulated machine, where a tool run costs a third of a second. Every step of every operation is broken by one
    /// fault instead of three, and many is fewer.
    Vm,
    /// What `./test` does on the machine itself.
    Usual,
    /// `full`: as much as the score card promises.
    Full,
}

impl Scale {
    fn of_run() -> Self {
        match std::env::var("KEIKI_KIT_SCALE").as_deref() {
            Ok("vm") => Self::Vm,
            Ok("full") => Self::Full,
            _ => Self::Usual,
        }
    }

    /// Chooses among three numbers.
    fn pick<T>(self, vm: T, usual: T, full: T) -> T {
        match self {
            Self::Vm => vm,
            Self::Usual => usual,
            Self::Full => full,
        }
    }
}
