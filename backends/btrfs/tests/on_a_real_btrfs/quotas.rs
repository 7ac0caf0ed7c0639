//! Limits and accounts, with each kind of quotas.

use std::fs::File;
use std::os::fd::AsFd;

use keiki_btrfs::BtrfsStore;
use keiki_core::ErrorKind;
use keiki_core::context::Context;
use keiki_core::store::{BackingStore, CloneJob, Exactness, Usage};
use keiki_core::units::Bytes;
use keiki_core::volume::Volume;
use keiki_sys::btrfs::{Accounting, enable_quotas};

use crate::ground::{Ground, root, wait};

const MEGABYTE: u64 = 1 << 20;

/// Makes a volume with four megabytes and a clone of it that writes one more.
fn pair(ground: &Ground) -> [Volume; 2] {
    let (store, context) = (BtrfsStore::new(), Context::default());
    let (base, clone) = (ground.volume("base"), ground.volume("clone"));
    wait(store.create(&context, &base)).unwrap();
    std::fs::write(root(&base).join("file"), vec![7; 4 << 20]).unwrap();
    let job = CloneJob { target: clone.clone() };
    wait(store.clones().unwrap().clone_from(&context, &base, &[job])).remove(0).unwrap();
    std::fs::write(root(&clone).join("own"), vec![9; 1 << 20]).unwrap();
    [base, clone]
}

fn with_quotas(accounting: Accounting) -> Option<Ground> {
    let ground = Ground::make()?;
    let pool = File::open(ground.pool()).unwrap();
    match enable_quotas(pool.as_fd(), accounting) {
        Ok(()) => Some(ground),
        Err(error) => {
            println!("skipped: needs a kernel with {accounting:?} quotas ({error})");
            None
        }
    }
}

fn is_about(bytes: Option<Bytes>, megabytes: u64) -> bool {
    bytes.is_some_and(|bytes| bytes.0.abs_diff(megabytes * MEGABYTE) < MEGABYTE / 4)
}

fn measured(volumes: &[Volume]) -> Vec<Usage> {
    wait(BtrfsStore::new().usage(&Context::default(), volumes)).unwrap()
}

#[test]
fn full_quotas_tell_exactly_what_is_referenced_and_what_would_be_freed() {
    let Some(ground) = with_quotas(Accounting::Full) else { return };
    let pair = pair(&ground);
    let [base, clone] = measured(&pair).try_into().unwrap();
    assert!(is_about(base.referenced, 4) && is_about(base.exclusive, 0), "{base:?}");
    assert!(is_about(clone.referenced, 5) && is_about(clone.exclusive, 1), "{clone:?}");
    assert_eq!([base.exactness, clone.exactness], [Exactness::Exact; 2]);
    std::fs::remove_file(root(&pair[0]).join("file")).unwrap();
    let clone = measured(&pair[1..])[0];
    assert!(is_about(clone.exclusive, 5), "what only the clone has left: {clone:?}");
}

#[test]
fn simple_quotas_tell_what_was_written_and_say_so() {
    let Some(ground) = with_quotas(Accounting::Simple) else { return };
    let [base, clone] = measured(&pair(&ground)).try_into().unwrap();
    assert!(is_about(base.referenced, 4) && is_about(base.exclusive, 4), "{base:?}");
    assert!(is_about(clone.referenced, 5) && is_about(clone.exclusive, 1), "{clone:?}");
    assert_eq!([base.exactness, clone.exactness], [Exactness::Approximate; 2]);
}

#[test]
fn without_quotas_the_size_is_approximate_and_a_limit_names_the_remedy() {
    let Some(ground) = Ground::make() else { return };
    let pair = pair(&ground);
    let clone = measured(&pair)[1];
    assert!(is_about(clone.referenced, 5) && clone.exclusive.is_none(), "{clone:?}");
    assert_eq!(clone.exactness, Exactness::Approximate);
    let store = BtrfsStore::new();
    let quota = store.quota().unwrap();
    let error = wait(quota.set_quota(&Context::default(), &pair[0], Some(Bytes(MEGABYTE)))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(format!("{error:?}").contains("btrfs quota enable --simple"), "{error:?}");
}

#[test]
fn a_limit_is_enforced_shown_and_lifted_with_either_kind() {
    for accounting in [Accounting::Full, Accounting::Simple] {
        let Some(ground) = with_quotas(accounting) else { continue };
        let (store, context) = (BtrfsStore::new(), Context::default());
        let volume = ground.volume("base");
        wait(store.create(&context, &volume)).unwrap();
        let limit = |bytes| wait(store.quota().unwrap().set_quota(&context, &volume, bytes));
        for _ in 0..2 {
            limit(Some(Bytes(8 * MEGABYTE))).unwrap();
        }
        assert_eq!(measured(std::slice::from_ref(&volume))[0].limit, Some(Bytes(8 * MEGABYTE)));
        let told = || wait(store.quota().unwrap().limit_of(&context, &volume)).unwrap();
        assert_eq!(told(), Some(Bytes(8 * MEGABYTE)));
        let file = root(&volume).join("file");
        let refused = std::fs::write(&file, vec![7; 16 << 20]).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::QuotaExceeded, "{accounting:?}");
        for _ in 0..2 {
            limit(None).unwrap();
        }
        assert_eq!(measured(std::slice::from_ref(&volume))[0].limit, None);
        assert_eq!(told(), None);
        std::fs::write(&file, vec![7; 16 << 20]).unwrap();
    }
}
