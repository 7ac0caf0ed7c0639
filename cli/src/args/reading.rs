//! Verbs that only read.

use super::FORMATS;
use crate::ui::format::Format;

/// `keiki ls`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Fields: name, state, pid, store, origin, snapshots, dependents, created, source, adopted, manager."
)]
pub(crate) struct Ls {
    /// Only these containers
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t, value_name = FORMATS, hide_possible_values = true)]
    pub(crate) format: Format,
    /// Print only names, one a line
    #[arg(short = '1', long = "names", conflicts_with_all = ["format", "columns"])]
    pub(crate) names_only: bool,
    /// Fields to print, in this order
    #[arg(short, long, value_name = "FIELD", value_delimiter = ',')]
    pub(crate) columns: Vec<String>,
    /// Only running containers
    #[arg(long, conflicts_with = "stopped")]
    pub(crate) running: bool,
    /// Only stopped containers
    #[arg(long)]
    pub(crate) stopped: bool,
}

/// `keiki info`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Fields: those of `keiki ls`, and home, config, referenced, exclusive; snapshots are objects."
)]
pub(crate) struct Info {
    /// The container
    pub(crate) name: String,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t, value_name = FORMATS, hide_possible_values = true)]
    pub(crate) format: Format,
}

/// `keiki tree`.
#[derive(Debug, clap::Args)]
#[command(after_help = "What needs the data above it hangs there plainly; what was copied from it says so. \
    Fields: name, kind, parent, relation, depth, store, state, container.")]
pub(crate) struct Tree {
    /// Only the family of this container
    pub(crate) name: Option<String>,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t, value_name = FORMATS, hide_possible_values = true)]
    pub(crate) format: Format,
}

/// `keiki df`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Referenced is what a container shows; exclusive is what destroying it alone would free; shared is the rest; snapshots is what its \
    snapshots hold that nobody else does; limit is the most that it may hold. `-` means that the store cannot tell. \
    Fields: name, store, referenced, exclusive, shared, snapshots, limit (bytes), exactness (exact, approximate). \
    With --total: containers, freed (bytes), exactness (exact, approximate, at-least), needed_by."
)]
pub(crate) struct Df {
    /// Only these containers
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Only what destroying all of them, with their snapshots, would free
    #[arg(long)]
    pub(crate) total: bool,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t, value_name = FORMATS, hide_possible_values = true)]
    pub(crate) format: Format,
}

/// `keiki stores`.
#[derive(Debug, clap::Args)]
pub(crate) struct Stores {
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t, value_name = FORMATS, hide_possible_values = true)]
    pub(crate) format: Format,
}

/// `keiki check`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Exits with 1 when something is wrong and was not repaired.")]
pub(crate) struct Check {
    /// Repair what can be repaired
    #[arg(long)]
    pub(crate) repair: bool,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t, value_name = FORMATS, hide_possible_values = true)]
    pub(crate) format: Format,
}
