//! What destroying a whole set would free, by one look at its datasets and their snapshots.
//!
//! zfs accounts data to a dataset that nothing else holds, to a single snapshot, or to all snapshots of a dataset together. What neighbouring
//! snapshots share among them is in none of these numbers. A block lives from one snapshot to a later one without a gap, so a set
//! frees what its unbroken rows free; `zfs destroy -n` tells that of a row.

use std::collections::{BTreeMap, BTreeSet};

use keiki_core::Result;
use keiki_core::context::Context;
use keiki_core::store::{Exactness, Freed};
use keiki_core::units::Bytes;
use keiki_core::volume::Volume;

use crate::dataset::{Place, is_internal};
use crate::parse::{self, Row};
use crate::tool::{self, NAMES_MAX};

/// Rows of snapshots that zfs is asked about, one command each; what further ones share is not counted.
const ROWS_MAX: usize = 16;

/// What zfs accounts to one object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Account {
    is_snapshot: bool,
    created: u64,
    used: u64,
    by_dataset: u64,
    by_snapshots: u64,
    origin: Option<String>,
    clones: BTreeSet<String>,
}

type Accounts = BTreeMap<String, Account>;

/// What is known at once, and the rows of snapshots that zfs is to be asked about, with what each frees at least.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sum {
    bytes: u64,
    rows: Vec<(String, u64)>,
}

/// Returns what destroying all of `volumes` would free; see `Accounting::freed`.
pub(crate) fn freed(context: &Context, volumes: &[Volume]) -> Result<Freed> {
    let places = volumes.iter().map(Place::of).collect::<Result<Vec<_>>>()?;
    let going: BTreeSet<String> = places.iter().map(Place::name).collect();
    let mut accounts = Accounts::new();
    ask(context, places.into_iter().map(|place| place.dataset).collect(), &mut accounts)?;
    // The origin of a clone, which goes with it, may be in a dataset that was not asked about.
    ask(context, datasets_of_origins(&going, &accounts), &mut accounts)?;
    let sum = sum(&going, &accounts);
    let mut freed = Freed { bytes: Bytes(sum.bytes), exactness: Exactness::Exact };
    for (index, (row, at_least)) in sum.rows.iter().enumerate() {
        let told = if index < ROWS_MAX { row_frees(context, row)? } else { None };
        freed.bytes.0 += told.unwrap_or(*at_least);
        if told.is_none() {
            freed.exactness = Exactness::AtLeast;
        }
    }
    Ok(freed)
}

fn datasets_of_origins(going: &BTreeSet<String>, accounts: &Accounts) -> BTreeSet<String> {
    let origins = going.iter().filter_map(|name| accounts.get(name)?.origin.as_deref());
    let unknown = origins.filter(|origin| is_internal(origin) && !accounts.contains_key(*origin));
    unknown.filter_map(|origin| origin.split_once('@')).map(|(dataset, _)| dataset.to_owned()).collect()
}

fn ask(context: &Context, datasets: BTreeSet<String>, accounts: &mut Accounts) -> Result<()> {
    let datasets: Vec<&str> = datasets.iter().map(String::as_str).collect();
    datasets.chunks(NAMES_MAX).try_for_each(|some| ask_some(context, some, accounts))
}

fn ask_some(context: &Context, datasets: &[&str], accounts: &mut Accounts) -> Result<()> {
    let asked = "type,createtxg,used,usedbydataset,usedbysnapshots,origin,clones";
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
            "createtxg" => account.created = number()?,
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

/// Asks zfs what destroying a row of snapshots would free; `None` when it does not say.
fn row_frees(context: &Context, row: &str) -> Result<Option<u64>> {
    let answer = tool::zfs(context, &["destroy", "-n", "-v", "-p", "-d", row])?;
    if answer.code != 0 {
        return Ok(None);
    }
    reclaimed(answer.text()?).map_err(|why| answer.misunderstood(&why))
}

fn reclaimed(text: &str) -> Result<Option<u64>, String> {
    let line = text.lines().find_map(|line| line.strip_prefix("reclaim\t"));
    line.map_or(Ok(None), |number| parse::number(Some(number)))
}

fn sum(going: &BTreeSet<String>, accounts: &Accounts) -> Sum {
    // A snapshot that only clones of the set stand on goes with them.
    let goes = |name: &str, account: &Account| {
        going.contains(name)
            || (is_internal(name) && account.clones.iter().all(|clone| going.contains(clone)))
    };
    let mut sum = Sum::default();
    let datasets: BTreeSet<&str> =
        accounts.keys().map(|name| name.split('@').next().unwrap_or(name)).collect();
    for dataset in datasets {
        let of_dataset = |name: &str| name.strip_prefix(dataset).is_some_and(|rest| rest.starts_with('@'));
        let mut snapshots: Vec<(&str, &Account)> = accounts
            .iter()
            .filter(|(name, account)| account.is_snapshot && of_dataset(name))
            .map(|(name, account)| (name.as_str(), account))
            .collect();
        snapshots.sort_by_key(|(_, account)| account.created);
        let own = accounts.get(dataset).filter(|_| going.contains(dataset));
        sum.bytes += own.map_or(0, |account| account.by_dataset);
        match own {
            Some(account) if snapshots.iter().all(|(name, account)| goes(name, account)) => {
                sum.bytes += account.by_snapshots;
            }
            _ => {
                for row in snapshots.split(|(name, account)| !goes(name, account)) {
                    sum.add(row);
                }
            }
        }
    }
    sum
}

impl Sum {
    /// Adds an unbroken row of snapshots that go.
    fn add(&mut self, row: &[(&str, &Account)]) {
        let each = row.iter().map(|(_, account)| account.used).sum();
        match row {
            [(first, _), .., (last, _)] => {
                let last = last.split_once('@').map_or(*last, |(_, snapshot)| snapshot);
                self.rows.push((format!("{first}%{last}"), each));
            }
            _ => self.bytes += each,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: &str = "t/a\ttype\tfilesystem\t-\nt/a\tused\t170\t-\nt/a\tusedbydataset\t100\t-\n\
        t/a\tusedbysnapshots\t70\t-\nt/a\torigin\t-\t-\n\
        t/a@keiki-s\ttype\tsnapshot\t-\nt/a@keiki-s\tcreatetxg\t7\t-\nt/a@keiki-s\tused\t20\t-\nt/a@keiki-s\tclones\t\t-\n\
        t/a@keiki-clone-0123456789ab\ttype\tsnapshot\t-\nt/a@keiki-clone-0123456789ab\tcreatetxg\t9\t-\n\
        t/a@keiki-clone-0123456789ab\tused\t30\t-\nt/a@keiki-clone-0123456789ab\tclones\tt/c\t-\n\
        t/a@keiki-b\ttype\tsnapshot\t-\nt/a@keiki-b\tcreatetxg\t12\t-\nt/a@keiki-b\tused\t1\t-\n\
        t/c\ttype\tfilesystem\t-\nt/c\tused\t5\t-\nt/c\tusedbydataset\t5\t-\nt/c\tusedbysnapshots\t0\t-\n\
        t/c\torigin\tt/a@keiki-clone-0123456789ab\t-\n";

    fn told() -> Accounts {
        let mut accounts = Accounts::new();
        read(TOLD, &mut accounts).unwrap();
        accounts
    }

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn what_snapshots_share_counts_when_their_row_goes() {
        let freed_by = |names: &[&str]| {
            let sum = sum(&set(names), &told());
            (sum.bytes, sum.rows)
        };
        let row = |text: &str, at_least| vec![(text.to_owned(), at_least)];
        assert_eq!(freed_by(&["t/a", "t/a@keiki-s", "t/a@keiki-b", "t/c"]), (175, vec![]));
        assert_eq!(freed_by(&["t/a@keiki-s"]), (20, vec![]));
        assert_eq!(freed_by(&["t/c"]), (35, vec![]));
        assert_eq!(freed_by(&["t/c", "t/a@keiki-s"]), (5, row("t/a@keiki-s%keiki-clone-0123456789ab", 50)));
        // What lies between two of them holds what they share.
        assert_eq!(freed_by(&["t/a@keiki-s", "t/a@keiki-b"]), (21, vec![]));
        assert_eq!(freed_by(&[]), (0, vec![]));
    }

    #[test]
    fn origins_in_datasets_that_were_not_asked_about_are_found() {
        let mut accounts = told();
        accounts.retain(|name, _| name == "t/c");
        assert_eq!(datasets_of_origins(&set(&["t/c"]), &accounts), set(&["t/a"]));
        assert_eq!(datasets_of_origins(&set(&["t/c"]), &told()), set(&[]));
        assert_eq!(datasets_of_origins(&set(&[]), &accounts), set(&[]));
    }

    #[test]
    fn what_a_row_frees_is_told_or_not() {
        assert_eq!(reclaimed("destroy\tt/a@x\ndestroy\tt/a@y\nreclaim\t4096\n"), Ok(Some(4096)));
        assert_eq!(reclaimed("destroy\tt/a@x\n"), Ok(None));
        assert!(reclaimed("reclaim\tmuch\n").is_err());
    }

    #[test]
    fn garbage_is_an_error() {
        assert!(read("t/a\tused\tmuch\t-", &mut Accounts::new()).is_err());
        assert!(read("t/a\tcolour\tblue\t-", &mut Accounts::new()).is_err());
    }
}
