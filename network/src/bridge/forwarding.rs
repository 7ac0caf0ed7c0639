//! The host's forwarding: switched on while the network is up, and put back afterwards.
//!
//! What it was is written down before it is changed. Only what we changed is put back, and only if nobody changed it since.

use std::fs;

use keiki_core::{Error, ErrorKind, Result, ResultExt};
use serde::{Deserialize, Serialize};

use super::{Places, Settings, file};

pub(super) const IPV4: &str = "/proc/sys/net/ipv4/ip_forward";
const IPV6: &str = "/proc/sys/net/ipv6/conf/all/forwarding";

/// What a setting of the kernel's was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Before {
    path: String,
    value: String,
}

/// Switches forwarding on.
pub(super) fn switch_on(settings: &Settings, places: &Places) -> Result<()> {
    let wanted = [Some(IPV4), settings.ipv6.map(|_| IPV6)];
    let mut before = read_record(settings, places)?;
    for path in wanted.into_iter().flatten() {
        let value = read(path)?;
        if value == "1" {
            continue;
        }
        if !before.iter().any(|known| known.path == path) {
            before.push(Before { path: path.to_owned(), value });
            write_record(settings, places, &before)?;
        }
        write(path, "1")?;
    }
    Ok(())
}

/// Returns whether something is to be put back.
pub(super) fn is_changed(settings: &Settings, places: &Places) -> bool {
    file(&places.run, settings, "json").exists()
}

/// Puts back what [`switch_on`] changed.
pub(super) fn restore(settings: &Settings, places: &Places) -> Result<()> {
    for before in read_record(settings, places)? {
        if read(&before.path)? == "1" {
            write(&before.path, &before.value)?;
        }
    }
    let path = file(&places.run, settings, "json");
    match fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).or_err(|| format!("cannot remove `{}`", path.display()))
        }
        _ => Ok(()),
    }
}

/// Returns whether a setting is on.
pub(super) fn is_on(path: &str) -> bool {
    read(path).is_ok_and(|value| value == "1")
}

fn read(path: &str) -> Result<String> {
    let text = fs::read_to_string(path).or_err(|| format!("cannot read `{path}`"))?;
    Ok(text.trim().to_owned())
}

fn write(path: &str, value: &str) -> Result<()> {
    fs::write(path, value).or_err(|| format!("cannot write `{value}` to `{path}`"))
}

fn read_record(settings: &Settings, places: &Places) -> Result<Vec<Before>> {
    let path = file(&places.run, settings, "json");
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).or_err(|| format!("cannot read `{}`", path.display())),
    };
    serde_json::from_slice(&text).map_err(|error| {
        Error::new(ErrorKind::Corrupt, format!("cannot understand `{}`", path.display()))
            .with_source(error)
            .with_hint("remove it: the host's forwarding stays as it is then")
    })
}

fn write_record(settings: &Settings, places: &Places, before: &[Before]) -> Result<()> {
    let path = file(&places.run, settings, "json");
    let staged = file(&places.run, settings, "json.new");
    let cannot = || format!("cannot write `{}`", path.display());
    let text = serde_json::to_vec(before)
        .map_err(|error| Error::new(ErrorKind::Internal, cannot()).with_source(error))?;
    fs::write(&staged, text).or_err(cannot)?;
    // Memory only: it is gone with the boot, and so is what it tells of.
    fs::rename(&staged, &path).or_err(cannot)
}
