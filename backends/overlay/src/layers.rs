//! [`Layers`]: the list of directories behind `LOWER[:LOWER…]:UPPER`, parsed, printed and computed; pure.

use std::fmt;
use std::path::{Path, PathBuf};

use keiki_core::homes::is_plain;
use keiki_core::volume::Volume;
use keiki_core::{Error, ErrorKind, Result};

use crate::spec::{DIRECTORIES, KIND};

/// The layers of one volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layers {
    /// Read-only directories, topmost first; never empty.
    pub(crate) lowers: Vec<PathBuf>,
    /// The directory that is written.
    pub(crate) upper: PathBuf,
}

impl Layers {
    /// Checks a list of layers.
    ///
    /// # Errors
    /// `InvalidArgument` for a path that is not absolute, not plain, or cannot stand between colons.
    pub(crate) fn new(lowers: Vec<PathBuf>, upper: PathBuf) -> Result<Self> {
        lowers.iter().try_for_each(|lower| check(lower))?;
        check(&upper)?;
        if lowers.is_empty() || lowers.contains(&upper) {
            let text = format!("`{}` needs a layer of another place below it", upper.display());
            return Err(Error::new(ErrorKind::InvalidArgument, text));
        }
        Ok(Self { lowers, upper })
    }

    /// Reads a location, as LXC writes it too.
    ///
    /// # Errors
    /// As [`Self::new`]; also when there is no colon.
    pub(crate) fn parse(location: &str) -> Result<Self> {
        let Some((lowers, upper)) = location.rsplit_once(':') else {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("`{location}` names only one directory"),
            )
            .with_hint("write `overlay:LOWER[:LOWER…]:UPPER`, topmost lower first"));
        };
        Self::new(lowers.split(':').map(PathBuf::from).collect(), PathBuf::from(upper))
    }

    /// Reads the layers of a volume of ours.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub(crate) fn of(volume: &Volume) -> Result<Self> {
        Self::parse(volume.source.location())
    }

    /// Returns the layers that a clone of `origin` stands upon: all of them, so that the list stays flat.
    ///
    /// # Errors
    /// `Unsupported` for a volume that is not in directories.
    pub(crate) fn upon(origin: &Volume) -> Result<Vec<PathBuf>> {
        let kind = origin.kind().as_str();
        if kind == KIND {
            let Self { lowers, upper } = Self::of(origin)?;
            return Ok(std::iter::once(upper).chain(lowers).collect());
        }
        if DIRECTORIES.contains(&kind) {
            return Ok(vec![PathBuf::from(origin.source.location())]);
        }
        Err(Error::new(
            ErrorKind::Unsupported,
            format!("an overlay cannot stand upon `{}`: it is not a directory", origin.source),
        )
        .with_hint("clone within its own store: leave `--bdev` out, or copy: `keiki clone --copy`"))
    }

    /// Returns how many volumes it stands upon. A created volume at the bottom has two layers but is one volume.
    pub(crate) fn depth(&self) -> usize {
        let count = self.lowers.len();
        let (above, bottom) = match self.lowers.as_slice() {
            [.., above, bottom] => (above, bottom),
            [bottom] => (&self.upper, bottom),
            [] => return 0,
        };
        let pair = Self { lowers: vec![bottom.clone()], upper: above.clone() };
        if pair.own_base().is_some() { count - 1 } else { count }
    }

    /// Returns the kernel's scratch directory beside the upper layer: `delta-x` has `work-x`, LXC's old `delta0` has
    /// `olwork`, and every other name has LXC's `work`.
    pub(crate) fn work(&self) -> PathBuf {
        let name = self.upper.file_name().unwrap_or_default().to_string_lossy();
        let work = match name.strip_prefix("delta") {
            Some("0") => "olwork".to_owned(),
            Some(rest) => format!("work{rest}"),
            None => "work".to_owned(),
        };
        self.upper.with_file_name(work)
    }

    /// Returns the directory of the container or snapshot that the upper layer belongs to.
    pub(crate) fn home(&self) -> &Path {
        home_of(&self.upper).unwrap_or(&self.upper)
    }

    /// Returns the base that a created volume brings along: its only lower, at the place where `place` puts a base.
    ///
    /// Whether it really belongs to the volume, its mark decides.
    pub(crate) fn own_base(&self) -> Option<&Path> {
        let name = self.upper.file_name()?.to_str()?;
        let expected = match name.strip_prefix("delta-") {
            Some(short) => self.home().join("overlay").join(format!("base-{short}")),
            None => self.home().join("rootfs"),
        };
        match self.lowers.as_slice() {
            [only] if *only == expected => Some(only),
            _ => None,
        }
    }
}

impl fmt::Display for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for lower in &self.lowers {
            write!(f, "{}:", lower.display())?;
        }
        write!(f, "{}", self.upper.display())
    }
}

/// Returns the directory of the container or snapshot that a layer belongs to, from its path.
fn home_of(layer: &Path) -> Option<&Path> {
    let above = layer.parent()?;
    if above.file_name().is_some_and(|name| name == "overlay") { above.parent() } else { Some(above) }
}

/// Returns the directory of the container to which a container's or a snapshot's directory belongs.
fn container_of(home: &Path) -> &Path {
    match home.parent() {
        Some(snapshots) if snapshots.ends_with("snaps") => snapshots.parent().unwrap_or(home),
        _ => home,
    }
}

/// Names the container or snapshot that a layer belongs to, from its path: `web1`, `web1@snap0`.
pub(crate) fn owner_of(layer: &Path) -> Option<String> {
    let home = home_of(layer)?;
    let container = container_of(home);
    let name = |path: &Path| Some(path.file_name()?.to_string_lossy().into_owned());
    if container == home { name(home) } else { Some(format!("{}@{}", name(container)?, name(home)?)) }
}

/// Returns where a layer is that was noted before the container of `home`, which it belonged to, was renamed.
pub(crate) fn after_rename(layer: &Path, home: &Path) -> Option<PathBuf> {
    let (old, new) = (container_of(home_of(layer)?), container_of(home));
    let is_beside = old != new && old.parent() == new.parent();
    is_beside.then(|| layer.strip_prefix(old).ok().map(|rest| new.join(rest)))?
}

fn check(path: &Path) -> Result<()> {
    let refused = |why: &str, hint: &str| {
        Err(Error::new(ErrorKind::InvalidArgument, format!("`{}` cannot be a layer: {why}", path.display()))
            .with_hint(hint))
    };
    let Some(text) = path.to_str() else {
        return refused("its name is not UTF-8", "choose an lxcpath whose name is UTF-8");
    };
    if text.contains(':') {
        return refused("layers are separated by `:`", "choose an lxcpath and names without `:`");
    }
    if is_plain(path) {
        Ok(())
    } else {
        refused("its path is not absolute", "write absolute paths without `..`")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn locations_are_read_and_printed_as_lxc_writes_them() {
        let table = [
            ("/l:/u", vec!["/l"], "/u"),
            ("/l1:/l2:/l3:/u", vec!["/l1", "/l2", "/l3"], "/u"),
            ("/a b,c/l:/ü/u", vec!["/a b,c/l"], "/ü/u"),
        ];
        for (text, lowers, upper) in table {
            let layers = Layers::parse(text).unwrap();
            assert_eq!(layers.lowers, lowers.iter().map(PathBuf::from).collect::<Vec<_>>());
            assert_eq!(layers.upper, Path::new(upper));
            assert_eq!(layers.to_string(), text);
        }
        for bad in
            ["", "/l", ":/u", "/l:", "l:/u", "/l:u", "/l::/u", "/a:b/l:/u", "/../l:/u", "/l:/", "/x:/x"]
        {
            assert_eq!(Layers::parse(bad).unwrap_err().kind(), ErrorKind::InvalidArgument, "{bad}");
        }
    }

    #[test]
    fn scratch_home_and_base_follow_from_the_upper_layer() {
        let table = [
            ("/p/a/rootfs:/p/a/overlay/delta", "/p/a/overlay/work", "/p/a", Some("/p/a/rootfs")),
            (
                "/p/a/overlay/base-1:/p/a/overlay/delta-1",
                "/p/a/overlay/work-1",
                "/p/a",
                Some("/p/a/overlay/base-1"),
            ),
            ("/p/b/rootfs:/p/a/overlay/delta", "/p/a/overlay/work", "/p/a", None),
            ("/p/ab/rootfs:/p/a/overlay/delta", "/p/a/overlay/work", "/p/a", None),
            ("/p/a/overlay/delta:/p/a/rootfs:/p/a/overlay/delta-2", "/p/a/overlay/work-2", "/p/a", None),
            ("/p/b/rootfs:/p/a/delta0", "/p/a/olwork", "/p/a", None),
            ("/p/a/snaps/s/rootfs:/p/a/overlay/delta-2", "/p/a/overlay/work-2", "/p/a", None),
            ("/p/a/rootfs:/p/a/delta0", "/p/a/olwork", "/p/a", Some("/p/a/rootfs")),
            ("/x:/srv/upper", "/srv/work", "/srv", None),
        ];
        for (text, work, home, base) in table {
            let layers = Layers::parse(text).unwrap();
            assert_eq!(layers.work(), Path::new(work), "{text}");
            assert_eq!(layers.home(), Path::new(home), "{text}");
            assert_eq!(layers.own_base(), base.map(Path::new), "{text}");
        }
    }

    #[test]
    fn the_owner_of_a_layer_is_told_from_its_path() {
        let table = [
            ("/p/web1/rootfs", Some("web1")),
            ("/p/web1/overlay/delta", Some("web1")),
            ("/p/web1/overlay/delta-1", Some("web1")),
            ("/p/web1/delta0", Some("web1")),
            ("/p/web1/snaps/snap0/overlay/delta", Some("web1@snap0")),
            ("/p/web1/snaps/snap0/rootfs", Some("web1@snap0")),
            ("/", None),
        ];
        for (path, owner) in table {
            assert_eq!(owner_of(Path::new(path)).as_deref(), owner, "{path}");
        }
    }

    #[test]
    fn layers_move_with_the_container_that_they_belong_to() {
        let table = [
            ("/p/old/overlay/delta", "/p/new/snaps/s", Some("/p/new/overlay/delta")),
            ("/p/old/snaps/t/overlay/delta", "/p/new", Some("/p/new/snaps/t/overlay/delta")),
            ("/p/old/rootfs", "/p/new/snaps/s", Some("/p/new/rootfs")),
            ("/p/new/rootfs", "/p/new/snaps/s", None),
            ("/q/old/rootfs", "/p/new/snaps/s", None),
        ];
        for (layer, home, expected) in table {
            assert_eq!(
                after_rename(Path::new(layer), Path::new(home)).as_deref(),
                expected.map(Path::new),
                "{layer}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(paths in proptest::collection::vec("/[a-z ,=%é]{1,12}/[a-z]{1,5}", 2..70)) {
            let (upper, lowers) = paths.split_last().unwrap();
            if let Ok(layers) = Layers::new(lowers.iter().map(PathBuf::from).collect(), PathBuf::from(upper)) {
                prop_assert_eq!(Layers::parse(&layers.to_string()).unwrap(), layers);
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".*") {
            drop(Layers::parse(&text));
        }
    }
}
