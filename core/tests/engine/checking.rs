//! `check` and `repair`: what the catalogue says and what is on disk are brought together, and nothing is lost.

use keiki_core::ErrorKind;
use keiki_core::context::Context;
use keiki_core::engine::{CheckReport, DestroyScope, FindingState, Problem, RestoreTarget};

use crate::rig::{Profile, Rig, refused};
use crate::world::{assert_clean, look};

fn problems(report: &CheckReport) -> Vec<(Problem, &str)> {
    report.findings.iter().map(|finding| (finding.problem, finding.subject.as_str())).collect()
}

fn family(rig: &Rig) -> keiki_core::engine::Engine {
    let engine = rig.engine();
    rig.create(&engine, "a", "1");
    rig.snapshot(&engine, "a");
    rig.write(&engine, "a", "f", "2");
    if rig.clone(&engine, "a", "b").is_ok() {
        let _where_possible = rig.clone(&engine, "b", "c");
    }
    engine
}

#[test]
fn a_sound_installation_has_no_findings_and_a_repair_changes_nothing() {
    for profile in Profile::all() {
        let rig = Rig::new(&profile);
        let engine = family(&rig);
        let before = look(&rig, &engine);
        let report = engine.check(&rig.lxcpath()).unwrap();
        assert!(report.is_sound() && report.findings.is_empty(), "{}: {report:?}", profile.name);
        assert!(report.containers >= 1 && report.volumes >= 2, "{}: {report:?}", profile.name);
        let repaired = engine.repair(&Context::default(), &rig.lxcpath()).unwrap();
        assert!(repaired.findings.is_empty(), "{}: {repaired:?}", profile.name);
        assert_eq!(look(&rig, &engine), before, "{}", profile.name);
        let empty = engine.check(&rig.root().join("nothing-here")).unwrap();
        assert!(empty.findings.is_empty() && empty.containers == 0, "{empty:?}");
    }
}

/// Ruins the catalogue in one of several ways.
fn ruin(rig: &Rig, way: usize) {
    let path = rig.state().join("catalogue.sqlite");
    for log in ["-wal", "-shm"] {
        let _absent = std::fs::remove_file(rig.state().join(format!("catalogue.sqlite{log}")));
    }
    match way {
        0 => std::fs::write(&path, "this is no database at all, and it is long enough to be looked at")
            .unwrap(),
        1 => std::fs::write(&path, vec![0xa5; 8192]).unwrap(),
        _ => std::fs::remove_file(&path).unwrap(),
    }
}

#[test]
fn a_ruined_catalogue_is_built_anew_from_what_is_on_disk() {
    // The places of the stacking reference store do not say upon what they stand; those of overlay do.
    let names = ["independent-home", "no-exchange-home", "copying-home", "dir", "overlay"];
    for profile in Profile::named(&names) {
        for way in 0..3 {
            let rig = Rig::new(&profile);
            let engine = family(&rig);
            let before = look(&rig, &engine);
            drop(engine);
            ruin(&rig, way);
            let what = format!("{} ruined in way {way}", profile.name);
            let engine = rig.engine();
            let report = engine.repair(&Context::default(), &rig.lxcpath()).unwrap();
            assert!(report.is_sound(), "{what}: {report:?}");
            if way < 2 {
                assert_eq!(report.findings[0].problem, Problem::DamagedCatalogue, "{what}");
                assert!(report.set_aside.as_ref().is_some_and(|aside| aside.exists()), "{what}: {report:?}");
            }
            drop(engine);
            let engine = rig.engine();
            let after = look(&rig, &engine);
            for (name, was) in &before {
                let is = &after[name];
                assert!(was.is_same_but_for_origins(is), "{what}: {name}\nwas {was:?}\nis  {is:?}");
            }
            assert_eq!(before.len(), after.len(), "{what}");
            assert_clean(&rig, &engine, &what);
            let again = engine.check(&rig.lxcpath()).unwrap();
            assert!(again.findings.is_empty(), "{what}: {again:?}");
            rig.restore(&engine, "a", "snap0", &RestoreTarget::New(rig.key("n"))).unwrap();
            assert_eq!(rig.read(&engine, "n", "f").as_deref(), Some("1"), "{what}");
            rig.destroy(&engine, "a", DestroyScope::WithDependents).unwrap();
            assert_clean(&rig, &engine, &what);
        }
    }
}

#[test]
fn a_damaged_catalogue_can_be_listed_and_refuses_changes_with_the_way_out() {
    for profile in Profile::named(&["freezing-home", "dir"]) {
        let rig = Rig::new(&profile);
        drop(family(&rig));
        ruin(&rig, 0);
        let engine = rig.engine();
        assert!(rig.names(&engine).contains(&"a".to_owned()), "{}", profile.name);
        let error = engine.create(&Context::default(), rig.create_request("n")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
        assert!(error.hints().iter().any(|hint| hint.contains("keiki check --repair")), "{error:?}");
        assert!(!rig.exists("n"));
        let report = engine.check(&rig.lxcpath()).unwrap();
        assert_eq!(problems(&report), [(Problem::DamagedCatalogue, "catalogue")]);
        assert!(!report.is_sound());
    }
}

#[test]
fn a_named_volume_whose_directory_is_gone_gets_one_again() {
    for profile in Profile::named(&["independent", "freezing", "deferring", "refusing"]) {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        std::fs::remove_dir_all(rig.lxcpath().join("a")).unwrap();
        let report = engine.check(&rig.lxcpath()).unwrap();
        assert_eq!(problems(&report), [(Problem::MissingHome, "a")], "{}", profile.name);
        let report = engine.repair(&Context::default(), &rig.lxcpath()).unwrap();
        assert!(report.is_sound(), "{}: {report:?}", profile.name);
        assert_eq!(rig.read(&engine, "a", "f").as_deref(), Some("1"), "{}", profile.name);
        engine.permit_start(&rig.key("a")).unwrap();
        assert_clean(&rig, &engine, profile.name);
    }
}

#[test]
fn a_container_that_is_gone_with_its_data_is_forgotten_and_one_that_others_need_is_not() {
    for profile in Profile::named(&["independent-home", "freezing-home", "dir", "overlay"]) {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        rig.create(&engine, "lonely", "1");
        let has_child = rig.clone(&engine, "a", "b").is_ok()
            && !engine.container(&rig.key("a")).unwrap().dependents.is_empty();
        for gone in ["a", "lonely"] {
            std::fs::rename(rig.lxcpath().join(gone), rig.root().join(gone)).unwrap();
        }
        let report = engine.repair(&Context::default(), &rig.lxcpath()).unwrap();
        let open: Vec<_> =
            report.findings.iter().filter(|finding| finding.state != FindingState::Repaired).collect();
        assert_eq!(open.is_empty(), !has_child, "{}: {report:?}", profile.name);
        assert!(open.iter().all(|finding| finding.subject == "a"), "{}: {report:?}", profile.name);
        if has_child {
            std::fs::rename(rig.root().join("a"), rig.lxcpath().join("a")).unwrap();
            let report = engine.check(&rig.lxcpath()).unwrap();
            assert!(report.findings.is_empty(), "{}: {report:?}", profile.name);
            assert_eq!(rig.read(&engine, "b", "f").as_deref(), Some("1"), "{}", profile.name);
        }
    }
}

#[test]
fn a_home_from_a_backup_without_marks_is_taken_back() {
    for profile in Profile::named(&["dir", "overlay"]) {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        let (home, backup) = (rig.lxcpath().join("a"), rig.root().join("backup"));
        let copied = std::process::Command::new("cp")
            .args(["-r", "--preserve=mode,ownership,timestamps,links"])
            .args([&home, &backup])
            .status()
            .unwrap();
        assert!(copied.success());
        std::fs::remove_dir_all(&home).unwrap();
        std::fs::rename(&backup, &home).unwrap();
        refused(rig.destroy(&engine, "a", DestroyScope::Only), ErrorKind::Foreign, profile.name);
        let report = engine.repair(&Context::default(), &rig.lxcpath()).unwrap();
        assert!(report.is_sound(), "{}: {report:?}", profile.name);
        assert_eq!(rig.read(&engine, "a", "f").as_deref(), Some("1"), "{}", profile.name);
        rig.destroy(&engine, "a", DestroyScope::Only).unwrap();
        assert_clean(&rig, &engine, profile.name);
    }
}

#[test]
fn what_other_hands_took_is_named_and_what_no_row_names_is_left_alone() {
    for profile in Profile::named(&["freezing-home", "dir", "overlay"]) {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        let volume = rig.head(&engine, "a");
        let path = volume.source.paths().last().unwrap().to_owned();
        std::fs::rename(&path, rig.root().join("taken")).unwrap();
        let report = engine.repair(&Context::default(), &rig.lxcpath()).unwrap();
        let found = problems(&report);
        // An overlay has a second directory, which is still there.
        let expected =
            if profile.name == "overlay" { Problem::PartialVolume } else { Problem::MissingVolume };
        assert_eq!(found, [(expected, "a")], "{}: {report:?}", profile.name);
        assert!(!report.is_sound());
        std::fs::rename(rig.root().join("taken"), &path).unwrap();
        assert!(engine.check(&rig.lxcpath()).unwrap().findings.is_empty(), "{}", profile.name);
    }
}

#[test]
fn stray_directories_and_lost_relations_are_repaired() {
    for profile in Profile::named(&["freezing-home", "overlay", "dir"]) {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        rig.clone(&engine, "a", "b").unwrap();
        std::fs::remove_file(rig.lxcpath().join("a/lxc_snapshots")).unwrap();
        std::fs::remove_file(rig.lxcpath().join("b/lxc_rdepends")).unwrap();
        let stray = rig.lxcpath().join(".keiki/trash/0123");
        std::fs::create_dir_all(stray.join("rootfs")).unwrap();
        let report = engine.repair(&Context::default(), &rig.lxcpath()).unwrap();
        assert!(report.is_sound() && report.findings.len() == 2, "{}: {report:?}", profile.name);
        let lxcpath = rig.lxcpath().display().to_string();
        assert_eq!(rig.text("a/lxc_snapshots"), Some(format!("{lxcpath}\nb\n")), "{}", profile.name);
        assert_eq!(rig.text("b/lxc_rdepends"), Some(format!("{lxcpath}\na\n")), "{}", profile.name);
        assert!(!stray.exists(), "{}", profile.name);
    }
}

#[test]
fn a_config_that_names_nothing_names_the_volume_again_and_one_that_names_another_is_left() {
    for profile in Profile::all() {
        let rig = Rig::new(&profile);
        let engine = rig.engine();
        rig.create(&engine, "a", "1");
        rig.create(&engine, "b", "2");
        let kind = profile.kind();
        let home = rig.lxcpath().join("a");
        let lost = format!("lxc.rootfs.path = {kind}:{}/nothing\n", home.display());
        std::fs::write(home.join("config"), &lost).unwrap();
        let report = engine.repair(&Context::default(), &rig.lxcpath()).unwrap();
        assert_eq!(problems(&report), [(Problem::ConfigDisagrees, "a")], "{}: {report:?}", profile.name);
        assert!(report.is_sound(), "{}: {report:?}", profile.name);
        let source = rig.head(&engine, "a").source;
        assert!(rig.text("a/config").unwrap().contains(&source.to_string()), "{}", profile.name);
        let others = format!("lxc.rootfs.path = {}\n", rig.head(&engine, "b").source);
        std::fs::write(home.join("config"), &others).unwrap();
        let report = engine.repair(&Context::default(), &rig.lxcpath()).unwrap();
        assert_eq!(problems(&report), [(Problem::ConfigDisagrees, "a")], "{}: {report:?}", profile.name);
        assert!(!report.is_sound(), "{}: {report:?}", profile.name);
        assert_eq!(rig.text("a/config").as_deref(), Some(others.as_str()), "{}", profile.name);
    }
}

#[test]
fn containers_of_lxc_are_no_findings() {
    let rig = Rig::new(&Profile::references()[1]);
    let engine = rig.engine();
    std::fs::create_dir(rig.lxcpath().join("theirs")).unwrap();
    std::fs::write(rig.lxcpath().join("theirs/config"), "lxc.rootfs.path = dir:/nowhere\n").unwrap();
    std::fs::create_dir(rig.lxcpath().join("no-container")).unwrap();
    let report = engine.repair(&Context::default(), &rig.lxcpath()).unwrap();
    assert!(report.findings.is_empty(), "{report:?}");
}
