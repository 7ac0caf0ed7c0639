//! Local time, as LXC writes it into a snapshot's `ts` file: the C library knows the host's zone.
#![expect(unsafe_code, reason = "localtime_r and mktime have no safe wrapper")]

use std::mem::MaybeUninit;

/// A moment on the wall, without a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalTime {
    /// The year, as people write it.
    pub year: i32,
    /// 1 to 12.
    pub month: i32,
    /// 1 to 31.
    pub day: i32,
    /// 0 to 23.
    pub hour: i32,
    /// 0 to 59.
    pub minute: i32,
    /// 0 to 60.
    pub second: i32,
}

/// Returns the local time at `seconds` since 1970; `None` when the C library cannot say.
#[must_use]
pub fn local_time(seconds: u64) -> Option<LocalTime> {
    let seconds = libc::time_t::try_from(seconds).ok()?;
    let mut broken = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: both pointers are valid for the call; `localtime_r` writes a whole `tm` when it returns non-null.
    let filled = unsafe { libc::localtime_r(&raw const seconds, broken.as_mut_ptr()) };
    if filled.is_null() {
        return None;
    }
    // SAFETY: all bytes were initialised, with zeros first and by `localtime_r` then.
    let tm = unsafe { broken.assume_init() };
    Some(LocalTime {
        year: tm.tm_year + 1900,
        month: tm.tm_mon + 1,
        day: tm.tm_mday,
        hour: tm.tm_hour,
        minute: tm.tm_min,
        second: tm.tm_sec,
    })
}

/// Returns the seconds since 1970 of a local time; `None` when there is no such moment.
#[must_use]
pub fn seconds_of(local: &LocalTime) -> Option<u64> {
    // SAFETY: `tm` is a plain C struct of integers and a pointer that `mktime` does not read; zeros are valid.
    let mut tm: libc::tm = unsafe { MaybeUninit::zeroed().assume_init() };
    tm.tm_year = local.year - 1900;
    tm.tm_mon = local.month - 1;
    tm.tm_mday = local.day;
    tm.tm_hour = local.hour;
    tm.tm_min = local.minute;
    tm.tm_sec = local.second;
    // The C library finds out whether daylight saving time was in force.
    tm.tm_isdst = -1;
    // SAFETY: `tm` is exclusively borrowed and initialised.
    let seconds = unsafe { libc::mktime(&raw mut tm) };
    u64::try_from(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_survives_the_way_there_and_back() {
        for seconds in [0_u64, 1_000_000_000, 1_795_000_000] {
            assert_eq!(seconds_of(&local_time(seconds).unwrap()), Some(seconds));
        }
    }
}
