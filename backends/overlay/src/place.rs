//! The two objects of a volume: its upper layer, and the base that it may bring along.
//!
//! Each is made and removed aside under a name of its own, so that an interrupted attempt is told apart.

use keiki_core::Result;
use keiki_core::homes::{Place, Shape};
use keiki_core::volume::VolumeId;

use crate::layers::Layers;

/// Opens the directory above the upper layer; `None` when even that is not there.
pub(crate) fn upper(layers: &Layers, id: VolumeId) -> Result<Option<Place>> {
    Place::open(&layers.upper, id, Shape::Directory)
}

/// Opens the directory above the volume's own base; `None` when it has none, or even that is not there.
pub(crate) fn base(layers: &Layers, id: VolumeId) -> Result<Option<Place>> {
    let Some(path) = layers.own_base() else { return Ok(None) };
    let place = Place::open(path, id, Shape::Directory)?;
    Ok(place.map(|place| place.called_aside(format!(".keiki-base-{id}"))))
}
