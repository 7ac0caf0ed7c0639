//! [`LxcConfigEditor`]: what the engine asks of a configuration, answered on its text.

use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use keiki_core::engine::{CloneConfig, ConfigEditor, Identity, Payload};
use keiki_core::{Error, ErrorKind, Result};

use crate::diagnostic::Diagnostics;
use crate::document::Document;

const ROOTFS: &str = "lxc.rootfs.path";

/// Edits LXC configuration text; every byte that need not change stays.
#[derive(Debug, Clone, Copy, Default)]
pub struct LxcConfigEditor;

impl ConfigEditor for LxcConfigEditor {
    fn rootfs(&self, config: &[u8], file: &Path) -> Result<Option<String>> {
        let document = Document::new(config);
        let entries = document.entries(&Arc::new(file.to_owned()));
        let wrong: Vec<_> = entries.into_iter().filter_map(Result::err).collect();
        if wrong.is_empty() {
            return Ok(document.get(ROOTFS).filter(|value| !value.is_empty()));
        }
        Err(Diagnostics(wrong).into())
    }

    fn with_rootfs(&self, config: &[u8], source: &str) -> Result<Vec<u8>> {
        require_one_line(source)?;
        let mut document = Document::new(config);
        document.set(ROOTFS, source);
        Ok(document.to_bytes())
    }

    fn for_clone(&self, config: &[u8], request: &CloneConfig<'_>) -> Result<Vec<u8>> {
        require_one_line(request.source)?;
        let (old, new) = (one_line(request.old_home)?, one_line(request.home)?);
        let mut document = Document::new(config);
        document.rewrite(|key, value| change(key, value, request, (old, new)));
        document.set(ROOTFS, request.source);
        if request.identity != Identity::Kept {
            document.set("lxc.uts.name", request.name.as_str());
        }
        match request.payload {
            Payload::Ephemeral | Payload::EphemeralInMemory => document.set("lxc.ephemeral", "1"),
            // A clone of something ephemeral is not; a renamed container stays what it was.
            Payload::Persistent if request.identity == Identity::Fresh => document.remove("lxc.ephemeral"),
            Payload::Persistent => {}
        }
        Ok(document.to_bytes())
    }

    fn companions(&self, config: &[u8], home: &Path) -> Result<Vec<PathBuf>> {
        let old = one_line(home)?.trim_end_matches('/');
        let mut paths = Vec::new();
        Document::new(config).rewrite(|key, value| {
            if has_companion(key) {
                paths.extend(paths_below(value, old));
            }
            None
        });
        paths.sort();
        paths.dedup();
        Ok(paths)
    }
}

/// Returns whether the value names a file that is read when the container starts or ends, so that a clone needs its own.
fn has_companion(key: &str) -> bool {
    key == "lxc.mount.fstab"
        || key == "lxc.mount"
        || key == "lxc.include"
        || key == "lxc.seccomp.profile"
        || key.starts_with("lxc.hook.")
}

/// Returns every path below the directory `old` that stands in a value.
fn paths_below(value: &str, old: &str) -> Vec<PathBuf> {
    let begins = |at: usize| value[..at].chars().next_back().is_none_or(is_around_paths);
    let found = value.match_indices(old).filter(|(at, _)| !old.is_empty() && begins(*at));
    let path = |(at, _): (usize, &str)| {
        let rest = &value[at + old.len()..];
        let end = rest.find(is_around_paths).unwrap_or(rest.len());
        rest.starts_with('/').then(|| PathBuf::from(format!("{old}{}", &rest[..end])))
    };
    found.filter_map(path).collect()
}

/// Returns the new value of one entry, or `None` when it stays.
fn change(key: &str, value: &str, request: &CloneConfig<'_>, (old, new): (&str, &str)) -> Option<String> {
    let identity = request.identity;
    // A clone mounts what its source mounts, as with LXC: only the layers of an overlay must be its own.
    let is_shared = key == "lxc.mount.entry" && !value.contains("upperdir=");
    if is_shared && identity != Identity::Renamed {
        return None;
    }
    if identity == Identity::Fresh && key.starts_with("lxc.net.") && key.ends_with(".hwaddr") {
        return fresh_hardware_address(value);
    }
    if key == ROOTFS || old == new {
        return None;
    }
    let moved = move_paths(value, old, new);
    (moved != value).then_some(moved)
}

/// Replaces every occurrence of the path `old` that ends at a component's end.
fn move_paths(value: &str, old: &str, new: &str) -> String {
    let old = old.trim_end_matches('/');
    if old.is_empty() {
        return value.to_owned();
    }
    let mut moved = String::with_capacity(value.len());
    let mut done = 0;
    for (at, _) in value.match_indices(old) {
        let (before, after) = (&value[..at], &value[at + old.len()..]);
        // `/srv/lib/lxc/a` is not below `/lib/lxc/a`, and `/lib/lxc/a2` is not either.
        let begins = before.chars().next_back().is_none_or(is_around_paths);
        let ends = after.chars().next().is_none_or(|next| next == '/' || is_around_paths(next));
        if begins && ends {
            moved.push_str(&value[done..at]);
            moved.push_str(new.trim_end_matches('/'));
            done = at + old.len();
        }
    }
    moved.push_str(&value[done..]);
    moved
}

/// Returns whether a path may begin behind this character, or end before it: in a mount's options or in a shell command.
fn is_around_paths(c: char) -> bool {
    c.is_whitespace()
        || matches!(c, ':' | ',' | '=' | ';' | '"' | '\'' | '`' | '(' | ')' | '<' | '>' | '|' | '&')
}

/// Returns another address with the same three first bytes; a template with `x` stays, LXC fills it at every load.
fn fresh_hardware_address(value: &str) -> Option<String> {
    let bytes: Vec<u8> =
        value.split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect::<Option<_>>()?;
    let [a, b, c, _, _, _] = bytes.as_slice() else { return None };
    // A hasher's keys are random for each map; that is all that is needed for an address.
    let [d, e, f, ..] = RandomState::new().hash_one(value).to_ne_bytes();
    Some(format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}"))
}

fn one_line(path: &Path) -> Result<&str> {
    let text = path.to_str().ok_or_else(|| {
        Error::new(
            ErrorKind::InvalidArgument,
            format!("`{}` is not UTF-8 and cannot stand in a config", path.display()),
        )
    })?;
    require_one_line(text)?;
    Ok(text)
}

/// A line break in a value would be a line of configuration of its own.
fn require_one_line(value: &str) -> Result<()> {
    if value.chars().any(char::is_control) {
        let shown = value.escape_default();
        return Err(Error::new(ErrorKind::InvalidArgument, format!("`{shown}` cannot stand in a config")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use keiki_core::name::ContainerName;

    use super::*;

    fn clone_of(config: &str, identity: Identity, payload: Payload) -> String {
        let name = ContainerName::parse("web1").unwrap();
        let request = CloneConfig {
            name: &name,
            old_home: Path::new("/var/lib/lxc/base"),
            home: Path::new("/var/lib/lxc/web1"),
            source: "dir:/var/lib/lxc/web1/rootfs",
            identity,
            payload,
        };
        String::from_utf8(LxcConfigEditor.for_clone(config.as_bytes(), &request).unwrap()).unwrap()
    }

    #[test]
    fn a_clone_gets_a_name_an_address_and_paths_of_its_own() {
        let text = clone_of(
            "# kept\nlxc.net.0.type = veth\nlxc.net.0.hwaddr = 00:16:3e:01:02:03\nlxc.net.1.hwaddr = 00:16:3e:xx:xx:xx\n\
             lxc.mount.entry = /var/lib/lxc/base/data data none bind 0 0\n\
             lxc.mount.entry = /var/lib/lxc/base2/data /srv/var/lib/lxc/base none bind 0 0\nlxc.uts.name = base\n\
             lxc.rootfs.path = dir:/var/lib/lxc/base/rootfs\nlxc.ephemeral = 1\n",
            Identity::Fresh,
            Payload::Persistent,
        );
        assert!(text.starts_with("# kept\nlxc.net.0.type = veth\nlxc.net.0.hwaddr = 00:16:3e:"));
        assert!(!text.contains("00:16:3e:01:02:03") && text.contains("00:16:3e:xx:xx:xx"));
        assert!(text.contains("lxc.mount.entry = /var/lib/lxc/base/data data none bind 0 0\n"));
        assert!(
            text.contains("lxc.mount.entry = /var/lib/lxc/base2/data /srv/var/lib/lxc/base none bind 0 0\n")
        );
        assert!(text.contains("lxc.uts.name = web1\nlxc.rootfs.path = dir:/var/lib/lxc/web1/rootfs\n"));
        assert!(!text.contains("ephemeral"));
    }

    #[test]
    fn a_renamed_container_finds_its_mounts_and_a_clone_shares_them_but_for_layers() {
        let plain = "lxc.mount.entry = /var/lib/lxc/base/data data none bind 0 0\n";
        let layers = "lxc.mount.entry = overlay srv overlay lowerdir=/srv,upperdir=/var/lib/lxc/base/up,workdir=/var/lib/lxc/base/work\n";
        let renamed = clone_of(plain, Identity::Renamed, Payload::Persistent);
        assert!(renamed.contains("= /var/lib/lxc/web1/data data"), "{renamed}");
        let cloned = clone_of(layers, Identity::Fresh, Payload::Persistent);
        assert!(cloned.contains("upperdir=/var/lib/lxc/web1/up,workdir=/var/lib/lxc/web1/work"), "{cloned}");
    }

    #[test]
    fn companions_are_files_of_the_home_that_are_read_and_not_what_is_mounted_or_written() {
        let config = b"lxc.mount.fstab = /c/a/fstab\nlxc.hook.start = /c/a/hooks/run.sh --now /c/ab/x\n\
            lxc.hook.stop = sh -c '/c/a/stop'\nlxc.log.file = /c/a/log\nlxc.mount.entry = /c/a/data data none bind\n";
        let found = LxcConfigEditor.companions(config, Path::new("/c/a")).unwrap();
        let expected = ["/c/a/fstab", "/c/a/hooks/run.sh", "/c/a/stop"].map(PathBuf::from);
        assert_eq!(found, expected);
    }

    #[test]
    fn paths_move_whole_wherever_they_stand() {
        for (value, moved) in [
            ("/a/b", "/n"),
            ("/a/b/", "/n/"),
            ("/a/b/c /a/b", "/n/c /n"),
            ("/a/bc /x/a/b /a/b.d", "/a/bc /x/a/b /a/b.d"),
            ("sh -c 'cat </a/b/x; ls \"/a/b\"'", "sh -c 'cat </n/x; ls \"/n\"'"),
            ("lowerdir=/a/b/l:/a/b/m,upperdir=/a/b/u", "lowerdir=/n/l:/n/m,upperdir=/n/u"),
            ("/a/b/a/b", "/n/a/b"),
            ("", ""),
        ] {
            assert_eq!(move_paths(value, "/a/b", "/n"), moved, "{value}");
        }
        assert_eq!(move_paths("/x", "", "/n"), "/x");
        assert_eq!(move_paths("/a/b/c", "/a/b/", "/n/"), "/n/c");
    }

    #[test]
    fn a_kept_identity_keeps_name_and_address_and_a_renamed_one_the_address() {
        let config = "lxc.uts.name = base\nlxc.net.0.hwaddr = 00:16:3e:01:02:03\n";
        let kept = clone_of(config, Identity::Kept, Payload::Ephemeral);
        assert!(kept.starts_with(config) && kept.ends_with("lxc.ephemeral = 1\n"));
        let renamed = clone_of(config, Identity::Renamed, Payload::Persistent);
        assert!(renamed.contains("lxc.uts.name = web1\nlxc.net.0.hwaddr = 00:16:3e:01:02:03\n"));
    }

    #[test]
    fn a_line_break_never_gets_into_a_config() {
        let error = LxcConfigEditor.with_rootfs(b"", "dir:/a\nlxc.hook.start = /bin/evil").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }

    #[test]
    fn the_rootfs_is_read_and_nonsense_is_told_with_its_place() {
        let file = Path::new("/c/config");
        let read = |text: &str| LxcConfigEditor.rootfs(text.as_bytes(), file);
        assert_eq!(read("lxc.rootfs.path = dir:/a\n").unwrap().as_deref(), Some("dir:/a"));
        assert_eq!(read("lxc.rootfs.path =\n").unwrap(), None);
        assert_eq!(read("").unwrap(), None);
        assert_eq!(read("lxc.x\n").unwrap_err().message(), "/c/config:1:1: `lxc.x` has no `=`");
    }
}
