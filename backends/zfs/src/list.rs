//! Answers about many volumes at once: what is marked, what it takes, whether the pool can be used, when all is durable.

use std::collections::{BTreeSet, HashMap};

use keiki_core::capability::Availability;
use keiki_core::context::Context;
use keiki_core::store::{Found, Usage};
use keiki_core::units::Bytes;
use keiki_core::volume::{StoreKind, Volume, VolumeSource};
use keiki_core::{Error, ErrorKind, Result};

use crate::dataset::{Place, pool_of};
use crate::parse::{self, MARK, Row};
use crate::spec::KIND;
use crate::tool::{self, NAMES_MAX};

/// From here on a pool is slow and about to refuse.
const NEARLY_FULL: u8 = 95;

/// Finds every marked dataset and snapshot right below `root`.
pub(crate) fn list(context: &Context, root: &str) -> Result<Vec<Found>> {
    let arguments = [
        "get",
        "-Hp",
        "-r",
        "-d",
        "2",
        "-t",
        "filesystem,snapshot",
        "-s",
        "local",
        "-o",
        "name,property,value,source",
        MARK,
        root,
    ];
    let answer = tool::require(context, &arguments, "list", root)?;
    let rows = parse::rows(answer.text()?).map_err(|why| answer.misunderstood(&why))?;
    rows.iter().filter_map(|row| found(row, root)).collect()
}

fn found(row: &Row<'_>, root: &str) -> Option<Result<Found>> {
    let id = row.value.filter(|_| row.is_local)?.parse().ok()?;
    let is_below = row.name.strip_prefix(root)?.strip_prefix('/').is_some_and(|rest| !rest.contains('/'));
    is_below.then(|| Ok(Found { id, source: VolumeSource::new(StoreKind::new(KIND), row.name)? }))
}

/// Measures volumes; see `BackingStore::usage`.
///
/// What destroying a dataset would free is what it holds itself; snapshots of it are volumes of their own.
pub(crate) fn usage(context: &Context, volumes: &[Volume]) -> Result<Vec<Usage>> {
    let names = volumes.iter().map(|volume| Ok(Place::of(volume)?.name())).collect::<Result<Vec<_>>>()?;
    let mut known = HashMap::new();
    for names in names.chunks(NAMES_MAX) {
        measure(context, names, &mut known)?;
    }
    Ok(names.iter().map(|name| known.get(name).copied().unwrap_or_default()).collect())
}

fn measure(context: &Context, names: &[String], known: &mut HashMap<String, Usage>) -> Result<()> {
    let Some(first) = names.first() else { return Ok(()) };
    let front =
        ["get", "-Hp", "-o", "name,property,value,source", "type,referenced,used,usedbydataset,refquota"];
    let arguments: Vec<&str> = front.into_iter().chain(names.iter().map(String::as_str)).collect();
    let answer = tool::zfs(context, &arguments)?;
    if answer.code != 0 && parse::absent(&String::from_utf8_lossy(&answer.stderr)).is_none() {
        return Err(tool::complaint(&answer, "measure", first));
    }
    let understood = parse::rows(answer.text()?).and_then(|rows| {
        rows.iter().try_for_each(|row| {
            let usage = known.entry(row.name.to_owned()).or_default();
            match row.property {
                "referenced" => usage.referenced = parse::number(row.value)?.map(Bytes),
                // A snapshot has no such property: what it alone holds is what it uses.
                "usedbydataset" => usage.exclusive = parse::number(row.value)?.map(Bytes).or(usage.exclusive),
                "used" => usage.exclusive = usage.exclusive.or(parse::number(row.value)?.map(Bytes)),
                "refquota" => usage.limit = parse::number(row.value)?.filter(|limit| *limit > 0).map(Bytes),
                _ => {}
            }
            Ok(())
        })
    });
    understood.map_err(|why: String| answer.misunderstood(&why))
}

/// Writes out what the pools of the volumes hold back, once a pool.
pub(crate) fn sync(context: &Context, volumes: &[Volume]) -> Result<()> {
    let pools: BTreeSet<&str> = volumes.iter().map(|volume| pool_of(volume.source.location())).collect();
    let Some(first) = pools.first().copied() else { return Ok(()) };
    let arguments: Vec<&str> = ["sync"].into_iter().chain(pools).collect();
    let answer = tool::zpool(context, &arguments)?;
    if answer.code == 0 { Ok(()) } else { Err(tool::complaint(&answer, "write out the pool", first)) }
}

/// Tells whether volumes can be made below `root`.
pub(crate) fn availability(context: &Context, root: &str) -> Availability {
    match usable(context, root) {
        Ok(None) => Availability::Ready,
        Ok(Some((reason, remedy))) => Availability::Degraded { reason, remedy },
        Err(error) => Availability::Unavailable {
            reason: error.full_message(),
            remedy: error
                .hints()
                .first()
                .cloned()
                .unwrap_or_else(|| format!("look at `zpool status {}`", pool_of(root))),
        },
    }
}

/// Returns what is not as it should be, with the remedy.
fn usable(context: &Context, root: &str) -> Result<Option<(String, String)>> {
    let pool = pool_of(root);
    let answer = tool::zpool(context, &["list", "-Hp", "-o", "name,health,readonly,capacity", pool])?;
    if answer.code != 0 {
        return Err(tool::complaint(&answer, "use the pool", pool));
    }
    let state = parse::pool(answer.text()?, pool).map_err(|why| answer.misunderstood(&why))?;
    if state.is_read_only {
        return Err(Error::new(ErrorKind::ReadOnly, format!("the pool `{pool}` is imported read-only"))
            .with_hint(format!("`zpool export {pool}`, then `zpool import {pool}`")));
    }
    if matches!(state.health.as_str(), "SUSPENDED" | "FAULTED" | "UNAVAIL") {
        return Err(Error::new(ErrorKind::Unavailable, format!("the pool `{pool}` is {}", state.health))
            .with_hint(format!("bring its disks back, then `zpool clear {pool}`")));
    }
    if tool::look(context, &[root])?.get(root).is_none() {
        return Err(Error::new(ErrorKind::Unavailable, format!("there is no dataset `{root}`"))
            .with_hint(format!("make it: `zfs create -p -o canmount=noauto -o mountpoint=legacy {root}`")));
    }
    if state.health != "ONLINE" {
        let reason = format!("the pool `{pool}` is {}", state.health);
        return Ok(Some((reason, format!("look at `zpool status {pool}`"))));
    }
    Ok((state.full >= NEARLY_FULL).then(|| {
        let reason = format!("the pool `{pool}` is full to {} %", state.full);
        (reason, "free some space, or add a disk: `zpool add`".to_owned())
    }))
}
