//! What destroying a whole set would free, by one look at its datasets and their snapshots.
//!
//! zfs accounts data to a dataset that nothing else holds, to a single snapshot, or to all snapshots of a dataset together. The last number
//! counts only when all of them go; else what several snapshots share among them is not known, and the sum is a lower bound.

use std::collections::{BTreeMap, BTreeSet};

use keiki_core::Result;
use keiki_core::context::Context;
use keiki_core::store::{Exactness, Freed};
use keiki_core::units::Bytes;
use keiki_core::volume::Volume;

use crate::dataset::{Place, is_internal};
use crate::parse::{self, Row};
use crate::tool::{self, NAMES_MAX};

/// What zfs accounts to one object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Account {
    is_snapshot: bool,
    used: u64,
    by_dataset: u64,
    by_snapshots: u64,
    origin: Option<String>,
    clones: BTreeSet<String>,
}

type Accounts = BTreeMap<String, Account>;

/// Returns what destroying all of `volumes` would free; see `Accounting::freed`.
pub(crate) fn freed(context: &Context, volumes: &[Volume]) -> Result<Freed> {
    let places = volumes.iter().map(Place::of).collect::<Result<Vec<_>>>()?;
    let names: BTreeSet<String> = places.iter().map(Place::name).collect();
    let datasets: BTreeSet<&str> = places.iter().map(|place| place.dataset.as_str()).collect();
    let datasets: Vec<&str> = datasets.into_iter().collect();
    let mut accounts = Accounts::new();
    for some in datasets.chunks(NAMES_MAX) {
        ask(context, some, &mut accounts)?;
    }
    Ok(sum(&names, &accounts))
}

fn ask(context: &Context, datasets: &[&str], accounts: &mut Accounts) -> Result<()> {
    let asked = "type,used,usedbydataset,usedbysnapshots,origin,clones";
    let front =
        ["get", "-Hp", "-d", "1", "-t", "filesystem,snapshot", "-o", "name,property,value,source", asked];
    let arguments: Vec<&str> = front.into_iter().chain(datasets.iter().copied()).collect();
    let answer = tool::zfs(context, &arguments)?;
    if answer.code != 0 && parse::absent(&String::from_utf8_lossy(&answer.stderr)).is_none() {
        return Err(tool::complaint(&answer, "measure", datasets.first().copied().unwrap_or_default()));
    }
    read(answer.text()?, accounts).map_err(|why| answer.misunderstood(&why))
}

fn read(text: &str, accounts: &mut Accounts) -> Result<(), String> {
    for Row { name, property, value, .. } in parse::rows(text)? {
        let account = accounts.entry(name.to_owned()).or_default();
        let number = || Ok::<_, String>(parse::number(value)?.unwrap_or_default());
        match property {
            "type" => account.is_snapshot = value == Some("snapshot"),
            "used" => account.used = number()?,
            "usedbydataset" => account.by_dataset = number()?,
            "usedbysnapshots" => account.by_snapshots = number()?,
            "origin" => account.origin = value.map(str::to_owned),
            "clones" => {
                account.clones = value
                    .into_iter()
                    .flat_map(|text| text.split(','))
                    .filter(|name| !name.is_empty())
                    .map(str::to_owned)
                    .collect()
            }
            other => return Err(format!("a property `{other}` that was not asked for")),
        }
    }
    Ok(())
}

fn sum(going: &BTreeSet<String>, accounts: &Accounts) -> Freed {
    // A snapshot that only clones of the set stand on goes with them.
    let goes = |name: &str, account: &Account| {
        going.contains(name)
            || (is_internal(name) && account.clones.iter().all(|clone| going.contains(clone)))
    };
    let mut freed = Freed { bytes: Bytes(0), exactness: Exactness::Exact };
    let datasets: BTreeSet<&str> =
        accounts.keys().map(|name| name.split('@').next().unwrap_or(name)).collect();
    for dataset in datasets {
        let of_dataset = |name: &str| name.strip_prefix(dataset).is_some_and(|rest| rest.starts_with('@'));
        let snapshots: Vec<_> =
            accounts.iter().filter(|(name, account)| account.is_snapshot && of_dataset(name)).collect();
        let leaving: Vec<_> = snapshots.iter().filter(|(name, account)| goes(name, account)).collect();
        let own = accounts.get(dataset).filter(|_| going.contains(dataset));
        freed.bytes.0 += own.map_or(0, |account| account.by_dataset);
        match own {
            Some(account) if leaving.len() == snapshots.len() => freed.bytes.0 += account.by_snapshots,
            _ => {
                freed.bytes.0 += leaving.iter().map(|(_, account)| account.used).sum::<u64>();
                if leaving.len() > 1 || (own.is_some() && !leaving.is_empty()) {
                    freed.exactness = Exactness::AtLeast;
                }
            }
        }
        // The origin of a clone may be in a dataset that was not asked about.
        let origin = own.and_then(|account| account.origin.as_deref());
        if origin.is_some_and(|origin| is_internal(origin) && !accounts.contains_key(origin)) {
            freed.exactness = Exactness::AtLeast;
        }
    }
    freed
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: &str = "t/a\ttype\tfilesystem\t-\nt/a\tused\t170\t-\nt/a\tusedbydataset\t100\t-\n\
        t/a\tusedbysnapshots\t70\t-\nt/a\torigin\t-\t-\n\
        t/a@keiki-s\ttype\tsnapshot\t-\nt/a@keiki-s\tused\t20\t-\nt/a@keiki-s\tclones\t\t-\n\
        t/a@keiki-clone-0123456789ab\ttype\tsnapshot\t-\nt/a@keiki-clone-0123456789ab\tused\t30\t-\n\
        t/a@keiki-clone-0123456789ab\tclones\tt/c\t-\n\
        t/c\ttype\tfilesystem\t-\nt/c\tused\t5\t-\nt/c\tusedbydataset\t5\t-\nt/c\tusedbysnapshots\t0\t-\n\
        t/c\torigin\tt/a@keiki-clone-0123456789ab\t-\n";

    fn freed_by(names: &[&str]) -> (u64, Exactness) {
        let mut accounts = Accounts::new();
        read(TOLD, &mut accounts).unwrap();
        let freed = sum(&names.iter().map(|name| (*name).to_owned()).collect(), &accounts);
        (freed.bytes.0, freed.exactness)
    }

    #[test]
    fn what_snapshots_share_counts_when_all_of_them_go() {
        assert_eq!(freed_by(&["t/a", "t/a@keiki-s", "t/c"]), (175, Exactness::Exact));
        assert_eq!(freed_by(&["t/a@keiki-s"]), (20, Exactness::Exact));
        assert_eq!(freed_by(&["t/c"]), (35, Exactness::Exact));
        assert_eq!(freed_by(&["t/c", "t/a@keiki-s"]), (55, Exactness::AtLeast));
        assert_eq!(freed_by(&[]), (0, Exactness::Exact));
    }

    #[test]
    fn garbage_is_an_error() {
        assert!(read("t/a\tused\tmuch\t-", &mut Accounts::new()).is_err());
        assert!(read("t/a\tcolour\tblue\t-", &mut Accounts::new()).is_err());
    }
}
