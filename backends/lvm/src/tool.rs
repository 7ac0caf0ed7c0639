//! Command lines of LVM: arguments are made here, and run here.
//!
//! Every change names its volume *and* its tag: `--select` is evaluated by LVM under the lock of the volume group, so there is
//! no moment between our look and LVM's deed in which a stranger could take the place.

use keiki_core::Result;
use keiki_core::context::Context;
use keiki_core::tool::{Answer, Call, Input, Tool};
use keiki_core::units::Bytes;
use keiki_core::volume::VolumeId;

use crate::explain::explain;
use crate::mark;
use crate::place::Place;
use crate::spec::SnapshotSize;

/// What every command is told besides the host's own configuration.
///
/// `backup/archive=0`: LVM writes a file below `/etc/lvm/archive` for each change; ten thousand clones would leave as many, and
/// every command reads that directory to prune it. The last state is still kept in `/etc/lvm/backup`.
const CONFIG: &str = "backup{archive=0}";

/// The same as words of a script.
pub(crate) const CONFIG_WORDS: &str = "--config backup{archive=0}";

/// Begins a command of LVM.
pub(crate) fn lvm(command: &str) -> Call {
    Tool::new("lvm", "lvm2").call().arg(command).args(["--config", CONFIG])
}

/// Runs a command that changes something; a refusal becomes an error about `place`.
pub(crate) fn run(context: &Context, call: Call, place: &Place) -> Result<Answer> {
    call.run(context).map_err(|error| explain(error, place))
}

/// Runs many commands in one process of LVM, one a line. Says nothing about their success: look at what is there.
///
/// # Behavior
/// A command that fails does not keep the next ones from running.
pub(crate) fn run_script(context: &Context, script: String) -> Result<Answer> {
    // An interpreter's exit code is that of its last line, or nothing at all.
    let call = Tool::new("lvm", "lvm2").call().input(Input::Bytes(script.into_bytes()));
    (1..=5).fold(call, Call::accept).run(context)
}

/// Returns the selection of one volume that carries a tag of `id`.
pub(crate) fn ours(place: &Place, id: VolumeId) -> String {
    format!("lv_name=\"{}\" && {}", place.lv, mark::selection(id))
}

/// What a new volume is cut from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut<'a> {
    /// Extents of its own.
    Plain,
    /// A thin pool of its group.
    Thin(&'a str),
}

/// Returns the arguments that make an empty, active volume in the making.
pub(crate) fn create(place: &Place, id: VolumeId, size: Bytes, cut: Cut<'_>) -> Vec<String> {
    let mut words = words(["-y", "-ky", "-K", "-ay", "--addtag"]);
    words.push(mark::partial(id));
    match cut {
        // What a former volume left in the extents must neither be read nor taken for a file system.
        Cut::Plain => words.extend(["-Wy", "-Zy", "-L"].map(str::to_owned)),
        Cut::Thin(pool) => words.extend(["--thinpool", pool, "-V"].map(str::to_owned)),
    }
    words.extend([format!("{}b", size.0), "-n".to_owned(), place.lv.clone(), place.vg.clone()]);
    words
}

/// Returns the arguments that make a thin snapshot of `source` under the tag `tag`, inactive.
pub(crate) fn thin_snapshot(source: &Place, target: &Place, tag: &str) -> Vec<String> {
    snapshot(source, target, tag, &[])
}

/// Returns the arguments that make a plain snapshot of `source`, which is `origin` large.
///
/// # Behavior
/// The size is said in bytes. A share (`-l 100%ORIGIN`) is what LVM tries for: in a group that is nearly full it takes what there is, and
/// the snapshot overflows later. More than a snapshot can ever use LVM itself cuts to what it can.
pub(crate) fn plain_snapshot(
    source: &Place,
    target: &Place,
    tag: &str,
    (size, origin): (SnapshotSize, Bytes),
) -> Vec<String> {
    let bytes = match size {
        SnapshotSize::OfOrigin(100) => origin.0.saturating_add(origin.0 / 64).saturating_add(TABLES),
        SnapshotSize::OfOrigin(percent) => origin.0 / 100 * u64::from(percent),
        SnapshotSize::Fixed(bytes) => bytes.0,
    };
    snapshot(source, target, tag, &["-L", &format!("{bytes}b")])
}

/// What the tables of a whole snapshot take at most besides a share of its size; extents are rounded up.
const TABLES: u64 = 32 << 20;

fn snapshot(source: &Place, target: &Place, tag: &str, size: &[&str]) -> Vec<String> {
    let mut words = words(["-y", "-qq", "-s", "-ky", "--addtag", tag]);
    words.extend(size.iter().map(|word| (*word).to_owned()));
    words.extend(["-n".to_owned(), target.lv.clone(), source.full()]);
    words
}

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

/// Makes a volume that is in the making a finished one: the last change.
///
/// # Errors
/// What LVM says.
pub(crate) fn finish(context: &Context, place: &Place, id: VolumeId) -> Result<()> {
    context.step("lvm.mark")?;
    let call = lvm("lvchange")
        .args(["-qq", "--addtag", &mark::complete(id), "--deltag", &mark::partial(id)])
        .args(["--select", &format!("lv_name=\"{}\" && lv_tags=\"{}\"", place.lv, mark::partial(id))])
        .arg(&place.vg);
    run(context, call, place).map(drop)
}

/// Makes the device of one of our volumes appear. Named by itself: of a whole group, LVM passes over plain snapshots.
///
/// # Errors
/// `NotFound`; what LVM says. Success without effect when the volume is not ours.
pub(crate) fn activate(context: &Context, place: &Place, id: VolumeId) -> Result<()> {
    let call =
        lvm("lvchange").args(["-qq", "-y", "-ay", "-K", "--select", &ours(place, id)]).arg(place.full());
    run(context, call, place).map(drop)
}

/// Makes the device of a volume go away.
///
/// # Errors
/// `Busy` while something has it open.
pub(crate) fn deactivate(context: &Context, place: &Place, id: VolumeId) -> Result<()> {
    let call = lvm("lvchange").args(["-qq", "-y", "-an", "--select", &ours(place, id)]).arg(place.full());
    run(context, call, place).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_given_in_bytes_and_the_tag_at_creation() {
        let (place, id) = (Place::new("vg", "web1").unwrap(), VolumeId::generate());
        let thin = create(&place, id, Bytes(1 << 30), Cut::Thin("pool")).join(" ");
        let tag = mark::partial(id);
        assert_eq!(thin, format!("-y -ky -K -ay --addtag {tag} --thinpool pool -V 1073741824b -n web1 vg"));
        let plain = create(&place, id, Bytes(4096), Cut::Plain).join(" ");
        assert_eq!(plain, format!("-y -ky -K -ay --addtag {tag} -Wy -Zy -L 4096b -n web1 vg"));
        let target = place.sibling("web2");
        for (size, bytes) in [
            (SnapshotSize::OfOrigin(100), (64 << 20) + (1 << 20) + TABLES),
            (SnapshotSize::OfOrigin(50), (64 << 20) / 100 * 50),
            (SnapshotSize::Fixed(Bytes(4096)), 4096),
        ] {
            let words = plain_snapshot(&place, &target, "t", (size, Bytes(64 << 20))).join(" ");
            assert_eq!(words, format!("-y -qq -s -ky --addtag t -L {bytes}b -n web2 vg/web1"));
        }
        let words = thin_snapshot(&place, &target, "t").join(" ");
        assert_eq!(words, "-y -qq -s -ky --addtag t -n web2 vg/web1");
    }
}
