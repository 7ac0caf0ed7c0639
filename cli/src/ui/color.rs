//! Colour, which never carries meaning alone.

use std::env;
use std::io::IsTerminal;

use clap::ValueEnum;

/// What the user wants: `Auto` is on terminals, unless NO_COLOR is set or TERM is dumb; `Always` is also in pipes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum ColorChoice {
    // No doc comments: clap would turn them into half a page of help a verb.
    #[default]
    Auto,
    Always,
    Never,
}

/// What a piece of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// The word in front of an error.
    Error,
    /// The word in front of a warning.
    Warning,
    /// The word in front of a hint.
    Hint,
    /// The head of a table.
    Header,
    /// Something that is in order or runs.
    Good,
    /// Something beside the point.
    Faint,
}

/// Colours for one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Palette {
    is_colored: bool,
}

impl Palette {
    /// Returns the colours for a stream.
    pub(crate) fn new(choice: ColorChoice, is_terminal: bool) -> Self {
        let is_colored = match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => is_terminal && environment_allows(),
        };
        Self { is_colored }
    }

    /// Returns `text` as it is written in `style`.
    pub(crate) fn paint(self, style: Style, text: &str) -> String {
        if !self.is_colored {
            return text.to_owned();
        }
        let code = match style {
            Style::Error => "1;31",
            Style::Warning => "1;33",
            Style::Hint => "1;36",
            Style::Header => "1",
            Style::Good => "32",
            Style::Faint => "2",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }
}

fn environment_allows() -> bool {
    let is_forbidden = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !is_forbidden && env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Tells whether stderr is a terminal that can redraw a line.
pub(crate) fn can_redraw() -> bool {
    std::io::stderr().is_terminal() && env::var_os("TERM").is_none_or(|term| term != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_wins_over_what_the_stream_is() {
        let text = |choice, terminal| Palette::new(choice, terminal).paint(Style::Error, "x");
        assert_eq!(text(ColorChoice::Never, true), "x");
        assert_eq!(text(ColorChoice::Auto, false), "x");
        assert_eq!(text(ColorChoice::Always, false), "\x1b[1;31mx\x1b[0m");
    }
}
