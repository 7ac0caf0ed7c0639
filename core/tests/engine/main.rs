//! The engine, operation by operation, over stores of every lineage: the reference store in its shapes, and the real
//! `dir` and `overlay` stores.
//!
//! A claim is made once and held against every [`Profile`](rig::Profile) that it concerns. `breaking` fails every
//! operation at every one of its steps; `racing` runs operations against each other.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test says what it expects and why it was skipped"
)]

mod editor;
mod occupied;
mod rig;
mod saboteur;
mod world;

mod adopting;
mod beside_lxc;
mod breaking;
mod checking;
mod cloning;
mod configuring;
mod creating;
mod destroying;
mod flattening;
mod opening;
mod power;
mod racing;
mod renaming;
mod restoring;
mod scaling;
mod sizing;
mod snapshots;
