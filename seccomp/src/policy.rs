//! What a policy says, by names.

use crate::architecture::Architecture;

/// What happens to a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It is carried out.
    Allow,
    /// It fails with this errno.
    Errno(u16),
    /// The process is told by `SIGSYS`.
    Trap,
    /// The thread is killed.
    Kill,
    /// A supervisor is asked.
    Notify,
}

/// How an argument is compared with a value, as 64 bits without sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `==`
    Equal,
    /// `>=`
    GreaterOrEqual,
    /// `>`
    Greater,
    /// Equal in the bits of this mask.
    EqualIn(u64),
    /// Not equal in the bits of this mask.
    NotEqualIn(u64),
}

/// A comparison of one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition {
    /// Which argument: 0 to 5.
    pub argument: u8,
    /// How it is compared.
    pub comparison: Comparison,
    /// With what.
    pub value: u64,
}

impl Condition {
    /// Returns whether arguments fulfil it.
    #[must_use]
    pub fn holds(&self, arguments: &[u64; 6]) -> bool {
        let argument = arguments.get(usize::from(self.argument)).copied().unwrap_or(0);
        match self.comparison {
            Comparison::NotEqual => argument != self.value,
            Comparison::Less => argument < self.value,
            Comparison::LessOrEqual => argument <= self.value,
            Comparison::Equal => argument == self.value,
            Comparison::GreaterOrEqual => argument >= self.value,
            Comparison::Greater => argument > self.value,
            Comparison::EqualIn(mask) => argument & mask == self.value & mask,
            Comparison::NotEqualIn(mask) => argument & mask != self.value & mask,
        }
    }
}

/// For whose programs a rule is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Those of every architecture that the kernel serves and that has the call.
    All,
    /// Those of one.
    Only(Architecture),
}

impl Reach {
    /// Returns whether programs of an architecture are meant.
    #[must_use]
    pub fn covers(self, architecture: Architecture) -> bool {
        self == Self::All || self == Self::Only(architecture)
    }
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// For whose programs it is.
    pub reach: Reach,
    /// The system call; a number stands for itself.
    pub call: String,
    /// What happens when all conditions hold.
    pub action: Action,
    /// At most six.
    pub conditions: Vec<Condition>,
}

/// What happens to system calls that have no name yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// The default of the policy.
    AsDefault,
    /// They fail with `ENOSYS`, as on a kernel that does not have them, so that programs fall back.
    Missing,
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// What happens to a call for which no rule holds.
    pub default: Action,
    /// What happens to a call that is newer than we are.
    pub unknown: Unknown,
    /// The rules. Of several for one call, those with conditions are asked first, in order.
    pub rules: Vec<Rule>,
}
