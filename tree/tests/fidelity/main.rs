//! The tree crate on real file systems. Needs root for most of it; what cannot run says so.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test says what it expects and what it skips"
)]

mod copy;
mod other_systems;
mod random;
mod stream;
mod trees;
