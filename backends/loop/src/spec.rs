//! What users may ask of the loop store: `fstype` and `fssize`, as LXC's `--fstype` and `--fssize`.

use keiki_core::units::Bytes;
use keiki_core::volume::Properties;
use keiki_core::{Error, ErrorKind, Result};
use keiki_filesystem::FileSystemType;

const FSTYPE: &str = "fstype";
/// The option that says how large.
pub(crate) const FSSIZE: &str = "fssize";

/// What LXC makes when it is told nothing.
const DEFAULT_TYPE: FileSystemType = FileSystemType::Ext4;
const DEFAULT_SIZE: Bytes = Bytes(1 << 30);

/// Images are whole numbers of these: the largest block size of the file systems in them.
const GRAIN: u64 = 4096;

/// Checked options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spec {
    /// The file system that was asked for.
    pub(crate) fstype: Option<FileSystemType>,
    /// The size that was asked for, rounded.
    pub(crate) size: Option<Bytes>,
}

impl Spec {
    /// Checks the options of a user.
    pub(crate) fn parse(options: &Properties) -> Result<Self> {
        if let Some(unknown) = options.keys().find(|name| ![FSTYPE, FSSIZE].contains(&name.as_str())) {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("the loop store has no option `{unknown}`"),
            )
            .with_hint("its options are `fstype` (ext4, xfs or btrfs) and `fssize` (for example `10G`)"));
        }
        let fstype = options.get(FSTYPE).map(|word| word.parse::<FileSystemType>()).transpose()?;
        let size = options.get(FSSIZE).map(|text| text.parse::<Bytes>()).transpose()?;
        let spec = Self { fstype, size: size.map(rounded).transpose()? };
        spec.refuse_small()?;
        Ok(spec)
    }

    /// Returns the file system of a new image.
    pub(crate) fn new_type(self) -> FileSystemType {
        self.fstype.unwrap_or(DEFAULT_TYPE)
    }

    /// Returns the size of a new image.
    pub(crate) fn new_size(self) -> Bytes {
        self.size.unwrap_or(DEFAULT_SIZE)
    }

    fn refuse_small(self) -> Result<()> {
        let (fstype, size, minimum) = (self.new_type(), self.new_size(), self.new_type().minimum());
        if size >= minimum {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::InvalidArgument,
            format!("{} bytes are too few for {fstype}, which needs {}", size.0, minimum.0),
        )
        .with_hint(format!("choose an `fssize` of at least {}M", minimum.0.div_ceil(1 << 20))))
    }
}

/// Rounds a size up to what an image can have.
pub(crate) fn rounded(size: Bytes) -> Result<Bytes> {
    let whole = size.0.checked_next_multiple_of(GRAIN).filter(|size| i64::try_from(*size).is_ok());
    whole.filter(|size| *size > 0).map(Bytes).ok_or_else(|| {
        Error::new(ErrorKind::InvalidArgument, format!("{} bytes are no size for an image", size.0))
            .with_hint("write a whole number with M, G or T behind it, for example `10G`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(pairs: &[(&str, &str)]) -> Result<Spec> {
        let options = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Spec::parse(&options.collect())
    }

    #[test]
    fn what_is_not_said_is_as_in_lxc() {
        let spec = parsed(&[]).unwrap();
        assert_eq!((spec.new_type(), spec.new_size()), (FileSystemType::Ext4, Bytes(1 << 30)));
    }

    #[test]
    fn options_are_accepted_rounded_and_refused_by_one_table() {
        for (options, fstype, size) in [
            (&[("fssize", "32M")][..], FileSystemType::Ext4, 32 << 20),
            (&[("fssize", "20971521")], FileSystemType::Ext4, (20 << 20) + 4096),
            (&[("fstype", "xfs")], FileSystemType::Xfs, 1 << 30),
            (&[("fstype", "btrfs"), ("fssize", "1T")], FileSystemType::Btrfs, 1 << 40),
        ] {
            let spec = parsed(options).unwrap();
            assert_eq!((spec.new_type(), spec.new_size().0), (fstype, size), "{options:?}");
        }
        for bad in [
            &[("fstype", "ext3")][..],
            &[("fstype", "zfs")],
            &[("fssize", "0")],
            &[("fssize", "-1G")],
            &[("fssize", "1")],
            &[("fssize", "15E")],
            &[("fstype", "xfs"), ("fssize", "32M")],
            &[("fstype", "btrfs"), ("fssize", "100M")],
            &[("vgname", "vg")],
            &[("dir", "/srv")],
        ] {
            let error = parsed(bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{bad:?}");
            assert_eq!(error.hints().len(), 1, "{bad:?}");
        }
    }
}
