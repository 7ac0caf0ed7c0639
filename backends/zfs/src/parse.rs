//! What `zfs` and `zpool` print with `-Hp`, parsed; pure. What is not understood is an error, never "absent".

use keiki_core::store::Presence;
use keiki_core::volume::VolumeId;

use crate::dataset::{Place, is_internal};

/// The property that carries the ownership mark.
pub(crate) const MARK: &str = "keiki:id";

/// The property of a snapshot that clones stand on: the identities of the clones that it was made for.
pub(crate) const CLONES: &str = "keiki:clone";

/// What is asked about every object; the order does not matter.
pub(crate) const ASKED: &str = "type,keiki:id,keiki:clone,origin,clones,receive_resume_token";

/// How many fields `-o name,property,value,source` has.
const FIELDS: usize = 4;

/// What kind of thing an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Filesystem,
    Snapshot,
    /// A volume or a bookmark: nothing that we make.
    Other,
}

/// The ownership mark as it stands on an object itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    None,
    Of(VolumeId),
    /// The property is set, to something that is no identity.
    Unreadable,
}

/// What zfs says about one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Object {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) mark: Mark,
    /// The clones that an internal snapshot was made for.
    pub(crate) made_for: Vec<VolumeId>,
    /// The snapshot that a clone stands on.
    pub(crate) origin: Option<String>,
    /// The datasets that stand on a snapshot.
    pub(crate) clones: Vec<String>,
    /// Where a receive that was cut off can go on.
    pub(crate) resume: Option<String>,
}

/// One line of `zfs get -Hp -o name,property,value,source`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row<'a> {
    pub(crate) name: &'a str,
    pub(crate) property: &'a str,
    /// `None` where zfs prints `-`: the property means nothing for this object.
    pub(crate) value: Option<&'a str>,
    /// Whether it is set on the object itself and not inherited.
    pub(crate) is_local: bool,
}

/// Why an answer was not understood.
type Misunderstood = String;

/// Reads the lines of `zfs get`.
pub(crate) fn rows(text: &str) -> Result<Vec<Row<'_>>, Misunderstood> {
    text.lines().map(row).collect()
}

fn row(line: &str) -> Result<Row<'_>, Misunderstood> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [name, property, value, source] = fields[..] else {
        return Err(format!(
            "a line has {} fields and not {FIELDS}: `{}`",
            fields.len(),
            line.escape_default()
        ));
    };
    if name.is_empty() || property.is_empty() {
        return Err(format!("a line names nothing: `{}`", line.escape_default()));
    }
    Ok(Row { name, property, value: (value != "-").then_some(value), is_local: source == "local" })
}

/// Reads the answer about [`ASKED`] for any number of objects.
pub(crate) fn objects(text: &str) -> Result<Vec<Object>, Misunderstood> {
    let mut found: Vec<Object> = Vec::new();
    let mut typed = Vec::new();
    for row in rows(text)? {
        if found.last().is_none_or(|object| object.name != row.name) {
            found.push(Object::called(row.name));
            typed.push(false);
        }
        let (Some(object), Some(typed)) = (found.last_mut(), typed.last_mut()) else { continue };
        *typed |= row.property == "type";
        object.learn(&row)?;
    }
    match found.iter().zip(typed).find(|(_, typed)| !typed) {
        None => Ok(found),
        Some((object, _)) => Err(format!("`{}` has no type", object.name)),
    }
}

impl Object {
    fn called(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind: Kind::Other,
            mark: Mark::None,
            made_for: Vec::new(),
            origin: None,
            clones: Vec::new(),
            resume: None,
        }
    }

    fn learn(&mut self, row: &Row<'_>) -> Result<(), Misunderstood> {
        let Some(value) = row.value else { return Ok(()) };
        match row.property {
            "type" => self.kind = kind(value)?,
            MARK if row.is_local => self.mark = value.parse().map_or(Mark::Unreadable, Mark::Of),
            // Who may have written what is no list of ours made no clone for us.
            CLONES if row.is_local => {
                self.made_for = value.split(',').filter_map(|id| id.parse().ok()).collect();
            }
            "origin" => self.origin = Some(value.to_owned()),
            "clones" => {
                self.clones = value.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
            }
            "receive_resume_token" => self.resume = Some(value.to_owned()),
            MARK | CLONES => {}
            other => return Err(format!("a property `{other}` that was not asked for")),
        }
        Ok(())
    }

    /// Tells what the object is to the volume `id` that should be there; `origin` is the snapshot that it stands on, if that
    /// was looked at.
    pub(crate) fn presence(&self, place: &Place, id: VolumeId, origin: Option<&Self>) -> Presence {
        let wanted = if place.snapshot.is_some() { Kind::Snapshot } else { Kind::Filesystem };
        match self.mark {
            Mark::Of(found) if self.kind == wanted => Presence::Complete(found),
            // Power that goes between a clone and its mark leaves a name of ours, or a clone of what we made for it.
            Mark::None if self.kind == wanted && self.is_begun(place, id, origin) => Presence::Partial,
            Mark::Of(_) | Mark::None | Mark::Unreadable => Presence::Foreign,
        }
    }

    fn is_begun(&self, place: &Place, id: VolumeId, origin: Option<&Self>) -> bool {
        let stands_on_ours =
            origin.is_some_and(|origin| is_internal(&origin.name) && origin.made_for.contains(&id));
        place.is_named_for(id) || stands_on_ours
    }
}

fn kind(word: &str) -> Result<Kind, Misunderstood> {
    match word {
        "filesystem" => Ok(Kind::Filesystem),
        "snapshot" => Ok(Kind::Snapshot),
        "volume" | "bookmark" => Ok(Kind::Other),
        _ => Err(format!("`{}` is no type of a dataset", word.escape_default())),
    }
}

/// What `zpool list -Hp -o name,health,readonly,capacity` says about one pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PoolState {
    pub(crate) health: String,
    pub(crate) is_read_only: bool,
    /// In percent.
    pub(crate) full: u8,
}

/// Reads the line of one pool.
pub(crate) fn pool(text: &str, name: &str) -> Result<PoolState, Misunderstood> {
    let mut lines = text.lines();
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return Err(format!("it has not one line about `{name}`"));
    };
    let fields: Vec<&str> = line.split('\t').collect();
    let [found, health, read_only, full] = fields[..] else {
        return Err(format!("the line of a pool has {} fields: `{}`", fields.len(), line.escape_default()));
    };
    if found != name {
        return Err(format!("it is about `{}`, not `{name}`", found.escape_default()));
    }
    let is_read_only = match read_only {
        "on" => true,
        "off" => false,
        other => return Err(format!("`{}` is neither on nor off", other.escape_default())),
    };
    let number = full.trim_end_matches('%').parse();
    let full = number.map_err(|_| format!("`{}` is no percentage", full.escape_default()))?;
    Ok(PoolState { health: health.to_owned(), is_read_only, full })
}

/// Reads a number that zfs prints with `-p`; `None` where it does not know one.
pub(crate) fn number(value: Option<&str>) -> Result<Option<u64>, Misunderstood> {
    match value {
        None | Some("none") => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| format!("`{}` is no number", text.escape_default())),
    }
}

/// Returns the names that a tool said do not exist; `None` when it complained of anything else.
pub(crate) fn absent(stderr: &str) -> Option<Vec<&str>> {
    let lines = stderr.lines().filter(|line| !line.trim().is_empty());
    lines.map(|line| line.strip_prefix("cannot open '")?.strip_suffix("': dataset does not exist")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// From zfs 2.3.9, shortened.
    const SAMPLE: &str = "rig/r/a\ttype\tfilesystem\t-\n\
        rig/r/a\tkeiki:id\t0190a1b2c3d47e5f8a9b0c1d2e3f4a5b\tlocal\n\
        rig/r/a\torigin\t-\t-\n\
        rig/r/a\tclones\t-\t-\n\
        rig/r/a@keiki-clone-0c1d2e3f4a5b\ttype\tsnapshot\t-\n\
        rig/r/a@keiki-clone-0c1d2e3f4a5b\tkeiki:id\t0190a1b2c3d47e5f8a9b0c1d2e3f4a5b\tinherited from rig/r/a\n\
        rig/r/a@keiki-clone-0c1d2e3f4a5b\tkeiki:clone\t0190a1b2c3d47e5f8a9b0c1d2e3f4a5c\tlocal\n\
        rig/r/a@keiki-clone-0c1d2e3f4a5b\tclones\trig/r/c1,rig/r/c2\t-\n";

    fn id(text: &str) -> VolumeId {
        text.parse().unwrap()
    }

    #[test]
    fn an_inherited_mark_marks_nothing() {
        let found = objects(SAMPLE).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].mark, Mark::Of(id("0190a1b2c3d47e5f8a9b0c1d2e3f4a5b")));
        assert_eq!(found[1].mark, Mark::None);
        assert_eq!(found[1].made_for, [id("0190a1b2c3d47e5f8a9b0c1d2e3f4a5c")]);
        assert_eq!(found[1].clones, ["rig/r/c1", "rig/r/c2"]);
    }

    #[test]
    fn what_is_at_a_place_is_told_by_mark_name_and_origin() {
        let found = objects(SAMPLE).unwrap();
        let (marked, internal) = (&found[0], &found[1]);
        let (of, clone) = (id("0190a1b2c3d47e5f8a9b0c1d2e3f4a5b"), id("0190a1b2c3d47e5f8a9b0c1d2e3f4a5c"));
        let at = |name: &str| Place::parse(name).unwrap();
        assert_eq!(marked.presence(&at("rig/r/a"), clone, None), Presence::Complete(of));
        let bare = Object { mark: Mark::None, ..marked.clone() };
        assert_eq!(bare.presence(&at("rig/r/a"), of, None), Presence::Foreign);
        assert_eq!(bare.presence(&at("rig/r/a"), clone, Some(internal)), Presence::Partial);
        assert_eq!(bare.presence(&at("rig/r/a"), of, Some(internal)), Presence::Foreign);
        assert_eq!(
            bare.presence(&at(&format!("rig/keiki-ghost-{}", of.short())), of, None),
            Presence::Partial
        );
        let odd = Object { mark: Mark::Unreadable, ..marked.clone() };
        assert_eq!(odd.presence(&at("rig/r/a"), of, None), Presence::Foreign);
        let volume = Object { kind: Kind::Other, ..marked.clone() };
        assert_eq!(volume.presence(&at("rig/r/a"), of, None), Presence::Foreign);
    }

    #[test]
    fn garbage_is_an_error() {
        for bad in [
            "Segmentation fault",
            "rig/a\ttype\tfilesystem",
            "rig/a\ttype\tcupboard\t-",
            "rig/a\tcolour\tblue\tlocal",
            "rig/a\tkeiki:id\tx\tlocal",
            "\ttype\tfilesystem\t-",
            "rig/a\ttype\tfilesystem\t-\textra",
        ] {
            assert!(objects(bad).is_err(), "{bad}");
        }
        assert_eq!(objects("").unwrap(), []);
    }

    #[test]
    fn pools_are_read_by_their_own_line() {
        let state = pool("rig\tONLINE\toff\t97\n", "rig").unwrap();
        assert_eq!(state, PoolState { health: "ONLINE".to_owned(), is_read_only: false, full: 97 });
        assert!(pool("rig\tONLINE\ton\t0%\n", "rig").unwrap().is_read_only);
        for bad in [
            "",
            "rig\tONLINE\toff",
            "tank\tONLINE\toff\t0\n",
            "rig\tONLINE\tmaybe\t0\n",
            "rig\tONLINE\toff\tx\n",
            "a\nb\n",
        ] {
            assert!(pool(bad, "rig").is_err(), "{bad}");
        }
    }

    #[test]
    fn only_the_one_complaint_means_absent() {
        let told =
            "cannot open 'rig/r/nope': dataset does not exist\ncannot open 'rig': dataset does not exist\n";
        assert_eq!(absent(told), Some(vec!["rig/r/nope", "rig"]));
        assert_eq!(absent(""), Some(vec![]));
        for other in
            ["cannot open 'rig': pool I/O is currently suspended", "The ZFS modules are not loaded.", "x"]
        {
            assert_eq!(absent(other), None, "{other}");
        }
    }

    #[test]
    fn numbers_are_numbers_or_nothing() {
        assert_eq!(number(Some("4096")).unwrap(), Some(4096));
        assert_eq!(number(Some("none")).unwrap(), None);
        assert_eq!(number(None).unwrap(), None);
        assert!(number(Some("4K")).is_err());
    }

    proptest! {
        #[test]
        fn no_answer_breaks_the_parsers(text in "\\PC*(\n\\PC*\t\\PC*\t\\PC*\t\\PC*)*") {
            drop(objects(&text));
            drop(pool(&text, "rig"));
            drop(absent(&text));
        }
    }
}
