//! Where root filesystems come from: busybox, archives, directories.
