//! Names and sources under arbitrary text: whatever is accepted is harmless where it is used.

use std::path::{Component, Path, PathBuf};

use keiki_core::engine::ContainerKey;
use keiki_core::lineage::lxc_files::{LxcSnapshots, parse_rdepends, render_rdepends};
use keiki_core::name::{ContainerName, SnapshotName};
use keiki_core::units::Bytes;
use keiki_core::volume::{StoreKind, VolumeId, VolumeSource};
use proptest::prelude::*;

fn is_one_component(text: &str) -> bool {
    let mut components = Path::new(text).components();
    matches!((components.next(), components.next()), (Some(Component::Normal(only)), None) if only == text)
}

fn name() -> impl Strategy<Value = ContainerName> {
    let text = "[A-Za-z0-9_][A-Za-z0-9._-]{0,63}";
    text.prop_filter_map("every one of them is a name", |text| ContainerName::parse(&text).ok())
}

fn lxcpath() -> impl Strategy<Value = PathBuf> {
    "(/[a-z0-9][a-z0-9 ._-]{0,8}){1,4}".prop_map(PathBuf::from)
}

fn key() -> impl Strategy<Value = ContainerKey> {
    (lxcpath(), name()).prop_map(|(lxcpath, name)| ContainerKey { lxcpath, name })
}

proptest! {
    #[test]
    fn an_accepted_name_stays_in_its_directory_and_in_its_line(text in "\\PC*|[./@:\\\\ \\n\\x00-]{0,4}") {
        for accepted in [
            ContainerName::parse(&text).map(String::from),
            ContainerName::existing(&text).map(String::from),
            SnapshotName::existing(&text).map(String::from),
        ].into_iter().flatten() {
            prop_assert_eq!(&accepted, &text);
            prop_assert!(is_one_component(&accepted), "{:?}", accepted);
            prop_assert!(!accepted.contains(['\n', '\0']));
        }
    }

    #[test]
    fn a_new_name_needs_no_quoting_anywhere(text in "[ -~]{0,70}") {
        if let Ok(name) = ContainerName::parse(&text) {
            let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            prop_assert!(name.as_str().chars().all(plain) && !name.as_str().starts_with(['-', '.']));
            prop_assert!(name.as_str().len() <= 64);
            prop_assert_eq!(ContainerName::existing(&text).unwrap(), name);
        }
    }

    #[test]
    fn names_survive_serde(name in name()) {
        let json = serde_json::to_string(&name).unwrap();
        prop_assert_eq!(serde_json::from_str::<ContainerName>(&json).unwrap(), name);
    }

    #[test]
    fn a_source_that_is_read_prints_the_same_and_stays_in_its_line(text in "[a-z]{0,6}:?\\PC{0,20}|\\PC*") {
        if let Ok(source) = text.parse::<VolumeSource>() {
            prop_assert_eq!(source.to_string(), text.clone());
            prop_assert!(!text.contains(['\n', '\0']));
            let json = serde_json::to_string(&source).unwrap();
            prop_assert_eq!(serde_json::from_str::<VolumeSource>(&json).unwrap(), source);
        }
    }

    #[test]
    fn a_source_that_is_built_can_be_read(kind in "[a-z]{1,8}", location in "/\\PC{0,30}|[a-z/@:-]{1,20}") {
        if let Ok(source) = VolumeSource::new(StoreKind::new(&kind), location.as_str()) {
            prop_assert_eq!(source.location(), &location);
            prop_assert_eq!(source.to_string().parse::<VolumeSource>().unwrap(), source);
        }
    }

    #[test]
    fn no_source_smuggles_a_line_into_a_configuration(before in "[a-z/]{0,8}", after in "\\PC{0,8}", c in "[\n\r\0]") {
        let location = format!("/{before}{c}{after}");
        prop_assert!(VolumeSource::new(StoreKind::new("dir"), location.as_str()).is_err());
    }

    #[test]
    fn ids_read_as_they_print(bits in any::<u128>()) {
        let text = format!("{bits:032x}");
        prop_assert_eq!(text.parse::<VolumeId>().unwrap().to_string(), text);
    }

    #[test]
    fn sizes_never_wrap(text in "[0-9]{1,22} ?[KMGTPEkmgtpe]?(iB|B|b)?") {
        if let Ok(Bytes(bytes)) = text.parse::<Bytes>() {
            let digits: u128 = text.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap();
            prop_assert!(u128::from(bytes) >= digits);
        }
    }

    #[test]
    fn what_we_write_for_lxc_is_what_we_read(keys in prop::collection::vec(key(), 0..20)) {
        let mut unique = keys.clone();
        unique.dedup();
        let mut snapshots = LxcSnapshots::default();
        keys.iter().for_each(|key| snapshots.insert(key));
        prop_assert_eq!(LxcSnapshots::parse(&snapshots.render()).unwrap(), snapshots.clone());
        if unique.len() == keys.len() {
            let read = parse_rdepends(&render_rdepends(&keys)).unwrap();
            prop_assert!(keys.iter().all(|key| read.contains(key)));
        }
        keys.iter().for_each(|key| snapshots.remove(key));
        prop_assert!(snapshots.is_empty());
    }

    #[test]
    fn hostile_lineage_files_never_yield_a_name_or_path_that_leaves_its_place(content in any::<Vec<u8>>()) {
        for key in parse_rdepends(&content).unwrap_or_default() {
            prop_assert!(key.lxcpath.is_absolute() && is_one_component(key.name.as_str()));
            prop_assert!(!key.lxcpath.components().any(|component| component == Component::ParentDir));
        }
    }

    #[test]
    fn almost_right_lineage_files_are_read_whole_or_not_at_all(text in "((/[a-z.]{0,3}){1,3}\n[a-z./]{0,4}\n){0,4}") {
        if let Ok(keys) = parse_rdepends(text.as_bytes()) {
            let again = parse_rdepends(&render_rdepends(&keys)).unwrap();
            prop_assert_eq!(again, keys);
        }
    }
}
