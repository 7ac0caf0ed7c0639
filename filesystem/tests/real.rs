//! On real file systems, made by the real tools in image files; growing needs loop devices and root.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests say what they expect")]

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Command;

use keiki_core::ErrorKind;
use keiki_core::context::Context;
use keiki_core::units::Bytes;
use keiki_filesystem::{
    Duplicate, FileSystemType, Labels, Reached, Repair, check, grow, make, mount_options, parse, probe,
    renew_uuid, shrink,
};

const MIB: u64 = 1 << 20;

struct Ground(tempfile::TempDir);

impl Ground {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Makes an image of the smallest size and a bit, with its file system; `None` without the tool.
    fn image(&self, fstype: FileSystemType) -> Option<(PathBuf, u64)> {
        if let Err(error) = fstype.require_tools() {
            println!("skipped: needs {} ({error})", fstype.package());
            return None;
        }
        let size = fstype.minimum().0.next_multiple_of(MIB) + 14 * MIB;
        let path = self.0.path().join(fstype.as_str());
        sized(&path, size);
        make(&Context::default(), fstype, &path, Labels::default()).unwrap();
        Some((path, size))
    }
}

fn sized(path: &Path, size: u64) {
    OpenOptions::new().create(true).append(true).open(path).unwrap().set_len(size).unwrap();
}

fn blkid(path: &Path, what: &str) -> Option<String> {
    let out =
        Command::new("/usr/sbin/blkid").args(["-p", "-o", "value", "-s", what]).arg(path).output().ok()?;
    Some(String::from_utf8(out.stdout).ok()?.trim().to_owned())
}

#[test]
fn what_mkfs_made_is_recognised_with_the_identity_and_size_that_blkid_sees() {
    let ground = Ground::new();
    for fstype in FileSystemType::ALL {
        let Some((image, size)) = ground.image(fstype) else { continue };
        let found = probe(&image).unwrap().unwrap();
        assert_eq!((found.fstype, found.size.0), (fstype, size), "{fstype}");
        if let Some(seen) = blkid(&image, "UUID") {
            assert_eq!(found.uuid.to_string(), seen, "{fstype}");
            assert_eq!(blkid(&image, "TYPE").as_deref(), Some(fstype.as_str()));
        }
    }
}

#[test]
fn identity_and_name_are_taken_when_they_are_given() {
    let ground = Ground::new();
    for fstype in FileSystemType::ALL {
        let Some((image, _)) = ground.image(fstype) else { continue };
        let uuid = "12345678-9abc-4def-8123-456789abcdef".parse().unwrap();
        make(&Context::default(), fstype, &image, Labels { uuid: Some(uuid), label: Some("web1") }).unwrap();
        assert_eq!(probe(&image).unwrap().unwrap().uuid, uuid);
        if let Some(seen) = blkid(&image, "LABEL") {
            assert_eq!(seen, "web1");
        }
    }
}

#[test]
fn a_new_file_system_hides_the_old_one_of_every_other_type() {
    let ground = Ground::new();
    let image = ground.0.path().join("image");
    sized(&image, FileSystemType::Xfs.minimum().0 + 20 * MIB);
    for from in FileSystemType::ALL {
        for to in FileSystemType::ALL {
            for fstype in [from, to] {
                if fstype.require_tools().is_err() {
                    return println!("skipped: needs {}", fstype.package());
                }
                make(&Context::default(), fstype, &image, Labels::default()).unwrap();
            }
            assert_eq!(probe(&image).unwrap().map(|found| found.fstype), Some(to), "{from} then {to}");
        }
    }
}

#[test]
fn a_new_ext4_is_empty_and_checks_and_resizes_leave_it_so() {
    let ground = Ground::new();
    let Some((image, _)) = ground.image(FileSystemType::Ext4) else { return };
    let listed = || {
        let out = Command::new("/usr/sbin/debugfs").args(["-R", "ls -p /"]).arg(&image).output().unwrap();
        String::from_utf8(out.stdout).unwrap()
    };
    assert!(listed().contains("/./") && !listed().contains("lost+found"), "{}", listed());
    check(&Context::default(), FileSystemType::Ext4, &image, Repair::Safe).unwrap();
    shrink(&Context::default(), FileSystemType::Ext4, &image, Bytes(12 * MIB)).unwrap();
    grow(&Context::default(), FileSystemType::Ext4, Reached::Device(&image)).unwrap();
    assert!(!listed().contains("lost+found"), "{}", listed());
    check(&Context::default(), FileSystemType::Ext4, &image, Repair::Nothing).unwrap();
}

#[test]
fn what_is_none_of_the_three_is_not_guessed() {
    let ground = Ground::new();
    let image = ground.0.path().join("image");
    for size in [0, 1, 1080, 4 * MIB] {
        sized(&image, size);
        assert_eq!(probe(&image).unwrap(), None);
    }
    fs::write(&image, vec![0xFF; 1 << 20]).unwrap();
    assert_eq!(probe(&image).unwrap(), None);
    assert_eq!(parse(b"XFSB"), None);
    assert_eq!(probe(&ground.0.path().join("missing")).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_device_that_is_too_small_is_refused_with_the_size_to_choose_and_left_alone() {
    let ground = Ground::new();
    for fstype in FileSystemType::ALL {
        let image = ground.0.path().join(format!("small-{fstype}"));
        sized(&image, MIB);
        let error = make(&Context::default(), fstype, &image, Labels::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        assert!(error.hints()[0].contains("at least"), "{error:?}");
        assert_eq!(probe(&image).unwrap(), None);
    }
}

#[test]
fn a_copy_gets_an_identity_of_its_own_and_is_still_in_order() {
    let ground = Ground::new();
    for fstype in FileSystemType::ALL {
        let Some((image, _)) = ground.image(fstype) else { continue };
        let before = probe(&image).unwrap().unwrap();
        renew_uuid(&Context::default(), fstype, &image).unwrap();
        let after = probe(&image).unwrap().unwrap();
        assert_ne!(before.uuid, after.uuid, "{fstype}");
        assert_eq!(before.size, after.size);
        check(&Context::default(), fstype, &image, Repair::Nothing).unwrap();
    }
    assert_eq!(mount_options(FileSystemType::Xfs, Duplicate::Possible), ["nouuid"]);
    assert!(mount_options(FileSystemType::Xfs, Duplicate::No).is_empty());
}

#[test]
fn damage_is_found_and_the_remedy_named() {
    let ground = Ground::new();
    for fstype in FileSystemType::ALL {
        let Some((image, size)) = ground.image(fstype) else { continue };
        check(&Context::default(), fstype, &image, Repair::Safe).unwrap();
        // Everything behind the first superblock is overwritten.
        let wiped = vec![0xA5; usize::try_from(size / 2).unwrap()];
        let file = OpenOptions::new().write(true).open(&image).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &wiped, 0x1_1000).unwrap();
        let error = check(&Context::default(), fstype, &image, Repair::Nothing).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
        assert!(error.hints()[0].contains(image.to_str().unwrap()), "{error:?}");
    }
}

#[test]
fn only_ext4_shrinks_and_never_below_what_it_holds() {
    let ground = Ground::new();
    for fstype in FileSystemType::ALL {
        let Some((image, size)) = ground.image(fstype) else { continue };
        let context = Context::default();
        if fstype != FileSystemType::Ext4 {
            let error = shrink(&context, fstype, &image, Bytes(size / 2)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            continue;
        }
        let reached = shrink(&context, fstype, &image, Bytes(12 * MIB)).unwrap();
        assert!(reached.0 <= 12 * MIB && reached.0 > 11 * MIB, "{reached:?}");
        sized(&image, reached.0);
        check(&context, fstype, &image, Repair::Nothing).unwrap();
        let error = shrink(&context, fstype, &image, Bytes(64 << 10)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error:?}");
        check(&context, fstype, &image, Repair::Nothing).unwrap();
    }
}

/// A loop device that goes with the value.
struct Device(PathBuf);

impl Device {
    fn on(image: &Path) -> Option<Self> {
        let out = Command::new("/usr/sbin/losetup").args(["--show", "-f"]).arg(image).output().ok()?;
        let path = PathBuf::from(String::from_utf8(out.stdout).ok()?.trim());
        out.status.success().then_some(Self(path))
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _gone = Command::new("/usr/sbin/losetup").arg("-d").arg(&self.0).status();
    }
}

#[test]
fn every_type_grows_on_its_device_and_while_it_is_mounted() {
    let ground = Ground::new();
    for fstype in FileSystemType::ALL {
        let Some((image, size)) = ground.image(fstype) else { continue };
        let context = Context::default();
        // The kernel resizes no btrfs to less than 256 MiB.
        let size = size.max(224 * MIB);
        sized(&image, size + 64 * MIB);
        let Some(device) = Device::on(&image) else {
            return println!("skipped: needs loop devices and root");
        };
        let grown = match grow(&context, fstype, Reached::Device(&device.0)) {
            Err(error) if error.kind() == ErrorKind::Unavailable => {
                println!("skipped: needs {fstype} in the kernel ({error:?})");
                continue;
            }
            other => other.unwrap(),
        };
        assert_eq!(grown.0, size + 64 * MIB, "{fstype}");
        assert_eq!(grow(&context, fstype, Reached::Device(&device.0)).unwrap(), grown, "again");
        assert_eq!(probe(&image).unwrap().unwrap().size, grown);
        let plan = keiki_core::mount_plan::MountPlan {
            recipe: keiki_core::mount_plan::MountRecipe::Filesystem {
                fstype: fstype.to_string(),
                device: device.0.to_str().unwrap().to_owned(),
                options: mount_options(fstype, Duplicate::Possible),
            },
            read_only: false,
        };
        let mount = keiki_core::mount_plan::execute(&plan).unwrap();
        sized(&image, size + 96 * MIB);
        assert!(Command::new("/usr/sbin/losetup").arg("-c").arg(&device.0).status().unwrap().success());
        match grow(&context, fstype, Reached::Mounted(std::os::fd::AsFd::as_fd(&mount))) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                println!("skipped: needs CAP_SYS_RESOURCE to grow a mounted {fstype}");
            }
            grown => assert_eq!(grown.unwrap().0, size + 96 * MIB, "{fstype}, mounted"),
        }
        drop(mount);
        drop(device);
        check(&context, fstype, &image, Repair::Nothing).unwrap();
    }
}
