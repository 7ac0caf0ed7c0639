//! What LVM reports about logical volumes: one `lvs` answers for as many as are asked.
//!
//! A name that is not in the answer is absent; that LVM could not answer is an error, and so is an answer that is not understood.

use std::collections::BTreeMap;

use keiki_core::context::Context;
use keiki_core::units::Bytes;
use keiki_core::volume::Volume;
use keiki_core::{Error, ErrorKind, Result};
use serde::Deserialize;

use crate::explain;
use crate::mark::Mark;
use crate::place::Place;
use crate::tool::lvm;

const FIELDS: &str = "vg_name,lv_name,lv_tags,lv_size,origin,pool_lv,lv_layout,lv_active,lv_device_open,\
     lv_snapshot_invalid,lv_suspended,lv_check_needed,lv_health_status,data_percent,metadata_percent,snap_percent,\
     vg_extent_size";

/// Beyond this many names the whole group is reported: a command line has an end.
const NAMES_MAX: usize = 200;

/// A logical volume.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Lv {
    pub(crate) place: Place,
    pub(crate) mark: Mark,
    pub(crate) size: Bytes,
    pub(crate) sort: Sort,
    pub(crate) is_active: bool,
    pub(crate) is_open: bool,
    pub(crate) is_suspended: bool,
    /// Whether a plain snapshot was invalidated.
    pub(crate) is_invalid: bool,
    /// A pool's metadata must be checked before it can be used.
    pub(crate) needs_check: bool,
    /// In LVM's words; empty when all is well.
    pub(crate) health: String,
    /// Per cent of its own space; `None` while it is inactive.
    pub(crate) data: Option<f64>,
    /// Per cent of a pool's metadata.
    pub(crate) metadata: Option<f64>,
    /// Of its group.
    pub(crate) extent: Bytes,
}

/// What a logical volume is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sort {
    /// A plain volume; it may have snapshots.
    Plain,
    /// A plain snapshot of the named volume.
    Snapshot(String),
    /// A thin volume of the named pool.
    Thin(String),
    /// A thin pool.
    ThinPool,
    /// Something else: a cache, a RAID, …
    Other(String),
}

#[derive(Deserialize)]
struct Answer {
    report: Vec<Section>,
    #[serde(default)]
    log: Vec<Entry>,
}

#[derive(Deserialize)]
struct Section {
    lv: Vec<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct Entry {
    log_type: String,
    log_message: String,
}

/// Reports the named volumes of a group, those that exist, or all of them.
///
/// # Errors
/// `Unavailable` when there is no such group.
pub(crate) fn of_group(context: &Context, vg: &str, names: Option<&[&str]>) -> Result<Vec<Lv>> {
    let mut call = lvm("lvs")
        .args(["--reportformat", "json", "--units", "b", "--nosuffix", "--binary", "-o", FIELDS])
        // What went wrong stands in the answer itself, not on standard error.
        .accept(5);
    if let Some(names) = names.filter(|names| names.len() <= NAMES_MAX) {
        let each: Vec<String> = names.iter().map(|name| format!("lv_name=\"{name}\"")).collect();
        call = call.args(["--select", &each.join(" || ")]);
    }
    let answer = call.arg(vg).run(context).map_err(|error| explain::in_group(error, vg))?;
    let read = parse(answer.text()?).map_err(|why| answer.misunderstood(&why))?;
    match read {
        Ok(found) if answer.code == 0 => Ok(found),
        Ok(_) => Err(answer.misunderstood("it failed and does not say why")),
        Err(said) => Err(explain::said(&said, &format!("cannot look into the volume group `{vg}`"), vg)),
    }
}

/// Reports one volume; `None` when it does not exist.
///
/// # Errors
/// As [`of_group`].
pub(crate) fn one(context: &Context, place: &Place) -> Result<Option<Lv>> {
    let found = of_group(context, &place.vg, Some(&[place.lv.as_str()]))?;
    Ok(found.into_iter().find(|lv| lv.place == *place))
}

/// Reports the volumes of a list, a run a group.
///
/// # Errors
/// As [`of_group`].
pub(crate) fn many(context: &Context, volumes: &[Volume]) -> Result<BTreeMap<Place, Lv>> {
    let mut groups: BTreeMap<String, Vec<Place>> = BTreeMap::new();
    for volume in volumes {
        let place = Place::of(volume)?;
        groups.entry(place.vg.clone()).or_default().push(place);
    }
    let mut found = BTreeMap::new();
    for (vg, places) in groups {
        let names: Vec<&str> = places.iter().map(|place| place.lv.as_str()).collect();
        found.extend(of_group(context, &vg, Some(&names))?.into_iter().map(|lv| (lv.place.clone(), lv)));
    }
    Ok(found)
}

/// Reads an answer; the inner error is what LVM said went wrong.
fn parse(text: &str) -> Result<Result<Vec<Lv>, String>, String> {
    let answer: Answer = serde_json::from_str(text).map_err(|e| e.to_string())?;
    let errors: Vec<&str> = answer
        .log
        .iter()
        .filter(|entry| entry.log_type == "error")
        .map(|entry| entry.log_message.as_str())
        .collect();
    if !errors.is_empty() {
        return Ok(Err(errors.join("; ")));
    }
    let rows = answer.report.into_iter().flat_map(|section| section.lv);
    rows.map(|row| volume(&row)).collect::<Result<Vec<_>, _>>().map(Ok)
}

fn volume(row: &BTreeMap<String, String>) -> Result<Lv, String> {
    let text = |field: &str| row.get(field).map(String::as_str).ok_or(format!("it lacks `{field}`"));
    // `-1` stands for what cannot be known, as of a device that is not there.
    let flag = |field: &str| match text(field)? {
        "1" => Ok(true),
        "0" | "-1" | "" => Ok(false),
        other => Err(format!("`{other}` is not a `{field}`")),
    };
    let percent = |field: &str| match text(field)? {
        "" => Ok(None),
        number => number.parse::<f64>().map(Some).map_err(|_| format!("`{number}` is not a `{field}`")),
    };
    let (vg, lv) = (text("vg_name")?, text("lv_name")?);
    let bytes = |field: &str| {
        let number = text(field)?;
        number.parse().map(Bytes).map_err(|_| format!("`{number}` is not a size in bytes"))
    };
    let snapshot = percent("snap_percent")?;
    Ok(Lv {
        place: Place { vg: vg.to_owned(), lv: lv.to_owned() },
        mark: Mark::parse(text("lv_tags")?),
        size: bytes("lv_size")?,
        sort: sort(text("lv_layout")?, text("origin")?, text("pool_lv")?),
        is_active: flag("lv_active")?,
        is_open: flag("lv_device_open")?,
        is_suspended: flag("lv_suspended")?,
        is_invalid: flag("lv_snapshot_invalid")?,
        needs_check: flag("lv_check_needed")?,
        health: text("lv_health_status")?.to_owned(),
        data: percent("data_percent")?.or(snapshot),
        metadata: percent("metadata_percent")?,
        extent: bytes("vg_extent_size")?,
    })
}

fn sort(layout: &str, origin: &str, pool: &str) -> Sort {
    let has = |word: &str| layout.split(',').any(|part| part == word);
    if has("thin") && has("pool") {
        Sort::ThinPool
    } else if has("thin") {
        Sort::Thin(pool.to_owned())
    } else if !origin.is_empty() {
        Sort::Snapshot(origin.to_owned())
    } else if has("linear") || has("striped") {
        Sort::Plain
    } else {
        Sort::Other(layout.to_owned())
    }
}

/// Returns the error for a volume that is not where it should be.
pub(crate) fn missing(place: &Place) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no logical volume `{}`", place.full()))
        .with_hint(format!("`lvs {}` shows those that there are", place.vg))
}

/// Returns the error for a volume that is not ours.
pub(crate) fn foreign(place: &Place, mark: Mark) -> Error {
    let full = place.full();
    match mark.id() {
        None => Error::new(ErrorKind::Foreign, format!("`{full}` exists and was not made by keiki"))
            .with_hint(
                "choose another name (`--lvname`, `--vgname`); keiki does not touch what it did not make",
            ),
        Some(other) => {
            Error::new(ErrorKind::Foreign, format!("`{full}` exists and belongs to another container"))
                .with_context("volume", other.to_string())
                .with_hint("choose another name or volume group: `--lvname`, `--vgname`")
        }
    }
}

#[cfg(test)]
mod tests {
    use keiki_core::volume::VolumeId;

    use super::*;

    /// As LVM 2.03.31 prints it.
    fn answer(rows: &str, log: &str) -> String {
        format!(
            "  {{\n      \"report\": [\n          {{\n              \"lv\": [{rows}]\n          }}\n      ]\n      ,\n      \
             \"log\": [{log}]\n  }}\n"
        )
    }

    fn row(changes: &[(&str, &str)]) -> String {
        let mut fields: BTreeMap<&str, &str> = FIELDS.split(',').map(|field| (field.trim(), "")).collect();
        fields.extend([
            ("vg_name", "vg"),
            ("lv_name", "web1"),
            ("lv_size", "67108864"),
            ("lv_layout", "linear"),
        ]);
        fields.insert("vg_extent_size", "4194304");
        fields.extend([("lv_active", "0"), ("lv_device_open", "-1"), ("lv_snapshot_invalid", "-1")]);
        fields.extend(changes.iter().copied());
        serde_json::to_string(&fields).unwrap()
    }

    fn read(changes: &[(&str, &str)]) -> Lv {
        parse(&answer(&row(changes), "")).unwrap().unwrap().remove(0)
    }

    #[test]
    fn a_volume_is_read_with_its_mark_size_and_sort() {
        let id = VolumeId::generate();
        let thin = read(&[
            ("lv_tags", &format!("a,keiki.id={id}")),
            ("lv_layout", "thin,sparse"),
            ("pool_lv", "pool"),
            ("origin", "web0"),
        ]);
        assert_eq!(thin.mark, Mark::Complete(id));
        assert_eq!(thin.size, Bytes(64 << 20));
        assert_eq!(thin.sort, Sort::Thin("pool".to_owned()));
        assert!(!thin.is_active && !thin.is_open && thin.data.is_none());
        assert_eq!(read(&[("origin", "web0")]).sort, Sort::Snapshot("web0".to_owned()));
        assert_eq!(read(&[]).sort, Sort::Plain);
        assert_eq!(read(&[("lv_layout", "raid,raid1")]).sort, Sort::Other("raid,raid1".to_owned()));
        let pool = read(&[("lv_layout", "thin,pool"), ("data_percent", "99.50"), ("lv_check_needed", "1")]);
        assert_eq!((pool.sort, pool.data, pool.needs_check), (Sort::ThinPool, Some(99.5), true));
        let full = read(&[("origin", "web0"), ("snap_percent", "100.00"), ("lv_snapshot_invalid", "1")]);
        assert!(full.is_invalid && full.data == Some(100.0));
    }

    #[test]
    fn what_lvm_says_went_wrong_is_kept() {
        let log = r#"{"log_seq_num":"1", "log_type":"error", "log_message":"Volume group \"x\" not found"}"#;
        assert_eq!(parse(&answer("", log)).unwrap().unwrap_err(), "Volume group \"x\" not found");
        assert_eq!(parse(&answer("", "")).unwrap().unwrap(), []);
    }

    #[test]
    fn an_answer_that_is_not_understood_is_an_error_and_never_absence() {
        for garbage in
            ["", "{}", "[]", "not json", "  WARNING: x\n{\"report\":[]}", r#"{"report":[{"pv":[]}]}"#]
        {
            assert!(parse(garbage).is_err(), "{garbage}");
        }
        for bad in [("lv_size", "64.00m"), ("lv_active", "active"), ("data_percent", "full")] {
            assert!(parse(&answer(&row(&[bad]), "")).is_err(), "{bad:?}");
        }
        let lacking = row(&[]).replace("lv_tags", "lv_other");
        assert!(parse(&answer(&lacking, "")).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_answer_makes_the_parser_panic(text in ".{0,200}") {
            let _read = parse(&text);
        }
    }
}
