//! Bytes from the kernel's generator.

use keiki_core::{Result, ResultExt};
use rustix::rand::{GetRandomFlags, getrandom};

/// Returns `N` random bytes.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    // Up to 256 bytes are never cut short once the generator is seeded.
    getrandom(&mut bytes, GetRandomFlags::empty()).or_err(|| "cannot get random bytes".to_owned())?;
    Ok(bytes)
}
