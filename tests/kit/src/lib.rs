//! The conformance kit: what every backend of Keiki must prove on the real thing, in- or out-of-tree.
//!
//! A backend's conformance test is a `main` of a few lines: [`harness()`] with one [`Rig`] a file system. The kit
//! chooses by capability: what a store declares is proven, what it does not declare is proven to be refused with the
//! typed error and nothing changed. What cannot run on a machine is counted as skipped, with the reason.
//!
//! - [`rig`]: a store and the ground that it is tested on.
//! - [`case`](mod@case): a claim; [`mod@cases`]: all of them, a file a section.
//! - [`mod@bench`]: what one case works with.
//! - [`worker`]: the process that the crash cases kill.
//! - [`mod@matrix`]: every store copied into every other.
//! - [`scorecard`]: the table of stores and sections that the README shows.
#![forbid(unsafe_code)]

pub mod bench;
pub mod case;
pub mod cases;
mod editor;
mod fidelity;
pub mod harness;
pub mod leak;
pub mod matrix;
pub mod random;
pub mod rig;
pub mod scorecard;
pub mod steps;
mod verdict;
pub mod worker;
pub mod yard;

pub use bench::Bench;
pub use case::{Case, Section};
pub use harness::harness;
pub use rig::{PathRig, Rig};
pub use verdict::{Failure, Proof, Verdict};
