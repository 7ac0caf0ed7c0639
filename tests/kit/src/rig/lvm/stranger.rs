//! A logical volume that is somebody else's: its identity and every byte must stay.

use std::fs::OpenOptions;
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use keiki_core::volume::Volume;

use super::super::{Missing, Stranger};
use super::disk::lvm;
use super::full_name;
use crate::claim_eq;
use crate::verdict::{Failure, Verdict};

#[derive(Debug)]
struct Watched {
    name: String,
    device: PathBuf,
    before: Seen,
}

#[derive(Debug, PartialEq, Eq)]
struct Seen {
    facts: String,
    content: u64,
}

/// Writes something into a new volume that is active, deactivates and watches it.
pub(super) fn planted(volume: &Volume) -> Result<Box<dyn Stranger>, Missing> {
    let written = OpenOptions::new()
        .write(true)
        .open(volume.source.location())
        .and_then(|mut device| device.write_all(b"data of somebody else").and_then(|()| device.sync_all()));
    written.map_err(|e| Missing(format!("a device that can be written ({e})")))?;
    lvm(&["lvchange", "-y", "-an", &full_name(volume)]).map_err(Missing)?;
    watched(volume)
}

/// Watches a volume that is not active.
pub(super) fn watched(volume: &Volume) -> Result<Box<dyn Stranger>, Missing> {
    let (name, device) = (full_name(volume), PathBuf::from(volume.source.location()));
    let before =
        look(&name, &device).map_err(|said| Missing(format!("a volume that can be read ({said})")))?;
    Ok(Box::new(Watched { name, device, before }))
}

fn look(name: &str, device: &Path) -> Result<Seen, String> {
    let facts = lvm(&["lvs", "--noheadings", "-o", "lv_uuid,lv_size,lv_active,origin", name])?;
    lvm(&["lvchange", "-y", "-ay", "-K", name])?;
    let content = hash(device).map_err(|e| e.to_string());
    lvm(&["lvchange", "-y", "-an", name])?;
    Ok(Seen { facts, content: content? })
}

fn hash(device: &Path) -> io::Result<u64> {
    let (mut file, mut hasher) = (std::fs::File::open(device)?, DefaultHasher::new());
    let mut block = vec![0; 1 << 20];
    loop {
        match file.read(&mut block)? {
            0 => return Ok(hasher.finish()),
            length => hasher.write(&block[..length]),
        }
    }
}

impl Stranger for Watched {
    fn expect_untouched(&self) -> Verdict<()> {
        let after = look(&self.name, &self.device).map_err(Failure::new)?;
        claim_eq!(after, self.before, "what is not ours");
        Ok(())
    }
}
