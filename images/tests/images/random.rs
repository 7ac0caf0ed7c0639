//! Archives at random: members drawn from what is likely to be misread, and real archives with bytes changed.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;

use keiki_core::ErrorKind;
use keiki_core::context::Context;
use keiki_core::engine::Fill;
use keiki_images::scan::{Limits, scan};
use keiki_images::{Devices, Local};
use proptest::prelude::*;

use crate::forge::{Forged, archive, global, header, long, pax, record};

const NAMES: [&str; 14] =
    ["a", "b", "a/", "a/b", "./a", "a//b/", "l", "l/x", "b/c", "../x", "/x", "a/./b", "x y", "a\nb"];
const KINDS: &[u8] = b"000001223567SLKxgV\0";

fn name() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(&NAMES[..])
}

fn header_of(name: &str, kind: u8, link: &str, size: usize) -> Forged {
    header(name.as_bytes(), kind).link(link.as_bytes()).size(size)
}

/// Blocks that are shown without their zeros.
struct Blocks(Vec<u8>);

impl std::fmt::Debug for Blocks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let texts = self.0.split(|byte| *byte == 0).filter(|text| !text.is_empty());
        f.debug_list().entries(texts.map(|text| text.escape_ascii().to_string())).finish()
    }
}

fn part() -> impl Strategy<Value = Blocks> {
    let size = proptest::sample::select(&[0, 0, 0, 5, 512, 1024][..]);
    let member = (name(), proptest::sample::select(KINDS), name(), size, any::<bool>(), any::<bool>())
        .prop_map(|(name, kind, link, size, has_content, is_gnu)| {
            let header = header_of(name, kind, link, size);
            let header = if is_gnu { header.gnu() } else { header };
            if has_content { header.with(&vec![b'x'; size]) } else { header.done() }
        });
    let key = proptest::sample::select(
        &[
            "path",
            "linkpath",
            "size",
            "mtime",
            "comment",
            "GNU.sparse.name",
            "GNU.sparse.major",
            "GNU.sparse.realsize",
            "GNU.volume.label",
        ][..],
    );
    let value = prop_oneof![name().prop_map(str::to_owned), "[0-9+]{1,4}".prop_map(String::from)];
    let records = proptest::collection::vec((key, value), 0..3)
        .prop_map(|records| records.iter().map(|(key, value)| record(key, value)).collect::<String>());
    let blocks = prop_oneof![
        6 => member,
        2 => records.clone().prop_map(|records| pax(&records)),
        1 => records.prop_map(|records| global(&records)),
        1 => (proptest::sample::select(&b"LK"[..]), name()).prop_map(|(kind, name)| long(kind, name.as_bytes())),
        1 => Just(vec![0; 512]),
    ];
    blocks.prop_map(Blocks)
}

/// Unpacks; an archive that passed the check must have been read by tar as it was by us, and touched nothing outside.
fn assert_read_alike(bytes: &[u8]) -> Result<(), TestCaseError> {
    let work = tempfile::tempdir().unwrap();
    let path = work.path().join("random.tar");
    fs::write(&path, bytes).unwrap();
    let target = work.path().join("outer/target");
    fs::create_dir_all(&target).unwrap();
    let root = File::open(&target).unwrap();
    let result = Local::new(&path, Devices::Refuse).unwrap().fill(&Context::default(), root.as_fd());
    if let Err(error) = &result {
        prop_assert_ne!(error.kind(), ErrorKind::Corrupt, "{:?}", error);
    }
    prop_assert_eq!(fs::read_dir(work.path().join("outer")).unwrap().count(), 1);
    prop_assert_eq!(fs::read_dir(work.path()).unwrap().count(), 2);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn what_passes_is_read_by_tar_as_it_was_by_us(parts in proptest::collection::vec(part(), 1..6)) {
        let first = header(b"first", b'0').done();
        let parts: Vec<_> = parts.into_iter().map(|blocks| blocks.0).collect();
        // An archive may begin with what the others begin with, or with any of the parts.
        let first = if parts[0][0] == 0 || parts.len() % 3 > 0 { first } else { Vec::new() };
        let end = if parts.len() % 2 == 0 { first.clone() } else { Vec::new() };
        assert_read_alike(&archive(&[vec![first], parts, vec![end]].concat()))?;
    }

    #[test]
    fn a_real_archive_with_changed_bytes_is_refused_or_read_alike(
        format in proptest::sample::select(&["posix", "gnu", "ustar", "v7"][..]),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>(), any::<bool>()), 1..4),
    ) {
        let mut bytes = real(format);
        for (at, byte, is_summed) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if is_summed {
                sum_again(&mut bytes, at);
            }
        }
        assert_read_alike(&bytes)?;
    }

    #[test]
    fn no_bytes_make_the_scan_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
        let _refused = scan(&bytes[..], Devices::Make, Limits::NONE);
        let mut blocks = bytes;
        let whole = blocks.len() / 512 * 512;
        blocks.truncate(whole);
        for at in (0..whole).step_by(512) {
            sum_again(&mut blocks, at);
        }
        let _refused = scan(&blocks[..], Devices::Skip, Limits::NONE);
    }
}

/// `KEIKI_FUZZ=10000 cargo test -p keiki-images random` looks longer.
fn cases() -> u32 {
    std::env::var("KEIKI_FUZZ").ok().and_then(|text| text.parse().ok()).unwrap_or(60)
}

/// Makes the checksum of the block around `at` right.
fn sum_again(bytes: &mut [u8], at: usize) {
    let block = &mut bytes[at / 512 * 512..][..512];
    block[148..156].copy_from_slice(b"        ");
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
}

fn real(format: &str) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    make_tree(directory.path());
    let archive = directory.path().with_extension("tar");
    let mut tar = Command::new("tar");
    // Only two formats can tell holes.
    let sparse = matches!(format, "posix" | "gnu").then_some("--sparse");
    tar.arg("-C").arg(directory.path()).args(sparse).arg("-cf").arg(&archive);
    assert!(tar.arg(format!("--format={format}")).arg(".").status().unwrap().success());
    let bytes = fs::read(&archive).unwrap();
    fs::remove_file(&archive).unwrap();
    bytes
}

fn make_tree(at: &Path) {
    fs::create_dir(at.join("d")).unwrap();
    fs::write(at.join("d/file"), vec![b'x'; 1500]).unwrap();
    fs::write(at.join("empty"), "").unwrap();
    fs::hard_link(at.join("d/file"), at.join("hard")).unwrap();
    std::os::unix::fs::symlink("d/file", at.join("soft")).unwrap();
    // Names of 100 bytes and more need extension headers, but in the oldest format.
    let sparse = File::create(at.join("sparse")).unwrap();
    sparse.set_len(1 << 20).unwrap();
    std::os::unix::fs::FileExt::write_at(&sparse, b"data", 65536).unwrap();
}
