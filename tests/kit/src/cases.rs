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
mod snapshots;

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
        mounts::cases(),
        concurrency::cases(),
        faults::cases(),
        damage::cases(),
        histories::cases(),
        scale::cases(),
        defects::cases(),
    ]
    .concat()
}

/// Returns whether the run may take its time: `KEIKI_KIT_SCALE=full`.
fn is_full_scale() -> bool {
    std::env::var_os("KEIKI_KIT_SCALE").is_some_and(|scale| scale == "full")
}
