//! Every unsafe line of Keiki's own system calls, one wrapper a call.

pub mod btrfs;
pub mod clock;
pub mod mount;
