//! The overlay store on the real kernel. Mounts are detached and read through their descriptors, so there is nothing
//! to clean up; what only looks at directories needs no privilege beyond the marks.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test says what it expects and why it was skipped"
)]

mod faults;
mod ground;
mod layers;
mod ownership;

use std::path::Path;

/// Set for the run inside of a user namespace, which must not start another one.
const INSIDE: &str = "KEIKI_TEST_IN_USER_NAMESPACE";

#[test]
fn everything_holds_in_a_user_namespace_too() {
    if std::env::var_os(INSIDE).is_some() {
        return;
    }
    let unshare = |program: &Path| {
        let mut command = std::process::Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount"]).arg(program).env(INSIDE, "1");
        command
    };
    if !unshare(Path::new("true")).status().is_ok_and(|status| status.success()) {
        println!("skipped: needs unshare(1) and user namespaces");
        return;
    }
    let output = unshare(&std::env::current_exe().unwrap()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
