//! Which stores there are. Only binaries and the C library fill it; nobody else names a concrete backend.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use crate::capability::Availability;
use crate::error::{Error, ErrorKind, Result};
use crate::store::{BackingStore, Pool};
use crate::volume::{Properties, StoreKind};

/// The stores of one program, in order of detection.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    stores: Vec<Arc<dyn BackingStore>>,
    best: Vec<StoreKind>,
    defaults: BTreeMap<StoreKind, Properties>,
}

/// What a user asked of `--bdev`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum StoreChoice {
    /// Nothing: the installation's default.
    #[default]
    Default,
    /// The first usable store of the registry's order of preference.
    Best,
    /// The first usable store of a list; one entry is an explicit choice that never becomes another.
    FirstOf(Vec<StoreKind>),
}

impl FromStr for StoreChoice {
    type Err = Error;

    /// Reads `best`, `KIND`, or `KIND,KIND…`.
    fn from_str(text: &str) -> Result<Self> {
        if text == "best" {
            return Ok(Self::Best);
        }
        let kinds: Vec<_> = text.split(',').map(str::trim).map(StoreKind::new).collect();
        if kinds.iter().any(|kind| kind.as_str().is_empty()) {
            let text = format!("`{text}` is not a list of stores");
            return Err(
                Error::new(ErrorKind::InvalidArgument, text).with_hint("write `dir`, `btrfs,dir` or `best`")
            );
        }
        Ok(Self::FirstOf(kinds))
    }
}

impl Registry {
    /// Returns a registry without stores.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a store. Stores are detected in the order in which they were added.
    #[must_use]
    pub fn with(mut self, store: Arc<dyn BackingStore>) -> Self {
        self.stores.push(store);
        self
    }

    /// Sets the order in which `best` tries stores; kinds that are not registered are passed over.
    #[must_use]
    pub fn with_preference(mut self, kinds: &[&str]) -> Self {
        self.best = kinds.iter().map(|kind| StoreKind::new(kind)).collect();
        self
    }

    /// Sets options that new volumes in the stores of `kind` have where nobody says otherwise.
    #[must_use]
    pub fn with_defaults(mut self, kind: &str, options: Properties) -> Self {
        self.defaults.insert(StoreKind::new(kind), options);
        self
    }

    /// Returns the options of a new volume in a store of `kind`: the defaults of the installation, and over them those that
    /// were `given`.
    ///
    /// # Behavior
    /// An empty value takes a default away.
    #[must_use]
    pub fn options(&self, kind: &StoreKind, given: &Properties) -> Properties {
        let mut options = given.clone();
        for (name, default) in self.defaults.get(kind).into_iter().flatten() {
            match given.get(name) {
                None => drop(options.insert(name.clone(), default.clone())),
                Some(value) if value.is_empty() => drop(options.remove(name)),
                Some(_) => {}
            }
        }
        options
    }

    /// Returns the pool where volumes of a store of `kind` are made near `path` without options.
    #[must_use]
    pub fn default_pool(&self, kind: &StoreKind, path: &Path) -> Pool {
        Pool { path: path.to_owned(), options: self.options(kind, &Properties::new()) }
    }

    /// Returns the stores in order of detection.
    #[must_use]
    pub fn stores(&self) -> &[Arc<dyn BackingStore>] {
        &self.stores
    }

    /// Returns the store of `kind`.
    ///
    /// # Errors
    /// `InvalidArgument` naming the kinds that this program has.
    pub fn get(&self, kind: &StoreKind) -> Result<&Arc<dyn BackingStore>> {
        self.stores.iter().find(|store| store.kind() == *kind).ok_or_else(|| {
            let known: Vec<_> = self.stores.iter().map(|store| store.kind().to_string()).collect();
            Error::new(
                ErrorKind::InvalidArgument,
                format!("there is no store `{kind}` in this build of keiki"),
            )
            .with_hint(format!("stores here: {}; `keiki stores` shows what each can do", known.join(", ")))
        })
    }

    /// Returns the store that a choice means in `pool`.
    ///
    /// # Behavior
    /// Every named kind must exist in this build, even behind the one that is taken: a typing error must not hide. A
    /// store that is unavailable is passed over only when the choice names others behind it. The options of the pool stand over each
    /// store's defaults.
    ///
    /// # Errors
    /// `InvalidArgument` for an unknown kind; `Unavailable` with the reason and remedy of each store that was tried.
    pub async fn choose(&self, choice: &StoreChoice, pool: &Pool) -> Result<Arc<dyn BackingStore>> {
        let candidates: Vec<_> = match choice {
            StoreChoice::Default => vec![self.default_store()?.clone()],
            StoreChoice::Best => {
                self.best.iter().filter_map(|kind| self.get(kind).ok()).map(Arc::clone).collect()
            }
            StoreChoice::FirstOf(kinds) => {
                kinds.iter().map(|kind| self.get(kind).map(Arc::clone)).collect::<Result<_>>()?
            }
        };
        let mut refusal = Error::new(ErrorKind::Unavailable, "no store that was asked for is available");
        for store in candidates {
            let options = self.options(&store.kind(), &pool.options);
            match store.availability(&Pool { path: pool.path.clone(), options }).await {
                Availability::Unavailable { reason, remedy } => {
                    let kind = store.kind();
                    refusal = refusal.with_context("store", format!("{kind}: {reason}")).with_hint(remedy);
                }
                Availability::Ready | Availability::Degraded { .. } => return Ok(store),
            }
        }
        Err(refusal)
    }

    fn default_store(&self) -> Result<&Arc<dyn BackingStore>> {
        self.stores.first().ok_or_else(|| Error::new(ErrorKind::Internal, "this program has no stores"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> Properties {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_is_given_wins_over_a_default_and_an_empty_value_takes_it_away() {
        let defaults = options(&[("vgname", "vg0"), ("thinpool", "pool")]);
        let registry = Registry::new().with_defaults("lvm", defaults.clone());
        let lvm = StoreKind::new("lvm");
        for (given, expected) in [
            (options(&[]), defaults),
            (options(&[("vgname", "vg1")]), options(&[("vgname", "vg1"), ("thinpool", "pool")])),
            (options(&[("thinpool", "")]), options(&[("vgname", "vg0")])),
            (options(&[("fstype", "")]), options(&[("fstype", ""), ("vgname", "vg0"), ("thinpool", "pool")])),
        ] {
            assert_eq!(registry.options(&lvm, &given), expected, "{given:?}");
        }
        assert_eq!(registry.options(&StoreKind::new("zfs"), &options(&[])), options(&[]));
    }
}
