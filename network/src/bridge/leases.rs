//! dnsmasq's file of leases: who has which address until when.

use std::path::Path;

use keiki_core::{Error, ErrorKind, Result, ResultExt};

/// An address that dnsmasq gave away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Until when, in seconds since 1970; 0 is for ever.
    pub until: u64,
    /// The hardware address, or the number of the interface of IPv6.
    pub hardware: String,
    /// The address.
    pub address: String,
    /// The name that the container gave itself, if it did.
    pub name: Option<String>,
}

/// Reads the file at `path`; one that is not there has no leases.
pub(super) fn read(path: &Path) -> Result<Vec<Lease>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).or_err(|| format!("cannot read `{}`", path.display())),
    };
    parse(&text).map_err(|line| {
        Error::new(ErrorKind::Protocol, format!("cannot understand line {line} of `{}`", path.display()))
    })
}

/// Returns the leases of a file, or the number of the line that is none.
fn parse(text: &str) -> Result<Vec<Lease>, usize> {
    let lines = (1..).zip(text.lines());
    // A line of its own has dnsmasq's identity for IPv6.
    let lines = lines.filter(|(_, line)| !line.starts_with("duid ") && !line.trim().is_empty());
    lines.map(|(number, line)| lease(line).ok_or(number)).collect()
}

fn lease(line: &str) -> Option<Lease> {
    let mut words = line.split_whitespace();
    let until = words.next()?.parse().ok()?;
    let (hardware, address, name) = (words.next()?, words.next()?, words.next()?);
    words.next()?;
    Some(Lease {
        until,
        hardware: hardware.to_owned(),
        address: address.to_owned(),
        name: (name != "*").then(|| name.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn leases_have_five_words_and_the_identity_of_ipv6_is_none() {
        let text = "1790000000 00:16:3e:01:02:03 10.0.3.17 web1 01:00:16:3e:01:02:03\n\
                    0 00:16:3e:01:02:04 10.0.3.18 * *\nduid 00:01:00:01\n1790000000 123 fd00::17 web1 00:01\n";
        let read = parse(text).unwrap();
        assert_eq!(read.len(), 3);
        assert_eq!((read[0].address.as_str(), read[0].name.as_deref()), ("10.0.3.17", Some("web1")));
        assert_eq!((read[1].until, &read[1].name), (0, &None));
        assert_eq!(parse("1 2 3\n"), Err(1));
        assert_eq!(parse("\nx a b c d\n"), Err(2));
    }

    proptest! {
        #[test]
        fn no_text_breaks_the_parser(text in "\\PC{0,80}") {
            drop(parse(&text));
        }
    }
}
