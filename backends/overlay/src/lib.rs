//! The overlay store of Keiki: a root filesystem is a stack of layers.
