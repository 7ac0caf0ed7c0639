//! Columns for people, in one pass for the widths and one for the text: ten thousand rows cost a millisecond or two.

use super::color::{Palette, Style};

const GAP: &str = "  ";

/// At which side of its column a value stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alignment {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Returns a table with a head; a column is aligned as its first value that is aligned right, else left. No line ends
/// in spaces.
pub(crate) fn render(fields: &[&str], rows: &[Vec<(String, Alignment)>], palette: Palette) -> String {
    let columns: Vec<_> = (0..fields.len()).map(|index| column(fields[index], rows, index)).collect();
    let mut text = String::with_capacity((rows.len() + 1) * columns.iter().map(|c| c.0 + 2).sum::<usize>());
    let head: Vec<_> = fields.iter().map(|field| field.replace('_', " ").to_uppercase()).collect();
    let mut line = String::new();
    push_line(&mut line, head.iter().map(String::as_str), &columns);
    text.push_str(&palette.paint(Style::Header, &line));
    text.push('\n');
    for row in rows {
        push_line(&mut text, row.iter().map(|(value, _)| value.as_str()), &columns);
        text.push('\n');
    }
    text
}

fn column(field: &str, rows: &[Vec<(String, Alignment)>], index: usize) -> (usize, Alignment) {
    let mut width = field.chars().count();
    let mut alignment = Alignment::Left;
    for (value, side) in rows.iter().filter_map(|row| row.get(index)) {
        width = width.max(value.chars().count());
        if *side == Alignment::Right {
            alignment = Alignment::Right;
        }
    }
    (width, alignment)
}

fn push_line<'a>(text: &mut String, values: impl Iterator<Item = &'a str>, columns: &[(usize, Alignment)]) {
    let mut pending = 0;
    for (index, (value, (width, alignment))) in values.zip(columns).enumerate() {
        let padding = width.saturating_sub(value.chars().count());
        if index > 0 {
            pending += GAP.len();
        }
        let (before, after) = match alignment {
            Alignment::Left => (0, padding),
            Alignment::Right => (padding, 0),
        };
        pending += before;
        if !value.is_empty() {
            text.extend(std::iter::repeat_n(' ', pending));
            text.push_str(value);
            pending = 0;
        }
        pending += after;
    }
}

#[cfg(test)]
mod tests {
    use super::super::color::ColorChoice;
    use super::*;

    #[test]
    fn numbers_stand_right_and_no_line_ends_in_spaces() {
        let rows = vec![
            vec![
                ("a".to_owned(), Alignment::Left),
                ("12".to_owned(), Alignment::Right),
                (String::new(), Alignment::Left),
            ],
            vec![
                ("long".to_owned(), Alignment::Left),
                ("-".to_owned(), Alignment::Left),
                ("x".to_owned(), Alignment::Left),
            ],
        ];
        let text = render(&["n", "size", "c"], &rows, Palette::new(ColorChoice::Never, false));
        assert_eq!(text, "N     SIZE  C\na       12\nlong     -  x\n");
    }
}
