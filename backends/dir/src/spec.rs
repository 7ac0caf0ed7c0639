//! What users may ask of the dir store: `dir`, another place for the directory (LXC's `--dir`).

use std::path::PathBuf;

use keiki_core::homes::is_plain;
use keiki_core::volume::Properties;
use keiki_core::{Error, ErrorKind, Result};

/// The only option.
const DIR: &str = "dir";

/// Checked options.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Spec {
    /// Where the directory is to be, instead of in the home.
    pub(crate) directory: Option<PathBuf>,
}

impl Spec {
    /// Checks the options of a user.
    pub(crate) fn parse(options: &Properties) -> Result<Self> {
        if let Some(unknown) = options.keys().find(|name| *name != DIR) {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("the dir store has no option `{unknown}`"),
            )
            .with_hint("its only option is `dir`, the directory to use instead of `rootfs`"));
        }
        let directory = options.get(DIR).map(PathBuf::from);
        if let Some(bad) = directory.as_deref().filter(|path| !is_plain(path)) {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("`{}` cannot be the directory of a container", bad.display()),
            )
            .with_hint("write an absolute path without `..`"));
        }
        Ok(Self { directory })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(pairs: &[(&str, &str)]) -> Properties {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn options_are_accepted_and_refused_by_one_table() {
        assert_eq!(Spec::parse(&options(&[])).unwrap().directory, None);
        let spec = Spec::parse(&options(&[("dir", "/srv/web1")])).unwrap();
        assert_eq!(spec.directory, Some(PathBuf::from("/srv/web1")));
        for bad in [("dir", ""), ("dir", "srv"), ("dir", "/"), ("dir", "/a/../b"), ("fssize", "1G")] {
            let error = Spec::parse(&options(&[bad])).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{bad:?}");
            assert_eq!(error.hints().len(), 1, "{bad:?}");
        }
    }
}
