//! Whatever a configuration says, a clone's says the same of itself and nothing more.
#![expect(clippy::unwrap_used, reason = "helpers of tests say what they expect")]

use std::path::Path;

use keiki_config::{ContainerConfig, LxcConfigEditor};
use keiki_core::ErrorKind;
use keiki_core::engine::{CloneConfig, ConfigEditor, Identity, Payload};
use keiki_core::name::ContainerName;
use proptest::prelude::*;

/// Lines that a configuration may hold, some of them odd.
fn line() -> impl Strategy<Value = String> {
    let known = proptest::sample::select(
        &[
            "lxc.uts.name = old",
            "\tlxc.uts.name=\"old\"",
            "lxc.rootfs.path = dir:/lxc/old/rootfs",
            "lxc.rootfs.path =",
            "lxc.ephemeral = 1",
            "lxc.ephemeral =",
            "lxc.net.0.type = veth",
            "lxc.net.0.hwaddr = 00:16:3e:01:02:03",
            "lxc.net.0.hwaddr = 00:16:3e:xx:xx:xx",
            "lxc.net.0 =",
            "lxc.mount.entry = /lxc/old/data data none bind 0 0",
            "lxc.mount.fstab = '/lxc/old/fstab'",
            "lxc.hook.start = sh -c 'x </lxc/old/y'",
            "lxc.include = /does/not/exist.d/",
            "# lxc.rootfs.path = dir:/not/this",
            "martian",
            "",
        ][..],
    );
    let odd = "[ \t]{0,2}[#l]?xc?\\PC{0,12}";
    let end = proptest::sample::select(&["\n", "\n", "\r\n", " \n"][..]);
    (prop_oneof![4 => known.prop_map(str::to_owned), 1 => odd.prop_map(String::from)], end)
        .prop_map(|(line, end)| line + end)
}

fn identity() -> impl Strategy<Value = Identity> {
    proptest::sample::select(&[Identity::Fresh, Identity::Renamed, Identity::Kept][..])
}

fn clone(text: &str, source: &str, identity: Identity, payload: Payload) -> keiki_core::Result<Vec<u8>> {
    let name = ContainerName::parse("new").unwrap();
    let (old_home, home) = (Path::new("/lxc/old"), Path::new("/lxc/new"));
    let request = CloneConfig { name: &name, old_home, home, source, identity, payload };
    LxcConfigEditor.for_clone(text.as_bytes(), &request)
}

proptest! {
    #[test]
    fn a_clone_of_a_sound_configuration_is_sound_and_its_own(
        lines in proptest::collection::vec(line(), 0..14),
        source in "dir:/lxc/new/rootfs|overlay:/a b:/c \"d\"|[^\\p{Cc}]{1,20}",
        identity in identity(),
    ) {
        let text = lines.concat();
        let file = Path::new("/lxc/new/config");
        let cloned = clone(&text, &source, identity, Payload::Persistent).unwrap();
        if let Ok(before) = ContainerConfig::parse(text.as_bytes(), file) {
            let after = ContainerConfig::parse(&cloned, file).map_err(|all| TestCaseError::fail(all.to_string()))?;
            prop_assert_eq!(after.text("lxc.rootfs.path"), Some(source.as_str()));
            prop_assert_eq!(LxcConfigEditor.rootfs(&cloned, file).unwrap(), Some(source));
            if identity != Identity::Kept {
                prop_assert_eq!(after.text("lxc.uts.name"), Some("new"));
            }
            let others = |config: &ContainerConfig| -> Vec<(String, String)> {
                let ours = ["lxc.rootfs.path", "lxc.uts.name", "lxc.ephemeral", "lxc.net.0.hwaddr"];
                let settings = config.settings().iter().filter(|setting| !ours.contains(&setting.key.as_str()));
                settings.map(|setting| (setting.key.clone(), setting.value.replace("/lxc/old/", "/lxc/new/"))).collect()
            };
            prop_assert_eq!(others(&after), others(&before));
            let address = |config: &ContainerConfig| config.text("lxc.net.0.hwaddr").map(|text| text[..8].to_owned());
            prop_assert_eq!(address(&after), address(&before));
        }
        // Twice is once.
        if identity != Identity::Fresh {
            let text = String::from_utf8(cloned.clone()).unwrap();
            let source = ContainerConfig::parse(&cloned, file).ok().and_then(|c| c.text("lxc.rootfs.path").map(str::to_owned));
            if let Some(source) = source {
                prop_assert_eq!(clone(&text, &source, identity, Payload::Persistent).unwrap(), cloned);
            }
        }
    }

    #[test]
    fn no_control_character_of_a_request_gets_into_a_config(source in "\\PC{0,9}\\p{Cc}\\PC{0,9}") {
        let error = clone("lxc.uts.name = a\n", &source, Identity::Fresh, Payload::Ephemeral).unwrap_err();
        prop_assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        prop_assert!(LxcConfigEditor.with_rootfs(b"", &source).is_err());
    }
}
