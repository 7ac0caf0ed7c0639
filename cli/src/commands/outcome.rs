//! What was done, in words.

use keiki_core::capability::Cost;
use keiki_core::engine::{Means, Outcome};

/// Returns the store, the means and the cost of an outcome: `overlay, snapshot, constant cost`.
pub(super) fn described(outcome: &Outcome) -> String {
    let store = outcome.volume.kind();
    let cost = match outcome.cost {
        Cost::Constant => "no data copied",
        Cost::PerEntry => "data shared file by file",
        Cost::PerByte => "data copied",
    };
    match outcome.means {
        None => store.to_string(),
        Some(Means::Snapshot) => format!("{store}, shares data, {cost}"),
        Some(Means::Copy) => format!("{store}, independent copy, {cost}"),
    }
}

#[cfg(test)]
mod tests {
    use keiki_core::volume::{Volume, VolumeId};

    use super::*;

    #[test]
    fn an_outcome_says_store_means_and_cost() {
        let volume = Volume::new(VolumeId::generate(), "overlay:/a:/b".parse().unwrap());
        let mut outcome =
            Outcome { name: "x".into(), volume, means: Some(Means::Snapshot), cost: Cost::Constant };
        assert_eq!(described(&outcome), "overlay, shares data, no data copied");
        (outcome.means, outcome.cost) = (Some(Means::Copy), Cost::PerByte);
        assert_eq!(described(&outcome), "overlay, independent copy, data copied");
        outcome.means = None;
        assert_eq!(described(&outcome), "overlay");
    }
}
