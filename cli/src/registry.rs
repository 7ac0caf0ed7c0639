//! The stores of this build: the only place that names concrete backends.
//!
//! Without `--bdev` a container goes to the first store here, as with LXC: `dir`. `--bdev best` takes the first usable
//! of [`PREFERENCE`]: stores that snapshot and clone in constant time come first, and among those the ones whose clones
//! leave their parent free; `dir`, which works everywhere, comes last. `loop` is taken only when it is asked for, as with LXC: nobody
//! should get images of a fixed size without knowing it.

use keiki_core::registry::Registry;

/// What `best` tries, in order. Kinds that this build lacks are passed over.
const PREFERENCE: [&str; 5] = ["btrfs", "zfs", "lvm", "overlay", "dir"];

/// Returns what `--bdev best` tries in this build, in order.
pub(crate) fn preference() -> Vec<String> {
    let registry = of_this_build();
    let known = |kind: &&&str| registry.get(&keiki_core::volume::StoreKind::new(kind)).is_ok();
    PREFERENCE.iter().filter(known).map(|kind| (*kind).to_owned()).collect()
}

/// Returns the stores that this build was made with.
pub(crate) fn of_this_build() -> Registry {
    let registry = Registry::new();
    #[cfg(feature = "dir")]
    let registry = registry.with(std::sync::Arc::new(keiki_dir::DirStore::new()));
    #[cfg(feature = "btrfs")]
    let registry = registry.with(std::sync::Arc::new(keiki_btrfs::BtrfsStore));
    #[cfg(feature = "loop")]
    let registry = registry.with(std::sync::Arc::new(keiki_loop::LoopStore::new()));
    #[cfg(feature = "lvm")]
    let registry = registry.with(std::sync::Arc::new(keiki_lvm::LvmStore));
    #[cfg(feature = "overlay")]
    let registry = registry.with(std::sync::Arc::new(keiki_overlay::OverlayStore::new()));
    #[cfg(feature = "zfs")]
    let registry = registry.with(std::sync::Arc::new(keiki_zfs::ZfsStore::default()));
    registry.with_preference(&PREFERENCE)
}
