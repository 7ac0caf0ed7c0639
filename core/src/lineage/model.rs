//! The rules against a model: every small graph, and random lives of containers.
//!
//! *Small graphs*: all families of three volumes in two containers, in every role and with every kind of edge; each
//! container and snapshot is destroyed in each scope, and the plan is held against what a destroy must never do.
//! *Random lives*: a world whose volumes hold data as the stores would hold it; whatever the rules allow is done, and
//! afterwards everybody must still see what they saw.

mod graphs;
mod lives;
