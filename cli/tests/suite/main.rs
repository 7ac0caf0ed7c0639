//! What a user of `keiki` meets: text, exit codes, and what is on disk afterwards. Every test has an lxcpath, a
//! catalogue and a run directory of its own, and an environment with nothing else in it.
#![allow(clippy::unwrap_used, reason = "tests may say what they expect")]

mod bad_input;
mod config;
mod harness;
mod lifecycle;
mod lxc_conf;
mod net;
mod reading;
mod storage;
mod transfer;
mod usage;
