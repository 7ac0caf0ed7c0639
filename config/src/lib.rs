//! The LXC configuration language, typed, with the place in every message.
