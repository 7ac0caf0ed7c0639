//! Every unsafe line of Keiki's own system calls, one wrapper a call.

pub mod btrfs;
pub mod call;
pub mod caps;
pub mod cgroup;
pub mod clock;
pub mod device_filter;
pub mod filesystem_size;
pub mod lock;
pub mod loop_device;
pub mod memfd;
pub mod mount;
pub mod process;
pub mod rootdir;
pub mod seccomp;
pub mod signal;
pub mod tty;
pub mod write_back;
