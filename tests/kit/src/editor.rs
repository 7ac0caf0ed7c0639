//! [`LineEditor`]: the little that the engine asks of a configuration file, line by line.
//!
//! The kit proves stores and the engine, not the configuration language, and an author of a store outside this tree need
//! not build the rest of Keiki for it.

use std::path::Path;

use keiki_core::Result;
use keiki_core::engine::{CloneConfig, ConfigEditor, Identity, Payload};

/// Edits `key = value` lines.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LineEditor;

const ROOTFS: &str = "lxc.rootfs.path";

fn value<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let (name, value) = line.split_once('=')?;
    (name.trim() == key).then(|| value.trim())
}

fn with(config: &str, key: &str, text: &str) -> String {
    let kept = config.lines().filter(|line| value(line, key).is_none()).map(str::to_owned);
    let lines: Vec<String> = kept.chain([format!("{key} = {text}")]).collect();
    lines.join("\n") + "\n"
}

impl ConfigEditor for LineEditor {
    fn rootfs(&self, config: &[u8], _file: &Path) -> Result<Option<String>> {
        let text = String::from_utf8_lossy(config);
        Ok(text.lines().filter_map(|line| value(line, ROOTFS)).next_back().map(str::to_owned))
    }

    fn with_rootfs(&self, config: &[u8], source: &str) -> Result<Vec<u8>> {
        Ok(with(&String::from_utf8_lossy(config), ROOTFS, source).into_bytes())
    }

    fn companions(&self, _config: &[u8], _home: &Path) -> Result<Vec<std::path::PathBuf>> {
        Ok(Vec::new())
    }

    fn for_clone(&self, config: &[u8], request: &CloneConfig<'_>) -> Result<Vec<u8>> {
        let mut text = with(&String::from_utf8_lossy(config), ROOTFS, request.source);
        if request.identity == Identity::Fresh {
            text = with(&text, "lxc.uts.name", request.name.as_str());
        }
        if request.payload != Payload::Persistent {
            text = with(&text, "lxc.ephemeral", "1");
        }
        Ok(text.into_bytes())
    }
}
