//! Names inside: first those that somebody chose, then the first free `ethN` for the others, in order.

use std::collections::BTreeSet;

use keiki_core::{Error, ErrorKind, Result};

use super::{Draft, Planned};
use crate::name::InterfaceName;

/// Names what nobody named.
pub(super) fn assign(drafts: Vec<Draft>) -> Result<Vec<Planned>> {
    let mut taken = BTreeSet::new();
    for draft in drafts.iter().filter(|draft| draft.is_named) {
        let name = &draft.planned.inside;
        if !taken.insert(name.clone()) {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("two interfaces of the container would be called `{name}`"),
            )
            .with_hint("give one of them another lxc.net.N.name"));
        }
    }
    let mut free = (0..).map(InterfaceName::ethernet).filter(move |name| !taken.contains(name));
    let named = drafts.into_iter().map(|Draft { mut planned, is_named }| {
        if !is_named && let Some(name) = free.next() {
            planned.inside = name;
        }
        planned
    });
    Ok(named.collect())
}
