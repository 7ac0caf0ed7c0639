//! Names of members: what they mean below the root, and whether they leave it.

/// Returns the name without `./` and repeated slashes; the root is empty.
pub(super) fn normalize(name: &[u8]) -> Result<Vec<u8>, String> {
    if name.is_empty() {
        return Err("it has no name".to_owned());
    }
    if name.len() > super::NAME_MAX {
        return Err("its name is longer than a path can be".to_owned());
    }
    if name.contains(&0) {
        return Err("its name holds a zero byte".to_owned());
    }
    if name.starts_with(b"/") {
        return Err("its name is absolute".to_owned());
    }
    let components: Vec<&[u8]> =
        name.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".").collect();
    if components.contains(&&b".."[..]) {
        return Err("its name contains `..`".to_owned());
    }
    Ok(components.join(&b'/'))
}

/// Returns whether a relative symbolic link at `path` climbs above the root.
pub(super) fn climbs(path: &[u8], target: &[u8]) -> bool {
    if target.starts_with(b"/") {
        return false;
    }
    let mut depth = path.iter().filter(|byte| **byte == b'/').count();
    for part in target.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." if depth == 0 => return true,
            b".." => depth -= 1,
            _ => depth += 1,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cleaned_or_refused() {
        for (name, clean) in [
            (&b"a"[..], Some(&b"a"[..])),
            (b"./a//b/./c/", Some(b"a/b/c")),
            (b"./", Some(b"")),
            (b"a/..b", Some(b"a/..b")),
            (b"/a", None),
            (b"a/../b", None),
            (b"..", None),
            (b"", None),
            (b"a\0b", None),
        ] {
            assert_eq!(normalize(name).ok().as_deref(), clean, "{}", name.escape_ascii());
        }
    }

    #[test]
    fn links_may_go_up_as_far_as_the_root() {
        for (path, target, out) in [
            (&b"a/b/c"[..], &b"../../x"[..], false),
            (b"a/b/c", b"../../../x", true),
            (b"a", b"/etc/passwd", false),
            (b"a", b"..", true),
            (b"a/b", b"x/../../y", false),
            (b"a/b", b"x/../../../y", true),
        ] {
            assert_eq!(climbs(path, target), out, "{} -> {}", path.escape_ascii(), target.escape_ascii());
        }
    }
}
