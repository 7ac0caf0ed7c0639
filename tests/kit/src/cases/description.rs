//! What a store says about itself: its word, its availability, its options, the places that it chooses.

use keiki_core::ErrorKind;
use keiki_core::capability::{Availability, Residence};
use keiki_core::registry::{Registry, StoreChoice};
use keiki_core::store::Pool;
use keiki_core::volume::{StoreKind, VolumeRole, VolumeSource};

use crate::bench::{Bench, Tree};
use crate::case::Case;
use crate::verdict::{Proof, Verdict};
use crate::{cases, claim, claim_eq};

pub(super) fn cases() -> Vec<Case> {
    cases![Description:
        kind_is_a_plain_word,
        availability_names_reason_and_remedy,
        availability_has_no_side_effects,
        the_test_ground_is_usable,
        a_missing_pool_is_never_made,
        capabilities_do_not_change,
        options_it_does_not_know_are_refused,
        place_is_pure,
        places_differ_by_home,
        places_stay_in_their_home,
        sources_survive_a_configuration_file,
        an_explicit_choice_never_becomes_another,
        a_typing_error_in_a_list_of_stores_does_not_hide,
    ]
}

fn kind_is_a_plain_word(bench: &Bench<'_>) -> Verdict {
    let kind = bench.store.kind();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    claim!(!kind.as_str().is_empty() && kind.as_str().chars().all(plain), "`{kind}` is no plain word");
    claim_eq!(bench.store.kind(), kind, "a second answer");
    Ok(Proof::Works)
}

fn availability_names_reason_and_remedy(bench: &Bench<'_>) -> Verdict {
    for path in [bench.ground().lxcpath(), "/proc".into(), bench.ground().root().join("nowhere")] {
        let pool = Pool { path, ..bench.pool() };
        match bench.wait(bench.store.availability(&pool)) {
            Availability::Ready => {}
            Availability::Degraded { reason, remedy } | Availability::Unavailable { reason, remedy } => {
                let where_ = pool.path.display();
                claim!(!reason.is_empty() && !remedy.is_empty(), "no reason or no remedy for `{where_}`");
            }
        }
    }
    Ok(Proof::Works)
}

fn availability_has_no_side_effects(bench: &Bench<'_>) -> Verdict {
    let before = Tree::at(bench.ground().root())?.describe()?;
    for _ in 0..2 {
        bench.wait(bench.store.availability(&bench.pool()));
    }
    let after = Tree::at(bench.ground().root())?.describe()?;
    claim!(before == after, "asking changed {:?}", before.diff(&after));
    Ok(Proof::Works)
}

fn the_test_ground_is_usable(bench: &Bench<'_>) -> Verdict {
    match bench.wait(bench.store.availability(&bench.pool())) {
        Availability::Unavailable { reason, .. } => Ok(Proof::Skipped(format!("a usable store ({reason})"))),
        Availability::Ready | Availability::Degraded { .. } => Ok(Proof::Works),
    }
}

fn a_missing_pool_is_never_made(bench: &Bench<'_>) -> Verdict {
    let path = bench.ground().root().join("nowhere");
    let pool = Pool { path: path.clone(), ..bench.pool() };
    bench.wait(bench.store.availability(&pool));
    let listed = bench.wait(bench.store.list(&pool));
    claim!(
        listed.is_err() || listed.is_ok_and(|found| found.is_empty()),
        "objects in a pool that is not there"
    );
    claim!(!path.exists(), "the pool was made");
    Ok(Proof::Works)
}

fn capabilities_do_not_change(bench: &Bench<'_>) -> Verdict {
    claim_eq!(bench.promises()?, bench.promises()?, "a second answer");
    Ok(Proof::Works)
}

fn options_it_does_not_know_are_refused(bench: &Bench<'_>) -> Verdict {
    let mut placement = bench.placement("a", VolumeRole::Head)?;
    placement.options.insert("no-such-option".to_owned(), "1".to_owned());
    let Err(error) = bench.store.place(&placement, None) else {
        claim!(false, "an unknown option was taken");
        return Ok(Proof::Works);
    };
    claim_eq!(error.kind(), ErrorKind::InvalidArgument, "the kind of `{error}`");
    claim!(format!("{error:?}").contains("no-such-option"), "the error does not name the option: {error:?}");
    Ok(Proof::Refused)
}

fn place_is_pure(bench: &Bench<'_>) -> Verdict {
    let placement = bench.placement("a", VolumeRole::Head)?;
    let before = Tree::at(bench.ground().root())?.describe()?;
    claim_eq!(bench.store.place(&placement, None)?, bench.store.place(&placement, None)?, "a second answer");
    claim!(before == Tree::at(bench.ground().root())?.describe()?, "choosing a place changed something");
    Ok(Proof::Works)
}

fn places_differ_by_home(bench: &Bench<'_>) -> Verdict {
    let (a, b) = (bench.place("a", None)?, bench.place("b", None)?);
    claim!(a.source != b.source, "two containers share `{}`", a.source);
    claim_eq!(a.source.kind(), &bench.store.kind(), "the kind in a source");
    Ok(Proof::Works)
}

fn places_stay_in_their_home(bench: &Bench<'_>) -> Verdict {
    if bench.promises()?.residence != Residence::Home {
        return Ok(Proof::Skipped("a store whose volumes live in the container's directory".to_owned()));
    }
    let placement = bench.placement("a", VolumeRole::Head)?;
    let source = bench.store.place(&placement, None)?;
    for path in source.location().split(':') {
        claim!(std::path::Path::new(path).starts_with(&placement.home), "`{path}` is outside the home");
    }
    Ok(Proof::Works)
}

fn sources_survive_a_configuration_file(bench: &Bench<'_>) -> Verdict {
    let volume = bench.place("a", None)?;
    claim_eq!(volume.source.to_string().parse::<VolumeSource>()?, volume.source, "read back");
    Ok(Proof::Works)
}

/// A store of another name that is nowhere available would be wrong to replace by this one.
fn an_explicit_choice_never_becomes_another(bench: &Bench<'_>) -> Verdict {
    let elsewhere = Pool { path: bench.ground().root().join("nowhere"), ..bench.pool() };
    let choice = StoreChoice::FirstOf(vec![bench.store.kind()]);
    let registry = bench.rig.registry();
    let chosen = bench.wait(registry.choose(&choice, &bench.pool()));
    if let Ok(store) = &chosen {
        claim_eq!(store.kind(), bench.store.kind(), "the store chosen");
    }
    match bench.wait(registry.choose(&choice, &elsewhere)) {
        Ok(store) => claim_eq!(store.kind(), bench.store.kind(), "the store chosen without a pool"),
        Err(error) => claim_eq!(error.kind(), ErrorKind::Unavailable, "the kind of `{error}`"),
    }
    Ok(Proof::Refused)
}

fn a_typing_error_in_a_list_of_stores_does_not_hide(bench: &Bench<'_>) -> Verdict {
    let registry = Registry::new().with(bench.rig.store());
    let choice = StoreChoice::FirstOf(vec![bench.store.kind(), StoreKind::new("zsf")]);
    let error = bench.wait(registry.choose(&choice, &bench.pool())).err();
    claim_eq!(error.map(|e| e.kind()), Some(ErrorKind::InvalidArgument), "the answer to a list with `zsf`");
    Ok(Proof::Refused)
}
