//! Any text: nothing panics, every message stands at a place that the text has, and what is sound stays so through every change.

use std::path::Path;

use keiki_config::keys::{KEYS, NETWORK_KEYS, RENAMED, Shape};
use keiki_config::{
    Change, ContainerConfig, Diagnostics, Document, migrated, with_changes, with_hardware_addresses,
};
use proptest::prelude::*;

const FILE: &str = "/c/config";

fn parse(text: &[u8]) -> Result<ContainerConfig, Diagnostics> {
    ContainerConfig::parse(text, Path::new(FILE))
}

/// Names of keys, whole and broken, of today and of old.
fn key() -> impl Strategy<Value = String> {
    let whole = KEYS
        .iter()
        .filter(|key| key.name != "lxc.include")
        .map(|key| format!("{}{}", key.name, key.example.0));
    let interfaces = NETWORK_KEYS.iter().map(|key| format!("lxc.net.0.{}", key.name));
    let old = RENAMED.iter().map(|(old, _)| (*old).to_owned());
    let odd =
        ["lxc.", "lxc.net.0", "lxc.net.9.type", "lxc.network.type", "lxc.network.3.ipv4", "lxc.net.0.type"];
    let names: Vec<String> = whole.chain(interfaces).chain(old).chain(odd.map(str::to_owned)).collect();
    prop_oneof![6 => proptest::sample::select(names), 1 => "lxc\\.\\PC{0,12}".prop_map(String::from)]
}

fn value() -> impl Strategy<Value = String> {
    let examples = KEYS.iter().chain(&NETWORK_KEYS).map(|key| key.example.1.to_owned());
    let examples: Vec<String> =
        examples.chain(["", "0", "1", "veth", "none", "\"", "''", "x y"].map(str::to_owned)).collect();
    prop_oneof![4 => proptest::sample::select(examples), 1 => "\\PC{0,16}".prop_map(String::from), 1 => ".{0,8}".prop_map(String::from)]
}

fn line() -> impl Strategy<Value = Vec<u8>> {
    let entry = (("[ \t]{0,2}", key()), ("[ \t]{0,2}=?[ \t]{0,2}", value()), "\n|\r\n|").prop_map(
        |((indent, key), (equals, value), end)| format!("{indent}{key}{equals}{value}{end}").into_bytes(),
    );
    prop_oneof![6 => entry, 1 => proptest::collection::vec(any::<u8>(), 0..20), 1 => Just(b"# comment\n".to_vec())]
}

/// Lines that are sound together, with comments between: each is taken if the whole stays so.
fn sound(lines: &[(String, String)]) -> String {
    let mut text = String::new();
    for (key, value) in lines {
        let more = format!("{text}# {key}\n\t{key} ={value}\r\n");
        if parse(more.as_bytes()).is_ok() {
            text = more;
        }
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_message_stands_at_a_place_of_the_text(lines in proptest::collection::vec(line(), 0..10)) {
        let text = lines.concat();
        let shown = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = shown.split_inclusive('\n').collect();
        let wrong = match parse(&text) {
            Ok(_) => return Ok(()),
            Err(wrong) => wrong,
        };
        prop_assert!(!wrong.0.is_empty());
        for diagnostic in wrong.0 {
            let place = diagnostic.place;
            prop_assert!((1..=lines.len()).contains(&place.line), "{}", place);
            let width = lines[place.line - 1].chars().count();
            prop_assert!((1..=width + 1).contains(&place.column), "{} in {:?}", place, lines[place.line - 1]);
            prop_assert!(!diagnostic.message.contains(|c: char| c.is_control()), "{:?}", diagnostic.message);
        }
    }

    #[test]
    fn what_is_sound_has_a_text_for_every_key_and_a_second_reading_is_the_same(
        lines in proptest::collection::vec((key(), value()), 0..8),
    ) {
        let text = sound(&lines);
        let config = parse(text.as_bytes()).unwrap();
        let mut again = String::new();
        for setting in config.settings() {
            again += &format!("{} = {}\n", setting.key, quoted(&setting.value));
        }
        let values = |config: &ContainerConfig| {
            config.settings().iter().map(|set| (set.key.clone(), set.value.clone())).collect::<Vec<_>>()
        };
        prop_assert_eq!(values(&parse(again.as_bytes()).unwrap()), values(&config));
        for name in config.item_names(None).unwrap() {
            if !matches!(name.as_str(), "lxc.include") {
                config.item(&name).unwrap();
            }
        }
        prop_assert!(migrated(text.as_bytes()).1.is_empty());
    }

    #[test]
    fn a_change_has_its_effect_and_touches_no_other_key_or_is_refused(
        lines in proptest::collection::vec((key(), value()), 0..12),
        name in key(),
        value in value(),
    ) {
        let text = sound(&lines).into_bytes();
        let Ok(change) = Change::set(&name, &value) else { return Ok(()) };
        let Ok(new) = with_changes(&text, Path::new(FILE), std::slice::from_ref(&change)) else { return Ok(()) };
        let after = parse(&new).unwrap();
        match &change {
            Change::Set { value, .. } => {
                prop_assert!(after.settings().iter().any(|set| set.value == *value), "{:?}", change);
            }
            Change::Clear { .. } => prop_assert!(after.setting(&name).is_none()),
        }
        // Every line of somebody else's is still there, in order.
        let lines = |text: &[u8]| -> Vec<Vec<u8>> {
            let lines = text.split_inclusive(|byte| *byte == b'\n').map(|line| line.trim_ascii_end().to_vec());
            lines.filter(|line| !String::from_utf8_lossy(line).contains(&name)).collect()
        };
        let (before, after) = (lines(&text), lines(&new));
        let mut rest = after.iter();
        // What cleared a family took what is below it.
        let is_family = KEYS.iter().any(|key| key.name == name && key.shape == Shape::Family);
        prop_assert!(is_family || before.iter().all(|line| rest.any(|other| other == line)), "{:?}", change);
        // Twice is once, but for a list, which grows.
        if let Change::Clear { .. } = change {
            prop_assert_eq!(with_changes(&new, Path::new(FILE), &[change]).unwrap(), new);
        }
    }

    #[test]
    fn templates_and_old_names_are_replaced_in_any_text(lines in proptest::collection::vec(line(), 0..10)) {
        let text = lines.concat();
        if let Some(filled) = with_hardware_addresses(&text) {
            prop_assert_eq!(with_hardware_addresses(&filled), None);
        }
        let (new, renamings) = migrated(&text);
        prop_assert!(renamings.is_empty() == (new == text));
        prop_assert_eq!(migrated(&new), (new.clone(), Vec::new()));
        prop_assert_eq!(Document::new(&new).to_bytes(), new);
    }
}

/// A value that begins and ends with quotes of its own is written in another pair.
fn quoted(value: &str) -> String {
    let is_quoted = ['"', '\'']
        .iter()
        .any(|quote| value.len() > 1 && value.starts_with(*quote) && value.ends_with(*quote));
    if is_quoted || value.trim_matches([' ', '\t']) != value {
        format!("\"{value}\"")
    } else {
        value.to_owned()
    }
}
