//! Interfaces that a killed monitor left, found by their marks and by what it wrote down.

use std::path::Path;

use keiki_core::Result;
use keiki_network::{Making, Owner, Planned, Rtnetlink, remove_marked, restore, retract};

use crate::rundir::fnv_1a;

/// Returns what is noted on the interfaces of the container whose run directory is at `run`: the hash of its lxcpath and its
/// name. A name that does not fit is told by its hash.
pub(crate) fn owner(run: &Path) -> Result<Owner> {
    let part = |path: Option<&Path>| {
        path.and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    };
    let (hash, name) = (part(run.parent()), part(Some(run)));
    Owner::new(format!("{hash}/{name}"))
        .or_else(|_| Owner::new(format!("{hash}/{:016x}", fnv_1a(name.as_bytes()))))
}

/// Removes what was made for a container, and gives hardware that the kernel brought home its name again.
///
/// # Behavior
/// Done twice it does nothing. What was made dies with its namespace anyhow; this is for what outlives it.
pub(crate) fn clean_up(run: &Path, interfaces: &[Planned]) -> Result<()> {
    if interfaces.is_empty() {
        return Ok(());
    }
    let owner = owner(run)?;
    let mut network = Rtnetlink::open()?;
    for nic in interfaces {
        retract(&mut network, nic)?;
        if let Making::Lent(lent) = &nic.making {
            restore(&mut network, &owner, lent)?;
        }
    }
    remove_marked(&mut network, &owner).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_the_end_of_the_run_directory() {
        let run = Path::new("/run/keiki/00000000000000ff/web1");
        assert_eq!(owner(run).unwrap().as_str(), "00000000000000ff/web1");
        let strange = run.with_file_name("a:b");
        assert_eq!(owner(&strange).unwrap().as_str().len(), 33);
    }
}
