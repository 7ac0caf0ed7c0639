//! The ownership mark: a tag of LVM's own metadata, which every command that changes something can select by.
//!
//! `keiki.partial=<id>` is given at creation where more has to be done, and `keiki.id=<id>` takes its place last, in one
//! change of the metadata. Where nothing more has to be done, `keiki.id` is given at creation.

use keiki_core::volume::VolumeId;

const COMPLETE: &str = "keiki.id=";
const PARTIAL: &str = "keiki.partial=";

/// What the tags of a logical volume say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// It is not ours.
    None,
    /// It was never finished.
    Partial(VolumeId),
    /// It is finished.
    Complete(VolumeId),
}

impl Mark {
    /// Reads a list of tags, as reports print it.
    pub(crate) fn parse(tags: &str) -> Self {
        let find = |front: &str| tags.split(',').find_map(|tag| tag.trim().strip_prefix(front)?.parse().ok());
        match (find(PARTIAL), find(COMPLETE)) {
            (Some(id), _) => Self::Partial(id),
            (None, Some(id)) => Self::Complete(id),
            (None, None) => Self::None,
        }
    }

    /// Returns whose it is.
    pub(crate) fn id(self) -> Option<VolumeId> {
        match self {
            Self::None => None,
            Self::Partial(id) | Self::Complete(id) => Some(id),
        }
    }
}

/// Returns the tag of a finished volume.
pub(crate) fn complete(id: VolumeId) -> String {
    format!("{COMPLETE}{id}")
}

/// Returns the tag of a volume in the making.
pub(crate) fn partial(id: VolumeId) -> String {
    format!("{PARTIAL}{id}")
}

/// Returns a selection of what carries either tag of `id`.
pub(crate) fn selection(id: VolumeId) -> String {
    format!("(lv_tags=\"{}\" || lv_tags=\"{}\")", complete(id), partial(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_ours_by_its_tag_alone_and_partial_as_long_as_it_says_so() {
        let id = VolumeId::generate();
        let (done, begun) = (complete(id), partial(id));
        assert_eq!(Mark::parse(&done), Mark::Complete(id));
        assert_eq!(Mark::parse(&format!("a,{begun},b")), Mark::Partial(id));
        assert_eq!(Mark::parse(&format!("{done},{begun}")), Mark::Partial(id));
        for none in ["", "a,b", "keiki.id=", "keiki.id=xyz", "xkeiki.id=0", "keiki"] {
            assert_eq!(Mark::parse(none), Mark::None, "{none}");
        }
    }
}
