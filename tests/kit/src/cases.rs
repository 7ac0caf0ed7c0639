//! Every case of the kit, a file a section.

mod description;
mod faults;
mod fidelity;
mod honesty;
mod lifecycle;
mod mounts;
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
        mounts::cases(),
        faults::cases(),
    ]
    .concat()
}
