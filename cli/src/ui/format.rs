//! One description of a row, every form of output.
//!
//! A [`Record`] names its fields once; tables, JSON, YAML and CSV are all made from those, so that a field has the same
//! name and the same place everywhere. Names of fields are an interface: they are added, never changed.

use std::fmt::Write as _;

use clap::ValueEnum;
use keiki_core::units::Bytes;
use keiki_core::{Error, ErrorKind, Result};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use super::color::Palette;
use super::table::{self, Alignment};
use super::time::rfc3339;

/// How data is written: columns for people, one JSON or YAML document, or CSV with a header line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    // No doc comments: clap would turn them into half a page of help a verb.
    #[default]
    Table,
    Json,
    Yaml,
    Csv,
}

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Cell {
    /// Not known, or there is none.
    Absent,
    /// Words.
    Text(String),
    /// A number.
    Number(u64),
    /// A size: a number of bytes for machines.
    Size(Bytes),
    /// A moment in seconds since 1970.
    Time(u64),
    /// Yes or no.
    Flag(bool),
    /// Several words.
    List(Vec<String>),
    /// Something with an inner form of its own; machines get it whole, people get its second half.
    Nested(serde_json::Value, String),
}

impl Cell {
    /// Returns text, or `Absent` for `None`.
    pub(crate) fn text(value: Option<impl ToString>) -> Self {
        value.map_or(Self::Absent, |value| Self::Text(value.to_string()))
    }

    /// Returns a number, or `Absent` for `None`.
    pub(crate) fn number(value: Option<impl Into<u64>>) -> Self {
        value.map_or(Self::Absent, |value| Self::Number(value.into()))
    }

    /// Returns a moment, or `Absent` for `None`.
    pub(crate) fn time(value: Option<u64>) -> Self {
        value.map_or(Self::Absent, Self::Time)
    }

    /// Returns a size, or `Absent` for `None`.
    pub(crate) fn size(value: Option<Bytes>) -> Self {
        value.map_or(Self::Absent, Self::Size)
    }

    /// Returns the value for a person; control characters are escaped, so that no name can drive the terminal.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Absent => "-".to_owned(),
            Self::Text(text) | Self::Nested(_, text) => printable(text),
            Self::Number(number) => number.to_string(),
            Self::Size(size) => size.to_string(),
            Self::Time(seconds) => rfc3339(*seconds),
            Self::Flag(flag) => if *flag { "yes" } else { "no" }.to_owned(),
            Self::List(words) if words.is_empty() => "-".to_owned(),
            Self::List(words) => printable(&words.join(", ")),
        }
    }

    /// Returns the value for a cell of a table: long lists end in a count.
    fn abridged(&self) -> String {
        const SHOWN: usize = 3;
        match self {
            Self::List(words) if words.len() > SHOWN + 1 => {
                format!("{} +{}", printable(&words[..SHOWN].join(", ")), words.len() - SHOWN)
            }
            _ => self.shown().replace('\n', "\\n"),
        }
    }

    fn plain(&self) -> String {
        match self {
            Self::Absent => String::new(),
            Self::Text(text) => text.clone(),
            Self::Size(size) => size.0.to_string(),
            Self::Flag(flag) => flag.to_string(),
            Self::List(words) => words.join(","),
            Self::Nested(value, _) => value.to_string(),
            Self::Number(_) | Self::Time(_) => self.shown(),
        }
    }

    fn alignment(&self) -> Alignment {
        match self {
            Self::Number(_) | Self::Size(_) => Alignment::Right,
            _ => Alignment::Left,
        }
    }
}

impl Serialize for Cell {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Self::Absent => serializer.serialize_none(),
            Self::Text(text) => serializer.serialize_str(text),
            Self::Number(number) => serializer.serialize_u64(*number),
            Self::Size(size) => serializer.serialize_u64(size.0),
            Self::Time(seconds) => serializer.serialize_str(&rfc3339(*seconds)),
            Self::Flag(flag) => serializer.serialize_bool(*flag),
            Self::List(words) => words.serialize(serializer),
            Self::Nested(value, _) => value.serialize(serializer),
        }
    }
}

/// Something that is printed in rows.
pub(crate) trait Record {
    /// Every field, in order.
    const FIELDS: &'static [&'static str];
    /// The fields that a table shows unless the user names others.
    const TABLE: &'static [&'static str];

    /// Returns the value of one of [`Self::FIELDS`].
    fn cell(&self, field: &str) -> Cell;
}

/// Returns the known fields that a user asked for, or `default`.
///
/// # Errors
/// `InvalidArgument` naming the fields that there are.
pub(crate) fn columns<R: Record>(
    wanted: &[String],
    default: &'static [&'static str],
) -> Result<Vec<&'static str>> {
    if wanted.is_empty() {
        return Ok(default.to_vec());
    }
    let find = |name: &String| {
        R::FIELDS.iter().find(|field| *field == name).copied().ok_or_else(|| {
            Error::new(ErrorKind::InvalidArgument, format!("there is no field `{name}`"))
                .with_hint(format!("fields: {}", R::FIELDS.join(", ")))
        })
    };
    wanted.iter().map(find).collect()
}

/// Returns many records in `format`, with the columns that the user named, if any.
///
/// # Errors
/// `InvalidArgument` for a field that does not exist.
pub(crate) fn many<R: Record>(
    records: &[R],
    format: Format,
    wanted: &[String],
    palette: Palette,
) -> Result<String> {
    let default = if format == Format::Table { R::TABLE } else { R::FIELDS };
    let fields = columns::<R>(wanted, default)?;
    match format {
        Format::Table => Ok(as_table(records, &fields, palette)),
        Format::Csv => Ok(as_csv(records, &fields)),
        Format::Json => as_json(&Rows { records, fields: &fields }),
        Format::Yaml => as_yaml(&Rows { records, fields: &fields }),
    }
}

/// Returns one record in `format`; as a table it is one field a line.
///
/// # Errors
/// When a value cannot be written in that form.
pub(crate) fn one<R: Record>(record: &R, format: Format, palette: Palette) -> Result<String> {
    match format {
        Format::Table => Ok(as_lines(record, palette)),
        Format::Csv => Ok(as_csv(std::slice::from_ref(record), R::FIELDS)),
        Format::Json => as_json(&Row { record, fields: R::FIELDS }),
        Format::Yaml => as_yaml(&Row { record, fields: R::FIELDS }),
    }
}

struct Row<'a, R> {
    record: &'a R,
    fields: &'a [&'static str],
}

impl<R: Record> Serialize for Row<'_, R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.fields.len()))?;
        for field in self.fields {
            map.serialize_entry(field, &self.record.cell(field))?;
        }
        map.end()
    }
}

struct Rows<'a, R> {
    records: &'a [R],
    fields: &'a [&'static str],
}

impl<R: Record> Serialize for Rows<'_, R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.records.len()))?;
        for record in self.records {
            list.serialize_element(&Row { record, fields: self.fields })?;
        }
        list.end()
    }
}

fn as_table<R: Record>(records: &[R], fields: &[&'static str], palette: Palette) -> String {
    let rows = records
        .iter()
        .map(|record| {
            fields
                .iter()
                .map(|field| {
                    let cell = record.cell(field);
                    (cell.abridged(), cell.alignment())
                })
                .collect()
        })
        .collect::<Vec<Vec<_>>>();
    table::render(fields, &rows, palette)
}

fn as_lines<R: Record>(record: &R, palette: Palette) -> String {
    use super::color::Style;
    let width = R::TABLE.iter().map(|field| field.len()).max().unwrap_or(0) + 1;
    let mut text = String::new();
    for field in R::TABLE {
        let label = format!("{:width$}", format!("{field}:"));
        let value = record.cell(field).shown().replace('\n', &format!("\n{:1$}", "", width + 1));
        let _ = writeln!(text, "{} {value}", palette.paint(Style::Header, &label));
    }
    text
}

fn as_csv<R: Record>(records: &[R], fields: &[&'static str]) -> String {
    let mut text = fields.join(",");
    text.push('\n');
    for record in records {
        for (index, field) in fields.iter().enumerate() {
            if index > 0 {
                text.push(',');
            }
            push_quoted(&mut text, &record.cell(field).plain());
        }
        text.push('\n');
    }
    text
}

/// Appends a value as RFC 4180 wants it.
fn push_quoted(text: &mut String, value: &str) {
    if value.contains(['"', ',', '\n', '\r']) {
        let _ = write!(text, "\"{}\"", value.replace('"', "\"\""));
    } else {
        text.push_str(value);
    }
}

fn as_json(value: &impl Serialize) -> Result<String> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|e| Error::new(ErrorKind::Internal, "cannot write JSON").with_source(e))?;
    text.push('\n');
    Ok(text)
}

fn as_yaml(value: &impl Serialize) -> Result<String> {
    serde_yaml_ng::to_string(value)
        .map_err(|e| Error::new(ErrorKind::Internal, "cannot write YAML").with_source(e))
}

/// Escapes control characters except line breaks, which only values of several lines hold.
fn printable(text: &str) -> String {
    if !text.chars().any(|c| c.is_control() && c != '\n') {
        return text.to_owned();
    }
    text.chars()
        .flat_map(|c| {
            let is_plain = !c.is_control() || c == '\n';
            is_plain
                .then_some(c)
                .into_iter()
                .chain((!is_plain).then(|| c.escape_default()).into_iter().flatten())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::color::ColorChoice;
    use super::*;

    struct Pet(&'static str, Vec<String>);

    impl Record for Pet {
        const FIELDS: &'static [&'static str] = &["name", "friends", "weight"];
        const TABLE: &'static [&'static str] = &["name", "weight"];

        fn cell(&self, field: &str) -> Cell {
            match field {
                "name" => Cell::Text(self.0.to_owned()),
                "friends" => Cell::List(self.1.clone()),
                _ => Cell::Size(Bytes(2048)),
            }
        }
    }

    fn plain() -> Palette {
        Palette::new(ColorChoice::Never, false)
    }

    fn pets() -> [Pet; 2] {
        [Pet("cat", vec!["a".into(), "b".into()]), Pet("d\"og", vec![])]
    }

    #[test]
    fn every_format_has_the_same_fields_in_the_same_order() {
        let csv = many(&pets(), Format::Csv, &[], plain()).unwrap();
        assert_eq!(csv, "name,friends,weight\ncat,\"a,b\",2048\n\"d\"\"og\",,2048\n");
        let yaml = many(&pets()[..1], Format::Yaml, &[], plain()).unwrap();
        assert_eq!(yaml, "- name: cat\n  friends:\n  - a\n  - b\n  weight: 2048\n");
        let json = many(&pets()[..1], Format::Json, &[], plain()).unwrap();
        let squeezed: String = json.split_whitespace().collect();
        assert_eq!(squeezed, r#"[{"name":"cat","friends":["a","b"],"weight":2048}]"#);
    }

    #[test]
    fn columns_are_honoured_in_every_format_and_unknown_ones_are_named() {
        let wanted = ["weight".to_owned()];
        assert_eq!(many(&pets()[..1], Format::Csv, &wanted, plain()).unwrap(), "weight\n2048\n");
        assert_eq!(many(&pets()[..1], Format::Table, &wanted, plain()).unwrap(), " WEIGHT\n2.0 KiB\n");
        let error = many(&pets(), Format::Json, &["age".to_owned()], plain()).unwrap_err();
        assert_eq!(error.hints(), ["fields: name, friends, weight"]);
    }

    #[test]
    fn control_characters_never_reach_a_terminal() {
        assert_eq!(Cell::Text("a\x1b[31mb".into()).shown(), "a\\u{1b}[31mb");
        assert_eq!(Cell::Text("a\rb".into()).shown(), "a\\rb");
    }

    #[test]
    fn long_lists_end_in_a_count() {
        let words = |n: u32| Cell::List((0..n).map(|i| i.to_string()).collect());
        assert_eq!(words(4).abridged(), "0, 1, 2, 3");
        assert_eq!(words(9).abridged(), "0, 1, 2 +6");
    }
}
