//! docs/configuration.md is made of the table of keys: what is written there is what is parsed.

use std::fmt::Write as _;
use std::path::Path;

use keiki_config::keys::{Applied, KEYS, Key, NETWORK, NETWORK_KEYS, REMOVED, RENAMED, Shape};

/// Set to write the file instead of comparing it.
const WRITE: &str = "KEIKI_WRITE_REFERENCE";

const HEAD: &str = "\
# Configuration

Every key of a container's configuration (`<lxcpath>/<name>/config`), as LXC has it. This file is made of the table in
`config/src/keys/` by `config/tests/reference.rs`; `KEIKI_WRITE_REFERENCE=1 cargo test -p keiki-config --test reference` writes it.
`keiki config keys` prints the same.

One `key = value` a line; blanks around both go, and so does one pair of quotes around the value. `#` begins a comment, lines that do not
begin with `lxc.` are passed over. Of a **scalar** the last value counts; the values of a **list** add up. An empty value clears: a list, a scalar,
an interface (`lxc.net.0 =`), a family (`lxc.sysctl =`). `lxc.include` reads a file at its line, or the `*.conf` of a directory in the
order of their names.

**Applied**: *at start* means what it says; *elsewhere* by another verb, or by reading; *no* is understood and not applied by this
version, and a start warns of it; *not yet by any verb* says nothing at a start, and `keiki config check` tells.
";

fn reference() -> String {
    let mut text = HEAD.to_owned();
    text += "\n## Containers\n";
    table(&mut text, KEYS.iter().map(|key| (shown_name(key, ""), key)));
    text +=
        "\n## Interfaces\n\n`N` is a number. `type` stands before what only interfaces of one type have.\n";
    table(
        &mut text,
        std::iter::once((NETWORK.name.to_owned(), &NETWORK))
            .chain(NETWORK_KEYS.iter().map(|key| (shown_name(key, "lxc.net.N."), key))),
    );
    text += "\n## Names of LXC 1 and 2\n\nLXC 3 and later refuse them, and so does keiki; `keiki config migrate` replaces them.\n\n| old | today |\n|---|---|\n";
    for (old, new) in RENAMED {
        let _ = writeln!(text, "| `{old}` | `{new}` |");
    }
    text += "| `lxc.limit.NAME` | `lxc.prlimit.NAME` |\n| `lxc.network.N.KEY`, `lxc.network.KEY` | `lxc.net.N.KEY`; `ipv4` and `ipv6` end with `.address` |\n";
    for (gone, fate) in REMOVED {
        let _ = writeln!(text, "| `{gone}` | gone: {fate} |");
    }
    text
}

fn shown_name(key: &Key, before: &str) -> String {
    let rest = if key.is_prefix() { "NAME" } else { "" };
    format!("{before}{}{rest}", key.name)
}

fn table<'a>(text: &mut String, rows: impl Iterator<Item = (String, &'a Key)>) {
    *text += "\n| key | | value | default | applied | meaning | example |\n|---|---|---|---|---|---|---|\n";
    for (name, key) in rows {
        let shape = match key.shape {
            Shape::Scalar | Shape::Prefix => "scalar",
            Shape::List | Shape::PrefixList => "list",
            Shape::Family => "family",
        };
        let applied = match key.applied {
            Applied::AtStart => "at start",
            Applied::Elsewhere => "elsewhere",
            Applied::NotYet => "no",
            Applied::Unused => "not yet by any verb",
        };
        let takes = if key.shape == Shape::Family { "nothing".to_owned() } else { key.kind.expected() };
        let code = |value: &str| if value.is_empty() { String::new() } else { format!("`{value}`") };
        let example = match key.example {
            ("", value) => code(value),
            (rest, value) => code(&format!("{}{rest} = {value}", key.name)),
        };
        let cells = [
            code(&name),
            shape.to_owned(),
            takes,
            code(key.default),
            applied.to_owned(),
            key.doc.to_owned(),
            example,
        ];
        let _ = writeln!(text, "| {} |", cells.map(|cell| cell.replace('|', "\\|")).join(" | "));
    }
}

#[test]
fn the_reference_is_what_the_table_says() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let text = reference();
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(written == text, "docs/configuration.md is stale: run with {WRITE}=1 and look at the difference");
}
