//! A [`ConfigEditor`] that knows lines of the form `key = value`, and nothing else.

use std::path::Path;

use keiki_core::engine::{CloneConfig, ConfigEditor, Identity, Payload};
use keiki_core::{Error, ErrorKind, Result};

const ROOTFS: &str = "lxc.rootfs.path";

/// Edits line by line.
#[derive(Debug)]
pub(crate) struct Lines;

impl ConfigEditor for Lines {
    fn rootfs(&self, config: &[u8], file: &Path) -> Result<Option<String>> {
        let mut found = None;
        for (number, line) in text(config)?.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let Some((key, value)) = line.split_once('=') else {
                let place = format!("{}:{}:1: there is no `=`", file.display(), number + 1);
                return Err(Error::new(ErrorKind::InvalidArgument, place));
            };
            if key.trim() == ROOTFS {
                found = Some(value.trim().to_owned());
            }
        }
        Ok(found)
    }

    fn with_rootfs(&self, config: &[u8], source: &str) -> Result<Vec<u8>> {
        set(text(config)?, ROOTFS, source).map(String::into_bytes)
    }

    fn companions(&self, _config: &[u8], _home: &Path) -> Result<Vec<std::path::PathBuf>> {
        Ok(Vec::new())
    }

    fn for_clone(&self, config: &[u8], request: &CloneConfig<'_>) -> Result<Vec<u8>> {
        let (old, new) = (request.old_home.to_string_lossy(), request.home.to_string_lossy());
        let mut edited = String::new();
        for line in text(config)?.lines() {
            let inside = line.replace(&format!("{old}/"), &format!("{new}/"));
            edited.push_str(&inside);
            edited.push('\n');
        }
        edited = set(&edited, ROOTFS, request.source)?;
        if request.identity != Identity::Kept {
            edited = set(&edited, "lxc.uts.name", request.name.as_str())?;
        }
        if request.payload != Payload::Persistent {
            edited = set(&edited, "lxc.ephemeral", "1")?;
        }
        Ok(edited.into_bytes())
    }
}

fn text(config: &[u8]) -> Result<&str> {
    std::str::from_utf8(config)
        .map_err(|e| Error::new(ErrorKind::InvalidArgument, "the configuration is not UTF-8").with_source(e))
}

fn set(config: &str, key: &str, value: &str) -> Result<String> {
    let is_other = |line: &&str| line.split('=').next().map(str::trim) != Some(key);
    let mut edited: String = config.lines().filter(is_other).flat_map(|line| [line, "\n"]).collect();
    edited.push_str(&format!("{key} = {value}\n"));
    Ok(edited)
}
