//! The keiki command.
fn main() {}
