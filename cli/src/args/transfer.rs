//! Verbs that move containers between hosts.

use super::{FORMATS, StoreOptions};
use crate::ui::format::Format;

/// `keiki send`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  keiki send web1 | ssh host keiki receive
  keiki send web1@monday | ssh host keiki receive --as web2
  keiki send web1 --since monday | ssh host keiki receive
  keiki send web1 --accept \"$(ssh host keiki receive --offer)\" | ssh host keiki receive

A container whose store takes snapshots at no cost may run meanwhile; any other must be stopped.")]
pub(crate) struct Send {
    /// The container with all of its snapshots, or up to one of them
    #[arg(value_name = "NAME[@SNAPSHOT]", required_unless_present = "resume", conflicts_with = "resume")]
    pub(crate) source: Option<String>,
    /// Send only what came after this snapshot, which the receiver has
    #[arg(long, value_name = "SNAPSHOT")]
    pub(crate) since: Option<String>,
    /// Continue a stream that was cut, from what the receiver said
    #[arg(long, value_name = "TOKEN", conflicts_with = "since")]
    pub(crate) resume: Option<String>,
    /// Send in the store's own form (btrfs, zfs), which only the same kind of store understands
    #[arg(long, conflicts_with = "accept")]
    pub(crate) native: bool,
    /// Send in the store's own form if it is among those that the receiver offers
    #[arg(long, value_name = "FORMS")]
    pub(crate) accept: Option<String>,
}

/// `keiki receive`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Nothing shows under the name before the whole stream was proven. A stream that was cut can be continued:
--pending prints how. One sends only to those whom one would give an image: configuration and root file
system are taken over as they come.")]
pub(crate) struct Receive {
    /// Name it this [default: the sender's name]
    #[arg(long = "as", value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Replace the present state of a container that was changed here since it was received
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Print the forms that this host understands, for `keiki send --accept`
    #[arg(long, conflicts_with_all = ["name", "overwrite", "pending", "discard", "finish"])]
    pub(crate) offer: bool,
    /// List streams that were cut, with what continues each
    #[arg(long, conflicts_with_all = ["name", "overwrite", "discard", "finish"])]
    pub(crate) pending: bool,
    /// Throw away what came of a stream that was cut
    #[arg(long, value_name = "NAME", conflicts_with_all = ["name", "overwrite", "finish"])]
    pub(crate) discard: Option<String>,
    /// Give a container that arrived whole the name that was taken then
    #[arg(long, value_name = "NAME", conflicts_with = "overwrite")]
    pub(crate) finish: Option<String>,
    /// Form of the list that --pending prints
    #[arg(long, value_enum, default_value_t, value_name = FORMATS, hide_possible_values = true, requires = "pending")]
    pub(crate) format: Format,
    #[command(flatten)]
    pub(crate) store: StoreOptions,
}
