//! The stores of this build: the only place that names concrete backends.
//!
//! Without `--bdev` a container goes to the first store here, as with LXC: `dir`. `--bdev best` takes the first usable
//! of [`PREFERENCE`]: stores that snapshot and clone in constant time come first, and among those the ones whose clones
//! leave their parent free; `dir`, which works everywhere, comes last. `loop` is taken only when it is asked for, as with LXC: nobody
//! should get images of a fixed size without knowing it.

use keiki_config::GlobalConfig;
use keiki_core::registry::Registry;
use keiki_core::volume::Properties;

/// What `best` tries, in order. Kinds that this build lacks are passed over.
const PREFERENCE: [&str; 5] = ["btrfs", "zfs", "lvm", "overlay", "dir"];

/// Returns what `--bdev best` tries in this build, in order.
pub(crate) fn preference() -> Vec<String> {
    let registry = of_this_build();
    let known = |kind: &&&str| registry.get(&keiki_core::volume::StoreKind::new(kind)).is_ok();
    PREFERENCE.iter().filter(known).map(|kind| (*kind).to_owned()).collect()
}

/// Where LXC makes volumes when its `lxc.conf` does not say. Its third one, a thin pool `lxc` that is used if there is one, is not
/// ours: whether volumes are thin must not depend on what happens to exist.
const FALLBACKS: [(&str, &str, &str); 2] = [("lvm", "vgname", "lxc"), ("zfs", "zfsroot", "lxc")];

/// Returns the stores that this build was made with; they make volumes where `config` says.
pub(crate) fn with_defaults(config: &GlobalConfig) -> Registry {
    let said = config.store_options();
    FALLBACKS.into_iter().fold(of_this_build(), |registry, (kind, option, value)| {
        let mut options =
            said.iter().find(|(of, _)| *of == kind).map_or_else(Properties::new, |(_, it)| it.clone());
        options.entry(option.to_owned()).or_insert_with(|| value.to_owned());
        registry.with_defaults(kind, options)
    })
}

/// Returns the stores that this build was made with.
fn of_this_build() -> Registry {
    let registry = Registry::new();
    #[cfg(feature = "dir")]
    let registry = registry.with(std::sync::Arc::new(keiki_dir::DirStore::new()));
    #[cfg(feature = "btrfs")]
    let registry = registry.with(std::sync::Arc::new(keiki_btrfs::BtrfsStore::new()));
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
