//! The engine: names, lineage, policy, journal, locks, recovery. Backends make single effects; the engine makes
//! operations out of them that are either done or not done, whatever kills it.
//!
//! ```text
//! <state>/                     root: /var/lib/keiki; user: $XDG_DATA_HOME/keiki
//! ├── catalogue.sqlite         rows: volumes, edges, intents (WAL, synchronous=FULL)
//! └── locks/                   one file a container, flock; its text names the holder
//! <lxcpath>/
//! ├── <name>/                  a container as LXC lays it out; its config is the truth of its configuration
//! │   ├── config  rootfs/  overlay/  snaps/<snapshot>/…  lxc_snapshots  lxc_rdepends
//! └── .keiki/                  same file system as the containers, so that renames are atomic
//!     ├── staging/<id>/        a home in the making; renamed into place when everything in it is durable
//!     └── trash/<id>/          a home that was destroyed; reclaimed at leisure
//! ```
//!
//! Every changing operation: locks in order → transaction 1 validates the rules, reserves ids and places, writes an
//! intent → effects in a staging home, each preceded by a named step → barrier → **the rename of the home** (or the
//! exchange of a head, or the replacement of a config), which is the commit point → transaction 2 publishes rows and
//! removes the intent. Recovery looks at the disk: past the commit point it goes forward, before it goes back.

mod request;

pub use request::{
    Activity, CloneConfig, CloneContainer, CloneMode, ConfigEditor, ContainerKey, ContainerRecord,
    CreateContainer, DestroyScope, Fill, Holder, Identity, Means, Outcome, Payload, RestoreTarget,
    SnapshotContainer, SnapshotRecord,
};
