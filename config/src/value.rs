//! What values look like, key by key, and how they are checked.

use keiki_core::units::Bytes;

/// A signal by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signal(pub i32);

/// The form of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueKind {
    /// Anything in one line.
    Text,
    /// A path; absolute where LXC demands it is the reader's business.
    Path,
    /// `0` or `1`.
    Flag,
    /// A whole number, not negative.
    Number,
    /// A signal's name or number: `SIGPWR`, `SIGRTMIN+3`, `9`.
    Signal,
    /// A size with a unit, or `auto`.
    Size,
    /// Words with blanks between.
    Words,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// An fstab line: at least a source, a target and a type.
    Mount,
    /// `u|g NSID HOSTID RANGE`.
    IdMap,
    /// `NAME=VALUE` or `NAME`.
    Environment,
}

impl ValueKind {
    /// Checks a value; the error says what it should be.
    pub(crate) fn check(self, value: &str) -> Result<(), String> {
        let expected = |what: &str| Err(format!("`{value}` is not {what}"));
        match self {
            Self::Text | Self::Path | Self::Words => Ok(()),
            Self::Flag if matches!(value, "0" | "1") => Ok(()),
            Self::Flag => expected("0 or 1"),
            Self::Number if value.parse::<u64>().is_ok() => Ok(()),
            Self::Number => expected("a whole number"),
            Self::Signal => parse_signal(value).map(drop).map_or_else(|| expected("a signal"), Ok),
            Self::Size if value == "auto" || value.parse::<Bytes>().is_ok() => Ok(()),
            Self::Size => expected("a size"),
            Self::OneOf(words) if words.contains(&value) => Ok(()),
            Self::OneOf(words) => expected(&format!("one of {}", words.join(", "))),
            Self::Mount if value.split_whitespace().count() >= 3 => Ok(()),
            Self::Mount => expected("a mount: it needs a source, a target and a type"),
            Self::IdMap => {
                check_id_map(value).map_or_else(|| expected("a mapping: `u|g NSID HOSTID RANGE`"), Ok)
            }
            Self::Environment if !value.starts_with('=') => Ok(()),
            Self::Environment => expected("a variable: `NAME=VALUE` or `NAME`"),
        }
    }
}

fn check_id_map(value: &str) -> Option<()> {
    let fields: Vec<&str> = value.split_whitespace().collect();
    let [kind, numbers @ ..] = fields.as_slice() else { return None };
    let all_numbers = numbers.len() == 3 && numbers.iter().all(|number| number.parse::<u32>().is_ok());
    (matches!(*kind, "u" | "g") && all_numbers).then_some(())
}

const SIGNALS: [(&str, i32); 32] = [
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
    ("PWR", 30),
    ("SYS", 31),
];
/// The range that the C library leaves to programs.
const REALTIME: (i32, i32) = (34, 64);

/// Reads a signal's name or number.
pub(crate) fn parse_signal(text: &str) -> Option<Signal> {
    if let Ok(number) = text.parse::<i32>() {
        return (1..=REALTIME.1).contains(&number).then_some(Signal(number));
    }
    let name = text.strip_prefix("SIG").unwrap_or(text);
    if let Some((_, number)) = SIGNALS.iter().find(|(known, _)| *known == name) {
        return Some(Signal(*number));
    }
    let number = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(""), _) => REALTIME.0,
        (_, Some("")) => REALTIME.1,
        (Some(rest), _) => REALTIME.0 + rest.strip_prefix('+')?.parse::<i32>().ok()?,
        (_, Some(rest)) => REALTIME.1 - rest.strip_prefix('-')?.parse::<i32>().ok()?,
        _ => return None,
    };
    (REALTIME.0..=REALTIME.1).contains(&number).then_some(Signal(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_read_by_name_and_number() {
        for (text, number) in [
            ("SIGPWR", Some(30)),
            ("PWR", Some(30)),
            ("9", Some(9)),
            ("SIGRTMIN+3", Some(37)),
            ("SIGRTMAX-10", Some(54)),
            ("SIGRTMIN", Some(34)),
            ("0", None),
            ("65", None),
            ("SIGRTMIN-1", None),
            ("SIGRTMIN+31", None),
            ("SIGNOPE", None),
            ("", None),
        ] {
            assert_eq!(parse_signal(text).map(|signal| signal.0), number, "{text}");
        }
    }

    #[test]
    fn values_are_checked_by_one_table() {
        for (kind, value, good) in [
            (ValueKind::Flag, "1", true),
            (ValueKind::Flag, "yes", false),
            (ValueKind::Number, "12", true),
            (ValueKind::Number, "-1", false),
            (ValueKind::Size, "auto", true),
            (ValueKind::Size, "2MB", true),
            (ValueKind::Size, "much", false),
            (ValueKind::Mount, "/lib lib none ro,bind 0 0", true),
            (ValueKind::Mount, "/lib", false),
            (ValueKind::IdMap, "u 0 100000 65536", true),
            (ValueKind::IdMap, "b 0 100000 65536", false),
            (ValueKind::IdMap, "u 0 100000", false),
            (ValueKind::Environment, "A=b", true),
            (ValueKind::Environment, "=b", false),
            (ValueKind::OneOf(&["a", "b"]), "b", true),
            (ValueKind::OneOf(&["a", "b"]), "c", false),
        ] {
            assert_eq!(kind.check(value).is_ok(), good, "{kind:?} {value}");
        }
    }
}
