//! Both shapes obey the same rules, on the file system of the temporary directory.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use super::*;
use crate::context::Context;
use crate::error::ErrorKind;
use crate::store::{Destroyed, Presence};
use crate::volume::{StoreKind, Volume, VolumeSource};

const SHAPES: [Shape; 2] = [Shape::Directory, Shape::File];
const MAKE: MakeSteps = MakeSteps { make: "make", mark: "mark", publish: "publish" };
const DESTROY: DestroySteps = DestroySteps { aside: "aside", remove: "remove" };

struct Ground(tempfile::TempDir);

impl Ground {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn place(&self, name: &str, shape: Shape) -> Place {
        Place::open(&self.path(name), VolumeId::generate(), shape).unwrap().unwrap()
    }

    fn made(&self, name: &str, shape: Shape) -> Place {
        let place = self.place(name, shape);
        place.make(&Context::default(), &MAKE, |_| Ok(())).unwrap();
        place
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort_unstable();
        names
    }
}

fn destroyed(place: &Place) -> Result<Destroyed> {
    place.destroy(&Context::default(), &DESTROY, |_| Ok(()))
}

#[test]
fn what_is_made_is_complete_and_what_is_destroyed_leaves_nothing() {
    for shape in SHAPES {
        let ground = Ground::new();
        let place = ground.made("a", shape);
        assert_eq!(place.presence().unwrap(), Presence::Complete(place.id));
        place.make(&Context::default(), &MAKE, |_| panic!("it is there already")).unwrap();
        assert_eq!(ground.names(), ["a"]);
        assert_eq!(destroyed(&place).unwrap(), Destroyed::Removed);
        assert_eq!(destroyed(&place).unwrap(), Destroyed::Absent);
        assert!(ground.names().is_empty());
    }
}

#[test]
fn a_failed_fill_leaves_a_partial_object_that_the_next_attempt_replaces() {
    for shape in SHAPES {
        let ground = Ground::new();
        let place = ground.place("a", shape);
        let fails = |_: &OwnedFd| Err(absent(Path::new("/source")));
        place.make(&Context::default(), &MAKE, fails).unwrap_err();
        assert_eq!(place.presence().unwrap(), Presence::Partial);
        let (_, attempt) = place.fresh_aside(&Context::default()).unwrap();
        assert_eq!(attempt, Attempt::Repeated);
        assert_eq!(destroyed(&place).unwrap(), Destroyed::Removed);
        assert!(ground.names().is_empty());
    }
}

#[test]
fn foreign_things_are_refused_by_what_they_are_and_stay() {
    for (shape, word) in [(Shape::Directory, "directory"), (Shape::File, "file")] {
        let ground = Ground::new();
        let ours = ground.made("ours", shape);
        let imposter = Place::open(&ground.path("ours"), VolumeId::generate(), shape).unwrap().unwrap();
        symlink(ground.path("ours"), ground.path("link")).unwrap();
        match shape {
            Shape::Directory => fs::create_dir(ground.path("unmarked")).unwrap(),
            Shape::File => fs::write(ground.path("unmarked"), "").unwrap(),
        }
        let table = [
            (imposter, format!("belongs to volume {}, not to", ours.id)),
            (ground.place("unmarked", shape), "was not made by keiki".to_owned()),
            (ground.place("link", shape), format!("is not a {word}")),
        ];
        for (place, text) in table {
            let make = place.make(&Context::default(), &MAKE, |_| Ok(())).unwrap_err();
            for error in [make, destroyed(&place).unwrap_err(), place.open_ours().unwrap_err()] {
                assert_eq!(error.kind(), ErrorKind::Foreign, "{error:?}");
                assert!(error.message().contains(&text), "{error:?}");
            }
        }
        assert_eq!(ground.names(), ["link", "ours", "unmarked"]);
    }
}

#[test]
fn remains_of_ours_beside_something_foreign_go_and_the_foreign_thing_stays() {
    for shape in SHAPES {
        let ground = Ground::new();
        let place = ground.place("a", shape);
        place.fresh_aside(&Context::default()).unwrap();
        let other = ground.made("a", shape);
        assert_eq!(destroyed(&place).unwrap(), Destroyed::Removed);
        assert_eq!(ground.names(), ["a"]);
        assert_eq!(other.presence().unwrap(), Presence::Complete(other.id));
    }
}

#[test]
fn publishing_never_replaces_what_appeared_in_place() {
    for shape in SHAPES {
        let ground = Ground::new();
        let late = ground.place("a", shape);
        late.fresh_aside(&Context::default()).unwrap();
        let first = ground.made("a", shape);
        assert_eq!(late.publish().unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(first.presence().unwrap(), Presence::Complete(first.id));
    }
}

#[test]
fn two_objects_swap_places_once_and_a_missing_or_foreign_one_is_refused() {
    for shape in SHAPES {
        let ground = Ground::new();
        let (a, b) = (ground.made("a", shape), ground.made("b", shape));
        for _ in 0..2 {
            Place::exchange(&Context::default(), "exchange", &a, &b).unwrap();
            assert_eq!(a.presence().unwrap(), Presence::Complete(b.id));
            assert_eq!(b.presence().unwrap(), Presence::Complete(a.id));
        }
        let (c, missing) = (ground.made("c", shape), ground.place("missing", shape));
        let refused =
            |x: &Place, y: &Place| Place::exchange(&Context::default(), "exchange", x, y).unwrap_err().kind();
        assert_eq!(refused(&c, &missing), ErrorKind::NotFound);
        assert_eq!(refused(&c, &a), ErrorKind::Foreign);
    }
}

#[test]
fn adoption_marks_what_has_no_mark_or_that_of_its_original() {
    for shape in SHAPES {
        let ground = Ground::new();
        let original = ground.made("a", shape);
        let copy = Place::open(&ground.path("a"), VolumeId::generate(), shape).unwrap().unwrap();
        let adopt = |copied| copy.adopt(&Context::default(), "adopt", copied);
        assert_eq!(adopt(None).unwrap_err().kind(), ErrorKind::Foreign);
        assert_eq!(adopt(Some(VolumeId::generate())).unwrap_err().kind(), ErrorKind::Foreign);
        adopt(Some(original.id)).unwrap();
        adopt(None).unwrap();
        assert_eq!(copy.presence().unwrap(), Presence::Complete(copy.id));
        let nothing = ground.place("nothing", shape).adopt(&Context::default(), "adopt", None);
        assert_eq!(nothing.unwrap_err().kind(), ErrorKind::NotFound);
    }
}

#[test]
fn a_place_in_a_missing_directory_is_told_from_one_that_cannot_be() {
    let ground = Ground::new();
    let volume = |location: &str| {
        Volume::new(VolumeId::generate(), VolumeSource::new(StoreKind::new("dir"), location).unwrap())
    };
    let missing = volume(ground.path("no/rootfs").to_str().unwrap());
    assert!(Place::of(&missing, Shape::Directory).unwrap().is_none());
    let error = Place::of_new(&missing, Shape::Directory).unwrap_err();
    assert!(error.message().ends_with("the directory above does not exist"), "{error:?}");
    assert_eq!(Place::of_existing(&missing, Shape::File).unwrap_err().kind(), ErrorKind::NotFound);
    for bad in ["relative", "/", "/a/../b"] {
        let error = Place::of(&volume(bad), Shape::Directory).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{bad}");
    }
}

#[test]
fn homes_of_containers_and_snapshots_are_walked_and_links_and_points_passed_over() {
    let ground = Ground::new();
    for home in ["web1/snaps/snap0", "web1/snaps/.hidden", ".keiki/staging", "web2"] {
        fs::create_dir_all(ground.path(home)).unwrap();
    }
    symlink(ground.path("web1"), ground.path("web3")).unwrap();
    fs::write(ground.path("file"), "").unwrap();
    let mut seen = Vec::new();
    list(ground.0.path(), |_, path| {
        seen.push(path.strip_prefix(ground.0.path()).unwrap().to_owned());
        Ok([])
    })
    .unwrap();
    assert_eq!(seen, ["web1", "web1/snaps/snap0", "web2"].map(PathBuf::from));
}
