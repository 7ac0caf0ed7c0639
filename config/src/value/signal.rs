//! Signals by name and number.

/// A signal by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signal(pub i32);

const SIGNALS: [(&str, i32); 34] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
];
/// The range that the C library leaves to programs.
const REALTIME: (i32, i32) = (34, 64);

/// Reads a signal's name, in either case and with or without `SIG`, or its number.
pub(crate) fn parse_signal(text: &str) -> Option<Signal> {
    if let Ok(number) = text.parse::<i32>() {
        return (1..=REALTIME.1).contains(&number).then_some(Signal(number));
    }
    let text = text.to_ascii_uppercase();
    let name = text.strip_prefix("SIG").unwrap_or(&text);
    if let Some((_, number)) = SIGNALS.iter().find(|(known, _)| *known == name) {
        return Some(Signal(*number));
    }
    let number = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(""), _) => REALTIME.0,
        (_, Some("")) => REALTIME.1,
        (Some(rest), _) => REALTIME.0.checked_add(offset(rest, '+')?)?,
        (_, Some(rest)) => REALTIME.1.checked_sub(offset(rest, '-')?)?,
        _ => return None,
    };
    (REALTIME.0..=REALTIME.1).contains(&number).then_some(Signal(number))
}

fn offset(text: &str, sign: char) -> Option<i32> {
    let digits = text.strip_prefix(sign)?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_read_by_name_and_number() {
        for (text, number) in [
            ("SIGPWR", Some(30)),
            ("sigpwr", Some(30)),
            ("PWR", Some(30)),
            ("SIGPOLL", Some(29)),
            ("9", Some(9)),
            ("SIGRTMIN+3", Some(37)),
            ("SIGRTMAX-10", Some(54)),
            ("SIGRTMIN", Some(34)),
            ("0", None),
            ("65", None),
            ("SIGRTMIN-1", None),
            ("SIGRTMIN+31", None),
            ("SIGRTMIN+2147483647", None),
            ("SIGRTMAX--2147483648", None),
            ("SIGRTMIN++1", None),
            ("SIGNOPE", None),
            ("", None),
        ] {
            assert_eq!(parse_signal(text).map(|signal| signal.0), number, "{text}");
        }
    }
}
