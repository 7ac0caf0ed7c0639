//! Verbs that make, change and remove what is stored.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Subcommand;
use keiki_core::registry::StoreChoice;
use keiki_core::volume::Properties;

use super::FORMATS;
use crate::ui::format::Format;

/// Where a new volume lives. Options that the chosen store does not take are refused by it.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Store options")]
pub(crate) struct StoreOptions {
    /// Store to use: one kind, several in order of preference, or `best`
    #[arg(short = 'B', long, value_name = "KIND[,KIND…]|best")]
    pub(crate) bdev: Option<String>,
    /// Directory of the root filesystem (dir)
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<String>,
    /// File system in the volume (lvm, loop)
    #[arg(long, value_name = "TYPE")]
    pub(crate) fstype: Option<String>,
    /// Size of the volume, such as 10G (lvm, loop)
    #[arg(long, value_name = "SIZE")]
    pub(crate) fssize: Option<String>,
    /// Volume group [default: lxc.bdev.lvm.vg of lxc.conf, else lxc] (lvm)
    #[arg(long, value_name = "VG")]
    pub(crate) vgname: Option<String>,
    /// Logical volume [default: the container's name] (lvm)
    #[arg(long, value_name = "LV")]
    pub(crate) lvname: Option<String>,
    /// Thin pool; '' makes plain volumes [default: lxc.bdev.lvm.thin_pool of lxc.conf] (lvm)
    #[arg(long, value_name = "POOL")]
    pub(crate) thinpool: Option<String>,
    /// Size of each snapshot of a plain volume, such as 50% of it or 2G: one that overflows is lost [default: 100%] (lvm)
    #[arg(long, value_name = "SIZE")]
    pub(crate) snapsize: Option<String>,
    /// Per cent of a thin pool's data beyond which nothing new is made in it [default: 90] (lvm)
    #[arg(long, value_name = "PERCENT")]
    pub(crate) datafill: Option<String>,
    /// Per cent of a thin pool's metadata beyond which nothing new is made in it [default: 80] (lvm)
    #[arg(long, value_name = "PERCENT")]
    pub(crate) metafill: Option<String>,
    /// Dataset under which volumes are made [default: lxc.bdev.zfs.root of lxc.conf, else lxc] (zfs)
    #[arg(long, value_name = "DATASET")]
    pub(crate) zfsroot: Option<String>,
}

impl StoreOptions {
    /// Returns which store is meant.
    ///
    /// # Errors
    /// `InvalidArgument` for a list with an empty entry.
    pub(crate) fn choice(&self) -> keiki_core::Result<StoreChoice> {
        self.bdev.as_deref().map_or(Ok(StoreChoice::Default), str::parse)
    }

    /// Returns the options that were given, under the names by which stores know them.
    pub(crate) fn properties(&self) -> Properties {
        let given = [
            ("dir", &self.dir),
            ("fstype", &self.fstype),
            ("fssize", &self.fssize),
            ("vgname", &self.vgname),
            ("lvname", &self.lvname),
            ("thinpool", &self.thinpool),
            ("snapsize", &self.snapsize),
            ("datafill", &self.datafill),
            ("metafill", &self.metafill),
            ("zfsroot", &self.zfsroot),
        ];
        given
            .into_iter()
            .filter_map(|(name, value)| value.clone().map(|value| (name.to_owned(), value)))
            .collect()
    }
}

/// `keiki create`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Options of the template follow `--`; `keiki create x --template local -- --help` lists them."
)]
pub(crate) struct Create {
    /// Name of the new container
    pub(crate) name: String,
    /// What puts the first content into it: busybox, local or none
    #[arg(short, long, value_name = "TEMPLATE")]
    pub(crate) template: String,
    /// Configuration whose lines stand behind the defaults and win over them [default: lxc.default_config of lxc.conf]
    #[arg(short = 'f', long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Options of the template
    #[arg(last = true, value_name = "TEMPLATE OPTIONS")]
    pub(crate) template_options: Vec<OsString>,
    #[command(flatten)]
    pub(crate) store: StoreOptions,
}

/// `keiki clone`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Without --snapshot and --copy it shares data where the store can, else copies, and says which. All clones are made or none."
)]
pub(crate) struct Clone {
    /// The container to clone, or one of its snapshots
    #[arg(value_name = "SRC[@SNAPSHOT]")]
    pub(crate) source: String,
    /// Names of the clones
    #[arg(required = true, value_name = "NEW")]
    pub(crate) names: Vec<String>,
    /// Share data with the source; refused where the store cannot
    #[arg(short, long, conflicts_with = "copy")]
    pub(crate) snapshot: bool,
    /// Copy the data, so that the clone needs nobody
    #[arg(short, long)]
    pub(crate) copy: bool,
    /// Make NEW1, NEW2, … up to this number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) count: Option<u32>,
    /// Keep the source's host name and hardware addresses
    #[arg(long)]
    pub(crate) keep_identity: bool,
    /// Destroy the clone when it stops
    #[arg(short, long)]
    pub(crate) ephemeral: bool,
    /// Keep what the clone writes in memory; implies --ephemeral
    #[arg(long)]
    pub(crate) tmpfs: bool,
    #[command(flatten)]
    pub(crate) store: StoreOptions,
}

/// `keiki snapshot`.
#[derive(Debug, clap::Args)]
pub(crate) struct Snapshot {
    #[command(subcommand)]
    pub(crate) verb: SnapshotVerb,
}

/// The verbs of `keiki snapshot`.
#[derive(Debug, Subcommand)]
pub(crate) enum SnapshotVerb {
    /// Take a snapshot of a container
    Create(SnapshotCreate),
    /// List a container's snapshots
    #[command(visible_alias = "ls")]
    List(SnapshotList),
    /// Make a container what it was when the snapshot was taken
    Restore(SnapshotRestore),
    /// Destroy a snapshot
    Destroy(SnapshotDestroy),
    /// Set a snapshot's comment
    Comment(SnapshotComment),
}

/// `keiki snapshot create`.
#[derive(Debug, clap::Args)]
pub(crate) struct SnapshotCreate {
    /// The container
    pub(crate) name: String,
    /// Name of the snapshot [default: the first free of snap0, snap1, …]
    #[arg(long = "name", value_name = "SNAPSHOT")]
    pub(crate) snapshot: Option<String>,
    /// Comment to keep with it
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) comment: Option<String>,
}

/// `keiki snapshot list`.
#[derive(Debug, clap::Args)]
pub(crate) struct SnapshotList {
    /// The container
    pub(crate) name: String,
    /// Form of the output
    #[arg(short, long, value_enum, default_value_t, value_name = FORMATS, hide_possible_values = true)]
    pub(crate) format: Format,
}

/// `keiki snapshot restore`.
#[derive(Debug, clap::Args)]
pub(crate) struct SnapshotRestore {
    /// The container
    pub(crate) name: String,
    /// The snapshot
    pub(crate) snapshot: String,
    /// Make a new container of it, and leave the old one as it is
    #[arg(long = "as", value_name = "NEW")]
    pub(crate) new: Option<String>,
}

/// `keiki snapshot destroy`.
#[derive(Debug, clap::Args)]
pub(crate) struct SnapshotDestroy {
    /// The container
    pub(crate) name: String,
    /// The snapshots
    #[arg(required = true, value_name = "SNAPSHOT")]
    pub(crate) snapshots: Vec<String>,
}

/// `keiki snapshot comment`.
#[derive(Debug, clap::Args)]
pub(crate) struct SnapshotComment {
    /// The container
    pub(crate) name: String,
    /// The snapshot
    pub(crate) snapshot: String,
    /// The comment
    pub(crate) text: String,
}

/// `keiki destroy`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Refuses while snapshots or other containers need the container's data, and names them."
)]
pub(crate) struct Destroy {
    /// The containers
    #[arg(required = true, value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Show what would be destroyed, in order, and change nothing
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
    /// Destroy its snapshots too
    #[arg(long)]
    pub(crate) with_snapshots: bool,
    /// Destroy its snapshots and every container that depends on it or on them
    #[arg(long)]
    pub(crate) with_dependents: bool,
    /// Stop what runs first
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Form of the plan that --dry-run prints
    #[arg(long, value_enum, default_value_t, value_name = FORMATS, hide_possible_values = true, requires = "dry_run")]
    pub(crate) format: Format,
}

/// `keiki rename`.
#[derive(Debug, clap::Args)]
pub(crate) struct Rename {
    /// The container
    #[arg(value_name = "OLD")]
    pub(crate) name: String,
    /// Its new name
    pub(crate) new: String,
}

/// `keiki promote`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Only stores whose clones depend on their origin (zfs). Nothing is copied. `keiki flatten` makes a container independent by a copy on every store."
)]
pub(crate) struct Promote {
    /// The container
    pub(crate) name: String,
}

/// `keiki resize`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "For stores whose volumes have a size (lvm, loop); the file system in it follows. To make one smaller the container must be stopped and its file system be one that shrinks (ext4)."
)]
pub(crate) struct Resize {
    /// The container
    pub(crate) name: String,
    /// The new size, such as 10G
    #[arg(value_name = "SIZE")]
    pub(crate) size: String,
}

/// `keiki quota`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "For stores that share the space of a pool (zfs, btrfs). A restore keeps the limit; a clone has none."
)]
pub(crate) struct Quota {
    /// The container
    pub(crate) name: String,
    /// The most that it may hold, such as 10G, or `none`
    #[arg(value_name = "SIZE|none")]
    pub(crate) size: String,
}

/// `keiki flatten`.
#[derive(Debug, clap::Args)]
pub(crate) struct Flatten {
    /// The container
    pub(crate) name: String,
}
