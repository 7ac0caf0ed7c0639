//! The dir store of Keiki: a root filesystem is a plain directory.
