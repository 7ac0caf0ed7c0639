//! Pax records: `LENGTH KEY=VALUE\n`, where the length counts itself. Read by lengths alone: a line break in a value is a
//! byte like any other.

/// A record's key and value.
pub(super) type Record<'a> = (&'a [u8], &'a [u8]);

/// Returns the records in order.
pub(super) fn parse(mut text: &[u8]) -> Result<Vec<Record<'_>>, String> {
    let mut records = Vec::new();
    while !text.is_empty() {
        let bad = || "a pax record is damaged".to_owned();
        let space = text.iter().take(20).position(|byte| *byte == b' ').ok_or_else(bad)?;
        let digits = std::str::from_utf8(&text[..space]).map_err(|_| bad())?;
        let length: usize = digits.parse().map_err(|_| bad())?;
        let record = text.get(space + 1..length).ok_or_else(bad)?;
        let record = record.strip_suffix(b"\n").ok_or_else(bad)?;
        let equals = record.iter().position(|byte| *byte == b'=').ok_or_else(bad)?;
        records.push((&record[..equals], &record[equals + 1..]));
        text = &text[length..];
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_cut_by_length_not_by_line() {
        let text = b"12 path=a/b\n26 SCHILY.x=1\n9 path=../x\n";
        // The second record holds a line that looks like a record of its own.
        let records = parse(&text[..12]).unwrap();
        assert_eq!(records, [(&b"path"[..], &b"a/b"[..])]);
        let whole = b"24 comment=\n12 path=/a\n\n";
        assert_eq!(parse(whole).unwrap(), [(&b"comment"[..], &b"\n12 path=/a\n"[..])]);
    }

    #[test]
    fn damaged_records_are_refused() {
        for bad in [&b"x path=a\n"[..], b"99 path=a\n", b"9 path=a", b"7 path\n", b"0 path=a\n", b"path=a\n"]
        {
            assert!(parse(bad).is_err(), "{}", bad.escape_ascii());
        }
    }
}
