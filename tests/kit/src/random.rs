//! [`Random`]: small, seeded, the same everywhere, so that a failing history can be told by its seed.

use crate::yard::{Means, Op, Reach};

/// A sequence of random numbers (splitmix64).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Returns the sequence of `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end.max(1)).unwrap_or(1);
        usize::try_from(self.next() % end).unwrap_or(0)
    }

    fn name(&mut self, names: &[&str]) -> String {
        names[self.below(names.len())].to_owned()
    }

    /// Returns an operation on some of `names` and on the first `snapshots` snapshots.
    pub fn op(&mut self, names: &[&str], snapshots: usize) -> Op {
        let (name, other) = (self.name(names), self.name(names));
        let snapshot = format!("snap{}", self.below(snapshots));
        match self.below(24) {
            0..=3 => Op::Create { name },
            4..=6 => {
                let means = [Means::Copy, Means::Snapshot, Means::Either][self.below(3)];
                Op::Clone { source: name, snapshot: None, targets: vec![other], means }
            }
            7 | 8 => {
                let means = [Means::Copy, Means::Snapshot][self.below(2)];
                Op::Clone { source: name, snapshot: Some(snapshot), targets: vec![other], means }
            }
            9..=11 => Op::Snapshot { name },
            12 => Op::Restore { name, snapshot, to: None },
            13 => Op::Restore { name, snapshot, to: Some(other) },
            14 | 15 => Op::DestroySnapshot { name, snapshot },
            16 => Op::Destroy { name, reach: Reach::Only },
            17 => Op::Destroy { name, reach: Reach::Snapshots },
            18 => Op::Destroy { name, reach: Reach::Dependents },
            19 | 20 => Op::Rename { name, to: other },
            21 => Op::Flatten { name },
            _ => {
                let text = self.next().to_string();
                Op::Write { name, file: format!("f{}", self.below(3)), text }
            }
        }
    }
}
