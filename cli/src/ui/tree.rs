//! Trees as text: lines with guides in front, of Unicode where the locale has it, else of ASCII.

use std::env;

/// The characters that guides are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guides {
    /// `├─ `
    Unicode,
    /// `|- `
    Ascii,
}

impl Guides {
    /// Returns the guides that the locale can show.
    pub(crate) fn of_locale() -> Self {
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .iter()
            .find_map(|name| env::var(name).ok().filter(|value| !value.is_empty()))
            .unwrap_or_default()
            .to_ascii_lowercase();
        if locale.contains("utf-8") || locale.contains("utf8") { Self::Unicode } else { Self::Ascii }
    }

    fn words(self) -> [&'static str; 4] {
        match self {
            Self::Unicode => ["├─ ", "└─ ", "│  ", "   "],
            Self::Ascii => ["|- ", "`- ", "|  ", "   "],
        }
    }
}

/// One line of a tree in depth-first order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// How many ancestors it has; a root has none.
    pub(crate) depth: usize,
    /// What stands behind the guides.
    pub(crate) text: String,
}

/// Returns the lines with their guides. Linear in the lines times their depth; no recursion, however deep.
pub(crate) fn render(lines: &[Line], guides: Guides) -> String {
    let [branch, last, trunk, blank] = guides.words();
    let has_sibling = siblings(lines);
    let mut open: Vec<bool> = Vec::new();
    let mut text = String::new();
    for (line, has_next) in lines.iter().zip(has_sibling) {
        open.truncate(line.depth);
        for is_open in open.iter().skip(1) {
            text.push_str(if *is_open { trunk } else { blank });
        }
        if line.depth > 0 {
            text.push_str(if has_next { branch } else { last });
        }
        text.push_str(&line.text);
        text.push('\n');
        open.resize(line.depth, false);
        open.push(has_next);
    }
    text
}

/// Returns for each line whether another child of the same parent follows; found from the end, once.
fn siblings(lines: &[Line]) -> Vec<bool> {
    let mut seen: Vec<bool> = Vec::new();
    let mut answer: Vec<bool> = lines
        .iter()
        .rev()
        .map(|line| {
            seen.resize(line.depth + 1, false);
            std::mem::replace(&mut seen[line.depth], true)
        })
        .collect();
    answer.reverse();
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[(usize, &str)]) -> Vec<Line> {
        text.iter().map(|(depth, text)| Line { depth: *depth, text: (*text).to_owned() }).collect()
    }

    #[test]
    fn guides_connect_siblings_only() {
        let family = lines(&[(0, "base"), (1, "@snap0"), (2, "web3"), (1, "web1"), (0, "other")]);
        assert_eq!(render(&family, Guides::Unicode), "base\n├─ @snap0\n│  └─ web3\n└─ web1\nother\n");
        assert_eq!(render(&family, Guides::Ascii), "base\n|- @snap0\n|  `- web3\n`- web1\nother\n");
    }

    #[test]
    fn a_chain_of_a_thousand_is_drawn_without_recursion() {
        let chain: Vec<_> = (0..1000).map(|depth| Line { depth, text: "x".to_owned() }).collect();
        assert_eq!(render(&chain, Guides::Ascii).lines().count(), 1000);
    }
}
