//! Answers about many volumes at once: what is marked in a group, how much it takes, and whether the group can be used.

use keiki_core::capability::Availability;
use keiki_core::context::Context;
use keiki_core::store::{Found, Presence, Usage};
use keiki_core::units::Bytes;
use keiki_core::volume::{Properties, Volume};
use keiki_core::{Error, ErrorKind, Result};

use crate::attach;
use crate::mark::Mark;
use crate::place::Place;
use crate::pool::Health;
use crate::report::{self, Lv, Sort};
use crate::spec::Spec;

/// A plain snapshot that is as full as this, in per cent, is spoken of.
const FILLING: f64 = 80.0;

/// Tells what is at a volume's place; see `BackingStore::probe`.
pub(crate) fn probe(context: &Context, volume: &Volume) -> Result<Presence> {
    let found = report::one(context, &Place::of(volume)?)?;
    Ok(match found.map(|lv| lv.mark) {
        None => Presence::Absent,
        Some(Mark::None) => Presence::Foreign,
        Some(Mark::Partial(_)) => Presence::Partial,
        Some(Mark::Complete(id)) => Presence::Complete(id),
    })
}

/// Finds every finished volume of ours in the group that `options` name.
pub(crate) fn list(context: &Context, options: &Properties) -> Result<Vec<Found>> {
    let spec = Spec::parse(options)?;
    let mut found = Vec::new();
    for lv in report::of_group(context, &spec.vg, None)? {
        if let Mark::Complete(id) = lv.mark {
            found.push(Found { id, source: lv.place.source()? });
        }
    }
    Ok(found)
}

/// Tells the group and pool that a volume is in, and what file system it holds; see `Rename::options_of`.
pub(crate) fn options_of(context: &Context, volume: &Volume) -> Result<Properties> {
    let place = Place::of(volume)?;
    let mut options = Properties::from([("vgname".to_owned(), place.vg.clone())]);
    let Some(found) = report::one(context, &place)? else { return Ok(options) };
    options.insert("fssize".to_owned(), found.size.0.to_string());
    if let Sort::Thin(pool) = &found.sort {
        options.insert("thinpool".to_owned(), pool.clone());
    }
    let held = attach::while_active(context, &found, || keiki_filesystem::probe(&place.device()))?;
    options.extend(held.map(|held| ("fstype".to_owned(), held.fstype.to_string())));
    Ok(options)
}

/// Measures volumes; see `BackingStore::usage`.
pub(crate) fn usage(context: &Context, volumes: &[Volume]) -> Result<Vec<Usage>> {
    let found = report::many(context, volumes)?;
    volumes.iter().map(|volume| Ok(found.get(&Place::of(volume)?).map(measure).unwrap_or_default())).collect()
}

fn measure(lv: &Lv) -> Usage {
    match lv.sort {
        // What it shows is its origin's size; what it keeps apart is its own.
        Sort::Snapshot(_) => Usage { exclusive: Some(lv.size), ..Usage::default() },
        // Only an active one knows how much of it is filled, and none how much it shares.
        Sort::Thin(_) => Usage {
            referenced: lv.data.map(|share| part(lv.size, share)),
            limit: Some(lv.size),
            ..Usage::default()
        },
        // How much of it files take is its file system's secret while nobody has it mounted.
        Sort::Plain | Sort::ThinPool | Sort::Other(_) => {
            Usage { exclusive: Some(lv.size), limit: Some(lv.size), ..Usage::default() }
        }
    }
}

fn part(size: Bytes, percent: f64) -> Bytes {
    // Reports have two digits behind the point; whole hundredths stay exact in integers.
    let hundredths = (0_u32..=10_000).rev().find(|n| f64::from(*n) <= percent * 100.0 + 0.5).unwrap_or(0);
    Bytes(size.0 / 10_000 * u64::from(hundredths))
}

/// Tells whether volumes can be made with `options`; see `BackingStore::availability`.
pub(crate) fn availability(context: &Context, options: &Properties) -> Availability {
    match look(context, options) {
        Ok(None) => Availability::Ready,
        Ok(Some(warning)) => {
            Availability::Degraded { reason: warning.full_message(), remedy: warning.hints().join("; ") }
        }
        Err(error) => Availability::Unavailable {
            reason: error.full_message(),
            remedy: match error.hints() {
                [] => "look at `vgs` and `lvs -a`".to_owned(),
                hints => hints.join("; "),
            },
        },
    }
}

/// Returns what is not as it should be although volumes can be made.
fn look(context: &Context, options: &Properties) -> Result<Option<Error>> {
    let spec = Spec::parse(options)?;
    spec.new_fstype().require_tools()?;
    let all = report::of_group(context, &spec.vg, None)?;
    if let Some(name) = &spec.thinpool {
        let pool = all.iter().find(|lv| lv.place.lv == *name && lv.sort == Sort::ThinPool);
        let pool = pool.ok_or_else(|| no_pool(&spec.vg, name))?;
        if pool.is_suspended {
            return Err(suspended(pool));
        }
        // What is not active yet is looked at when it is used.
        if let Some(Err(error)) = Health::reported(pool).map(|h| h.admit(&spec.vg, name, spec.limits)) {
            return if error.kind() == ErrorKind::NoSpace { Ok(Some(error)) } else { Err(error) };
        }
    }
    Ok(all.iter().find_map(filling))
}

fn no_pool(vg: &str, pool: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("there is no thin pool `{vg}/{pool}`")).with_hint(format!(
        "make it: `lvcreate --type thin-pool -l 90%FREE -n {pool} {vg}`, or give `--thinpool ''` for plain volumes"
    ))
}

fn suspended(pool: &Lv) -> Error {
    let full = pool.place.full();
    Error::new(
        ErrorKind::Unavailable,
        format!("the thin pool `{full}` is suspended: an LVM command was broken off"),
    )
    .with_hint(format!("`lvchange --refresh {full}` resumes it"))
}

/// Speaks of one of our snapshots that fills or has overflown.
fn filling(lv: &Lv) -> Option<Error> {
    let (Sort::Snapshot(origin), Some(_)) = (&lv.sort, lv.mark.id()) else { return None };
    let full = lv.place.full();
    if lv.is_invalid {
        let text = format!("the snapshot `{full}` of `{origin}` has overflown; its content is lost");
        return Some(Error::new(ErrorKind::Corrupt, text).with_hint("destroy it"));
    }
    let share = lv.data.filter(|share| *share >= FILLING)?;
    let text =
        format!("the snapshot `{full}` of `{origin}` is {share:.0} % full, and is lost when it overflows");
    Some(Error::new(ErrorKind::NoSpace, text).with_hint(format!("`lvextend -L +SIZE {full}`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_a_volume_is_counted_in_bytes() {
        assert_eq!(part(Bytes(64 << 20), 0.0), Bytes(0));
        assert_eq!(part(Bytes(10_000_000), 12.34), Bytes(1_234_000));
        assert_eq!(part(Bytes(10_000_000), 100.0), Bytes(10_000_000));
    }

    #[test]
    fn a_snapshot_that_fills_is_spoken_of_with_the_remedy() {
        let lv = Lv {
            place: Place::new("vg", "web1-snap0").unwrap(),
            mark: Mark::Complete(keiki_core::volume::VolumeId::generate()),
            size: Bytes(4 << 20),
            sort: Sort::Snapshot("web1".to_owned()),
            is_active: true,
            is_open: false,
            is_suspended: false,
            is_invalid: false,
            needs_check: false,
            health: String::new(),
            data: Some(79.9),
            metadata: None,
            extent: Bytes(4 << 20),
        };
        assert!(filling(&lv).is_none());
        let warning = filling(&Lv { data: Some(93.0), ..lv.clone() }).unwrap();
        assert!(warning.hints()[0].contains("lvextend -L +SIZE vg/web1-snap0"), "{warning:?}");
        let lost = filling(&Lv { is_invalid: true, ..lv.clone() }).unwrap();
        assert_eq!(lost.kind(), ErrorKind::Corrupt);
        assert!(filling(&Lv { mark: Mark::None, is_invalid: true, ..lv }).is_none());
    }
}
