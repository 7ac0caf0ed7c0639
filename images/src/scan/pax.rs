//! Pax records: `LENGTH KEY=VALUE\n`, where the length counts itself. Read by lengths alone: a line break in a value is a
//! byte like any other.
//!
//! Records that GNU tar would read otherwise than they look are refused: it passes over blanks before a key, and its texts
//! end at a zero byte.

/// A record's key and value.
pub(super) type Record<'a> = (&'a [u8], &'a [u8]);

/// What the records of one extension header say about the member behind it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Said {
    pub(super) path: Option<Vec<u8>>,
    /// Goes before `path`, whichever comes first.
    pub(super) sparse_name: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    /// The member's content begins with a map of its regions.
    pub(super) has_map: bool,
}

/// Returns what a header for one member says.
pub(super) fn read_next(text: &[u8]) -> Result<Said, String> {
    let mut said = Said::default();
    let mut is_sparse = false;
    for (key, value) in parse(text)? {
        is_sparse |= key.starts_with(b"GNU.sparse.");
        match key {
            b"path" => said.path = Some(value.to_vec()),
            // The header holds a made-up name then.
            b"GNU.sparse.name" => said.sparse_name = Some(value.to_vec()),
            b"linkpath" => said.link = Some(value.to_vec()),
            b"size" => said.size = Some(decimal(value).ok_or("a pax size is no number")?),
            b"GNU.sparse.major" if value == b"1" => said.has_map = true,
            b"GNU.sparse.minor" if value == b"0" => {}
            b"GNU.sparse.realsize" if decimal(value).is_some() => {}
            other if is_foreign(other) => {
                return Err(format!("its pax record `{}` is not supported", other.escape_ascii()));
            }
            _ => {}
        }
    }
    if is_sparse && !said.has_map {
        return Err("it is sparse in a way that is not supported".to_owned());
    }
    Ok(said)
}

/// Returns the volume's name, if a header for all members gives one. One that says what only one member can be, its name or its size, is
/// refused.
pub(super) fn read_global(text: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let records = parse(text)?;
    let is_label = |key: &[u8]| key == b"GNU.volume.label";
    let is_special =
        |key: &[u8]| matches!(key, b"path" | b"linkpath" | b"size") || (is_foreign(key) && !is_label(key));
    match records.iter().find(|(key, _)| is_special(key)) {
        None => Ok(records.iter().rev().find(|(key, _)| is_label(key)).map(|(_, value)| value.to_vec())),
        Some((key, _)) => Err(format!("a pax header for all members sets `{}`", key.escape_ascii())),
    }
}

/// Maps of GNU's first forms, parts of archives and dumps: nothing that a root filesystem comes in.
fn is_foreign(key: &[u8]) -> bool {
    key.starts_with(b"GNU.")
}

/// Reads digits and nothing else.
pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    let is_plain = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    is_plain.then(|| std::str::from_utf8(text).ok()?.parse().ok()).flatten()
}

/// Returns the records in order.
fn parse(mut text: &[u8]) -> Result<Vec<Record<'_>>, String> {
    let mut records = Vec::new();
    while !text.is_empty() {
        let bad = || "a pax record is damaged".to_owned();
        let space = text.iter().take(20).position(|byte| *byte == b' ').ok_or_else(bad)?;
        let length =
            decimal(&text[..space]).and_then(|length| usize::try_from(length).ok()).ok_or_else(bad)?;
        let record = text.get(space + 1..length).ok_or_else(bad)?;
        let record = record.strip_suffix(b"\n").ok_or_else(bad)?;
        let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(bad)?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        if key.is_empty() || key.contains(&0) || matches!(key[0], b' ' | b'\t') {
            return Err(bad());
        }
        if matches!(key, b"path" | b"linkpath" | b"GNU.sparse.name" | b"GNU.volume.label")
            && value.contains(&0)
        {
            return Err("a name holds a zero byte".to_owned());
        }
        records.push((key, value));
        text = &text[length..];
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_cut_by_length_not_by_line() {
        assert_eq!(parse(b"12 path=a/b\n").unwrap(), [(&b"path"[..], &b"a/b"[..])]);
        // The record holds a line that looks like a record of its own.
        let whole = b"24 comment=\n12 path=/a\n\n";
        assert_eq!(parse(whole).unwrap(), [(&b"comment"[..], &b"\n12 path=/a\n"[..])]);
    }

    #[test]
    fn damaged_records_are_refused() {
        for bad in [
            &b"x path=a\n"[..],
            b"99 path=a\n",
            b"9 path=a",
            b"7 path\n",
            b"0 path=a\n",
            b"path=a\n",
            b"+9 path=a\n",
            b"10  path=a\n",
            b"10 \tpath=a\n",
            b"9\tpath=a\n",
            b"11 path\0=a\n",
            b"6 =aa\n",
            b"11 path=a\0\n",
        ] {
            assert!(parse(bad).is_err(), "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn a_size_is_digits_and_a_sparse_form_is_the_one_that_we_check() {
        for (text, good) in [
            (&b"10 size=5\n"[..], true),
            (b"11 size=+5\n", false),
            (b"11 size=5x\n", false),
            (b"22 GNU.sparse.major=1\n", true),
            (b"22 GNU.sparse.major=0\n", false),
            (b"24 GNU.sparse.map=0,512\n", false),
            (b"25 GNU.sparse.realsize=5\n", false),
            (b"17 GNU.dumpdir=Y\n", false),
        ] {
            assert_eq!(read_next(text).is_ok(), good, "{}", text.escape_ascii());
        }
        assert!(read_global(b"10 size=5\n").is_err() && read_global(b"13 comment=a\n") == Ok(None));
    }
}
