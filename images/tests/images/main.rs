//! Archives as tar makes them, and as nobody should.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests say what they expect")]

mod archives;
mod forge;
mod hostile;
mod random;
