//! [`Case`]: one claim about a store, and the section of the score card that it belongs to.

use std::fmt;
use std::sync::Arc;

use crate::bench::Bench;
use crate::rig::Rig;
use crate::verdict::Verdict;

/// A column of the score card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Section {
    /// Names, availability, options: what a store says about itself.
    Description,
    /// What is declared is proven; what is not declared is refused.
    Honesty,
    /// Create, probe, list, adopt, destroy, and foreign objects.
    Lifecycle,
    /// Nothing of a tree is lost.
    Fidelity,
    /// Generations of snapshots and clones, changed on the way.
    Snapshots,
    /// Who may be destroyed, started, renamed while others depend on it.
    Lineage,
    /// How large a volume is and how much it may hold.
    Sizes,
    /// Mount plans and what they become.
    Mounts,
    /// Containers go through a pipe with their snapshots.
    Transfer,
    /// Many at once.
    Concurrency,
    /// Killed, refused or out of space at every step.
    Faults,
    /// Random histories against a model.
    Histories,
    /// Many containers.
    Scale,
    /// Defects that LXC has and Keiki must not have.
    Defects,
}

impl Section {
    /// Every section, in the order of the score card.
    pub const ALL: [Self; 14] = [
        Self::Description,
        Self::Honesty,
        Self::Lifecycle,
        Self::Fidelity,
        Self::Snapshots,
        Self::Lineage,
        Self::Sizes,
        Self::Mounts,
        Self::Transfer,
        Self::Concurrency,
        Self::Faults,
        Self::Histories,
        Self::Scale,
        Self::Defects,
    ];

    /// Returns the word in test names and column heads.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Description => "description",
            Self::Honesty => "honesty",
            Self::Lifecycle => "lifecycle",
            Self::Fidelity => "fidelity",
            Self::Snapshots => "snapshots",
            Self::Lineage => "lineage",
            Self::Sizes => "sizes",
            Self::Mounts => "mounts",
            Self::Transfer => "transfer",
            Self::Concurrency => "concurrency",
            Self::Faults => "faults",
            Self::Histories => "histories",
            Self::Scale => "scale",
            Self::Defects => "defects",
        }
    }
}

/// What a case needs of a store to mean anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing.
    Nothing,
    /// That its volumes can be mounted: stores in memory have nothing to say about modes and mounts.
    Mounts,
}

/// One claim about a store.
#[derive(Clone)]
pub struct Case {
    /// Where it is counted.
    pub section: Section,
    /// The claim, as a test's name.
    pub name: &'static str,
    /// What it needs of a store to mean anything.
    pub needs: Needs,
    run: Arc<dyn Fn(&Bench<'_>) -> Verdict + Send + Sync>,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{}", self.section.word(), self.name)
    }
}

impl Case {
    /// Returns the claim `name`, shown by `run`.
    pub fn new(
        section: Section,
        name: &'static str,
        run: impl Fn(&Bench<'_>) -> Verdict + Send + Sync + 'static,
    ) -> Self {
        Self { section, name, needs: Needs::Nothing, run: Arc::new(run) }
    }

    /// Says that the case is about what only a mounted volume shows.
    #[must_use]
    pub fn mounted(self) -> Self {
        Self { needs: Needs::Mounts, ..self }
    }

    /// Returns whether the case means anything for a rig's store.
    #[must_use]
    pub fn concerns(&self, rig: &dyn Rig) -> bool {
        self.needs == Needs::Nothing || rig.direct().is_none()
    }

    /// Shows the claim on a bench.
    ///
    /// # Errors
    /// The failure, when it does not hold.
    pub fn show(&self, bench: &Bench<'_>) -> Verdict {
        (self.run)(bench)
    }
}

/// Lists cases of one section; each is a function, and its name is the claim.
#[macro_export]
macro_rules! cases {
    ($section:ident: $($case:ident),+ $(,)?) => {
        vec![$($crate::case::Case::new($crate::case::Section::$section, stringify!($case), $case)),+]
    };
}
