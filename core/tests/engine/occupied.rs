//! An [`Activity`] that the test decides.

use std::collections::BTreeSet;
use std::sync::Mutex;

use keiki_core::Result;
use keiki_core::engine::{Activity, ContainerKey, Holder};

/// The containers that are in use.
#[derive(Debug, Default)]
pub(crate) struct Occupied(Mutex<BTreeSet<ContainerKey>>);

impl Occupied {
    pub(crate) fn start(&self, key: &ContainerKey) {
        self.0.lock().unwrap().insert(key.clone());
    }

    pub(crate) fn stop(&self, key: &ContainerKey) {
        self.0.lock().unwrap().remove(key);
    }
}

impl Activity for Occupied {
    fn holder(&self, key: &ContainerKey) -> Result<Option<Holder>> {
        let runs = self.0.lock().unwrap().contains(key);
        Ok(runs.then(|| Holder { activity: "running".to_owned(), pid: Some(42) }))
    }
}
