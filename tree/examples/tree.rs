//! The crate's verbs on the command line, for benchmarks: `tree copy FROM TO`, `tree remove PATH`, `tree hash PATH`,
//! `tree make PATH ENTRIES`.
#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::symlink;
use std::path::Path;

use keiki_tree::{CopyOptions, DescribeOptions, Reflink, RemoveOptions, copy_tree, hash_tree, remove_tree};

fn main() -> io::Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["copy", from, to] => copy(from, to, Reflink::Auto),
        ["copy-bytes", from, to] => copy(from, to, Reflink::Never),
        ["remove", path] => remove(Path::new(path)),
        ["hash", path] => {
            println!("{}", hash_tree(File::open(path)?.as_fd(), DescribeOptions::default())?);
            Ok(())
        }
        ["make", path, entries] => make(Path::new(path), entries.parse().map_err(io::Error::other)?),
        _ => Err(io::Error::other(
            "usage: tree copy|copy-bytes FROM TO | remove PATH | hash PATH | make PATH ENTRIES",
        )),
    }
}

fn copy(from: &str, to: &str, reflink: Reflink) -> io::Result<()> {
    fs::create_dir(to)?;
    let workers = std::env::var("WORKERS").ok().and_then(|workers| workers.parse().ok());
    let options = CopyOptions { reflink, workers, ..CopyOptions::default() };
    println!("{:?}", copy_tree(File::open(from)?.as_fd(), File::open(to)?.as_fd(), &options)?);
    Ok(())
}

fn remove(path: &Path) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::other("a path with a directory in front, please"));
    };
    println!("{}", remove_tree(File::open(parent)?.as_fd(), name, &RemoveOptions::default())?);
    Ok(())
}

/// Makes a tree like a distribution's: nested directories of a dozen files of many sizes, some links of both kinds.
fn make(path: &Path, entries: u64) -> io::Result<()> {
    let content = vec![b'k'; 1 << 20];
    let mut made = 0;
    let mut directory = 0_u64;
    while made < entries {
        let place = path.join(format!("d{}/e{}/f{directory}", directory % 17, directory / 17 % 23));
        fs::create_dir_all(&place)?;
        made += 1;
        for i in 0..12_u64 {
            // Most files are small, few are large: sizes grow with the square of a number that repeats.
            let size = match (directory * 12 + i) % 97 {
                0 => 200_000,
                n => n * n * 4,
            };
            let size = usize::try_from(size).map_err(io::Error::other)?;
            fs::write(place.join(format!("file{i}")), &content[..size])?;
        }
        symlink("file0", place.join("symbolic"))?;
        fs::hard_link(place.join("file1"), place.join("hard"))?;
        made += 14;
        directory += 1;
    }
    Ok(())
}
