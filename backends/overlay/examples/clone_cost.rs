//! What a clone costs beside the directories that it is made of: `cargo run --release -p keiki-overlay --example clone_cost
//! [COUNT [DIRECTORY]]`.
#![expect(clippy::print_stdout, reason = "a measurement is printed")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use keiki_core::context::Context;
use keiki_core::name::ContainerName;
use keiki_core::store::{BackingStore, CloneJob};
use keiki_core::volume::{Placement, Properties, Volume, VolumeId, VolumeRole};
use keiki_overlay::OverlayStore;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1);
    let count = arguments.next().map_or(Ok(1000), |text| text.parse())?;
    let ground = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let (mut bare, mut store) = (Duration::MAX, Duration::MAX);
    for _ in 0..5 {
        bare = bare.min(bare_directories(&ground, count)?);
        store = store.min(clones(&ground, count)?);
    }
    let each = |total: Duration| total / u32::try_from(count).unwrap_or(1);
    println!("{count} times three directories: {bare:?} ({:?} each)", each(bare));
    println!("{count} clones by the store:     {store:?} ({:?} each)", each(store));
    println!("ratio: {:.2}", store.as_secs_f64() / bare.as_secs_f64());
    Ok(())
}

fn bare_directories(ground: &Path, count: usize) -> Outcome<Duration> {
    let pool = pool(ground, count)?;
    let start = Instant::now();
    for number in 0..count {
        let overlay = home(pool.path(), number).join("overlay");
        std::fs::create_dir(&overlay)?;
        std::fs::create_dir(overlay.join("delta"))?;
        std::fs::create_dir(overlay.join("work"))?;
    }
    Ok(start.elapsed())
}

fn clones(ground: &Path, count: usize) -> Outcome<Duration> {
    let pool = pool(ground, count)?;
    let (store, context) = (OverlayStore::new(), Context::default());
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let source = volume(&store, pool.path().join("base"), None)?;
    runtime.block_on(store.create(&context, &source))?;
    let start = Instant::now();
    let jobs = (0..count)
        .map(|number| Ok(CloneJob { target: volume(&store, home(pool.path(), number), Some(&source))? }))
        .collect::<Outcome<Vec<_>>>()?;
    let verbs = store.clones().ok_or("the store has no clones")?;
    for result in runtime.block_on(verbs.clone_from(&context, &source, &jobs)) {
        result?;
    }
    Ok(start.elapsed())
}

/// Makes the homes, as the engine would, outside of what is measured.
fn pool(ground: &Path, count: usize) -> Outcome<tempfile::TempDir> {
    let pool = tempfile::tempdir_in(ground)?;
    std::fs::create_dir(pool.path().join("base"))?;
    for number in 0..count {
        std::fs::create_dir(home(pool.path(), number))?;
    }
    rustix::fs::sync();
    Ok(pool)
}

fn home(pool: &Path, number: usize) -> PathBuf {
    pool.join(format!("c{number}"))
}

fn volume(store: &OverlayStore, home: PathBuf, origin: Option<&Volume>) -> Outcome<Volume> {
    let id = VolumeId::generate();
    let container = ContainerName::parse("clone")?;
    let placement = Placement { id, container, role: VolumeRole::Head, home, options: Properties::new() };
    Ok(Volume::new(id, store.place(&placement, origin)?))
}
