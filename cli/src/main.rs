//! The `keiki` command: parses, composes the runtime with the stores of this build, runs one verb.
//!
//! It decides nothing about containers. What it owns is what a user meets: syntax, output, messages and exit codes.
#![forbid(unsafe_code)]

mod args;
mod commands;
mod error;
mod failpoint;
mod registry;
mod session;
mod surroundings;
mod template;
mod ui;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    let session = session::Session::new(&cli.global);
    match commands::run(&session, &cli.verb) {
        Ok(exit) => exit.into(),
        Err(error) => error::report(session.ui(), &error).into(),
    }
}
