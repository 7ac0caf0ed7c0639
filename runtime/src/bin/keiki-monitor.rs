//! `keiki-monitor`: the process that looks after one container. Started by keiki, not by people.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let code = keiki_runtime::monitor::main(&arguments);
    ExitCode::from(u8::try_from(code).unwrap_or(u8::MAX))
}
