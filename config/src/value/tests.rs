use proptest::prelude::*;

use super::*;

/// What a kind makes of a text: the canonical text, or nothing. Compared with LXC 5.0.2, but for those with a remark.
const READINGS: [(ValueKind, &str, Option<&str>); 84] = [
    (ValueKind::Flag, "1", Some("1")),
    (ValueKind::Flag, "01", Some("1")),
    (ValueKind::Flag, "0", Some("0")),
    (ValueKind::Flag, "2", None),
    (ValueKind::Flag, "yes", None),
    (ValueKind::Number, "12", Some("12")),
    (ValueKind::Number, "0x10", Some("16")),
    (ValueKind::Number, "+4", Some("4")),
    (ValueKind::Number, "-1", None),
    (ValueKind::Number, "08", None),
    (ValueKind::Number, "4x", None),
    (ValueKind::Number, "4294967296", None),
    (ValueKind::LongNumber, "4294967296", Some("4294967296")),
    (ValueKind::SignedNumber, "-5", Some("-5")),
    (ValueKind::SignedNumber, "x", None),
    (ValueKind::Size, "auto", Some("131072")),
    (ValueKind::Size, "2MB", Some("2097152")),
    (ValueKind::Size, "5000", Some("8192")),
    (ValueKind::Size, "100", Some("4096")),
    (ValueKind::Size, "0", Some("0")),
    (ValueKind::Size, "much", None),
    (ValueKind::Size, "16 EiB", None),
    (ValueKind::Mount, "/lib lib none ro,bind 0 0", Some("/lib lib none ro,bind 0 0")),
    // LXC takes it and fails at the start.
    (ValueKind::Mount, "/lib", None),
    (ValueKind::IdMap, "u 0 100000 65536", Some("u 0 100000 65536")),
    (ValueKind::IdMap, "g  0 0x10  65536", Some("g 0 16 65536")),
    (ValueKind::IdMap, "b 0 100000 65536", None),
    (ValueKind::IdMap, "u 0 100000", None),
    (ValueKind::IdMap, "u 0 100000 65536 x", None),
    // The kernel refuses these two at the start.
    (ValueKind::IdMap, "u 0 100000 0", None),
    (ValueKind::IdMap, "u 0 4294967295 65536", None),
    (ValueKind::Environment, "A=b", Some("A=b")),
    (ValueKind::Environment, "A=b=c", Some("A=b=c")),
    (ValueKind::Environment, "A", Some("A")),
    // LXC takes it.
    (ValueKind::Environment, "=b", None),
    (ValueKind::OneOf(&["a", "b"]), "b", Some("b")),
    (ValueKind::OneOf(&["a", "b"]), "c", None),
    (ValueKind::Architecture, "amd64", Some("amd64")),
    (ValueKind::Architecture, "vax", None),
    (ValueKind::PathInside, "a//b/./c", Some("a//b/./c")),
    (ValueKind::PathInside, "/a", None),
    (ValueKind::PathInside, "../a", None),
    (ValueKind::PathComponent, "ab", Some("ab")),
    (ValueKind::PathComponent, "a/b", None),
    (ValueKind::CapabilitiesOrNone, "none", Some("none")),
    (ValueKind::Capabilities, "none", None),
    (ValueKind::Capabilities, "sys_time  12", Some("sys_time 12")),
    (ValueKind::Capabilities, "SYS_TIME", None),
    (ValueKind::Namespaces, "pid  mount", Some("pid mnt")),
    (ValueKind::Namespaces, "nett", None),
    (ValueKind::AutoMounts, "proc sys:rw", Some("proc:mixed sys:rw")),
    (ValueKind::AutoMounts, "proc:maybe", None),
    (ValueKind::Groups, "1, 2", Some("1,2")),
    (ValueKind::Groups, "1,", Some("1")),
    (ValueKind::Groups, "1 2", None),
    (ValueKind::Groups, "a", None),
    (ValueKind::Limit, "1024", Some("1024")),
    (ValueKind::Limit, "1: 2", Some("1:2")),
    (ValueKind::Limit, "7:7", Some("7")),
    (ValueKind::Limit, "unlimited:1", Some("unlimited:1")),
    (ValueKind::Limit, "-1", Some("unlimited")),
    (ValueKind::Limit, "0x10", None),
    (ValueKind::TimeOffset, "1h", Some("3600s")),
    (ValueKind::TimeOffset, "1 h", Some("3600s")),
    (ValueKind::TimeOffset, "10ms", Some("10000000ns")),
    // Newer LXC takes a sign.
    (ValueKind::TimeOffset, "-1h", Some("-3600s")),
    (ValueKind::TimeOffset, "10", None),
    (ValueKind::TimeOffset, "9999999999999h", None),
    (ValueKind::TimeOffset, "x", None),
    (ValueKind::LogLevel, "debug", Some("DEBUG")),
    (ValueKind::LogLevel, "WARNING", None),
    (ValueKind::Facility, "LOCAL0", Some("local0")),
    (ValueKind::Signal, "sigpwr", Some("30")),
    // LXC wants `SIG` before it.
    (ValueKind::Signal, "RTMIN+3", Some("37")),
    (ValueKind::Socket, "unix:@a", Some("unix:@a")),
    (ValueKind::Socket, "/a", None),
    (ValueKind::RootOptions, "ro,idmap=container", Some("ro,idmap=container")),
    (ValueKind::RootOptions, "idmap=x", None),
    (ValueKind::VlanOrNone, "none", Some("none")),
    (ValueKind::Vlan, "4094", Some("4094")),
    (ValueKind::Vlan, "9999", None),
    (ValueKind::HardwareAddress, "00:16:3E:AA:BB:CC", Some("00:16:3E:AA:BB:CC")),
    (ValueKind::Text, "a\tb", Some("a\tb")),
    (ValueKind::Text, "a\0b", None),
];

#[test]
fn values_are_read_and_written_by_one_table() {
    for (kind, text, canonical) in READINGS {
        let read = kind.parse(text).ok();
        assert_eq!(read.as_ref().map(ToString::to_string).as_deref(), canonical, "{kind:?} {text}");
        if let (Some(value), Some(canonical)) = (read, canonical) {
            assert_eq!(kind.parse(canonical), Ok(value), "{kind:?} {canonical}");
        }
    }
}

#[test]
fn what_is_wrong_is_pointed_at_within_the_value() {
    for (kind, text, at) in [
        (ValueKind::Capabilities, "sys_time  sys_admn", 10),
        (ValueKind::AutoMounts, "proc sys:wr", 5),
        (ValueKind::Namespaces, " nett", 1),
        (ValueKind::Flag, "yes", 0),
        (ValueKind::Text, "ab\u{1}", 2),
    ] {
        assert_eq!(kind.parse(text).unwrap_err().at, at, "{text}");
    }
}

#[test]
fn numbers_are_read_with_base_0() {
    for (text, number) in [
        ("0", Some(0)),
        ("16", Some(16)),
        ("0x10", Some(16)),
        ("010", Some(8)),
        ("0x", None),
        ("0x+1", None),
        ("0+1", None),
        ("", None),
        ("++1", None),
        ("18446744073709551616", None),
    ] {
        assert_eq!(parse_number(text), number, "{text}");
    }
}

#[test]
fn a_message_is_short_and_harmless_on_a_terminal() {
    let told = ValueKind::Flag.parse("\u{1b}[31mred").unwrap_err().message;
    assert_eq!(told, "`\\u{1b}[31mred` has a control character in it");
    assert!(ValueKind::Flag.parse(&"9".repeat(1 << 20)).unwrap_err().message.len() < 300);
}

/// Texts that look like values of some kind.
fn text() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        "\\PC{1,20}",
        "[0-9x:/.+ -]{1,30}",
        "[ug] [0-9]{1,6} [0-9x]{1,6} [0-9]{1,6}",
        "-?[0-9]{1,12} ?(h|m|s|ms|us|ns)",
        "(unlimited|[0-9]{1,20})(: ?(unlimited|[0-9]{1,20}))?",
        "([0-9]{1,3}\\.){3}[0-9]{1,3}(/[0-9]{1,2})?( 10\\.0\\.0\\.255)?",
        "[0-9a-f]{0,4}::[0-9a-f]{0,4}(/[0-9]{1,3})?",
        "([0-9a-fx]{2}:){5}[0-9a-fx]{2}",
        "(proc|sys|cgroup|cgroup-full|cgroup2|shmounts)(:(ro|rw|mixed|force|/a:/b))?(:force)?",
        "[0-9]{1,9} ?[kKmMgG]?(iB|B)?",
        "(SIG)?(RTMIN|RTMAX|PWR|KILL)([+-][0-9]{1,2})?",
        "[a-z]{1,9}( [a-z]{1,9}){0,3}",
        "[A-Z]{1,3}(=[^\\p{Cc}]{0,9})?",
        "[0-9]{1,3}(, ?[0-9]{1,3}){0,3},?",
    ];
    word.prop_map(String::from)
}

proptest! {
    #[test]
    fn what_is_written_is_read_back_and_nothing_panics(text in text()) {
        for (kind, _, _) in READINGS {
            match kind.parse(&text) {
                Ok(value) => prop_assert_eq!(kind.parse(&value.to_string()), Ok(value)),
                Err(wrong) => prop_assert!(text.is_char_boundary(wrong.at), "{}", text),
            }
        }
        for kind in [ValueKind::Ipv4, ValueKind::Ipv6, ValueKind::Ipv4Route, ValueKind::Ipv6Route, ValueKind::Ipv4Gateway] {
            if let Ok(value) = kind.parse(&text) {
                prop_assert_eq!(kind.parse(&value.to_string()), Ok(value));
            }
        }
    }
}
