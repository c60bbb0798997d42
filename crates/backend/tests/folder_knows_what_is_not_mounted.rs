//! A part of a folder lies on another disk, which is not mounted: a collector that saw no records would delete every pack.
//! So the link that leads nowhere is an error, whatever is to be done behind it, and not an empty part.

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cinderblock_backend::{Backend, Error, Folder, ObjectName};

fn name(text: &str) -> ObjectName {
    ObjectName::new(text).unwrap()
}

fn list(folder: &Folder, prefix: &str) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    folder.list(prefix, &mut |object| {
        names.push(object.name.to_string());
        Ok(())
    })?;
    names.sort();
    Ok(names)
}

fn foreign(folder: &Folder, prefix: &str) -> Result<Vec<String>, Error> {
    let mut names = Vec::new();
    folder.list_foreign(prefix, &mut |other| {
        names.push(other.to_string());
        Ok(())
    })?;
    names.sort();
    Ok(names)
}

/// The error names the link, where it leads, and what may be the matter.
#[track_caller]
fn assert_unreachable<T: std::fmt::Debug>(result: Result<T, Error>, link: &Path) {
    match result {
        Err(error @ Error::Folder { .. }) => {
            let text = error.to_string();
            assert!(text.contains(&format!(" {};", link.display())), "{text}");
            assert!(text.contains("mounted"), "{text}");
            let source = std::error::Error::source(&error).unwrap().to_string();
            assert!(source.contains(&fs::read_link(link).unwrap().display().to_string()), "{source}");
        }
        other => panic!("behind {} gave {other:?}", link.display()),
    }
}

/// A folder with a part on a disk that can be taken away.
struct Place {
    root: tempfile::TempDir,
    disks: tempfile::TempDir,
    folder: Folder,
}

impl Place {
    /// `link` in the folder leads to a folder on the disk.
    fn new(link: &str) -> Place {
        let (root, disks) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir_all(disks.path().join("disk/part")).unwrap();
        let path = root.path().join(link);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(disks.path().join("disk/part"), path).unwrap();
        let folder = Folder::open(root.path()).unwrap();
        Place { root, disks, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn unmount(&self) {
        fs::rename(self.disks.path().join("disk"), self.disks.path().join("unmounted")).unwrap();
        fs::create_dir(self.disks.path().join("disk")).unwrap();
    }

    fn mount(&self) {
        fs::remove_dir(self.disks.path().join("disk")).expect("nothing was made where the disk is to be mounted");
        fs::rename(self.disks.path().join("unmounted"), self.disks.path().join("disk")).unwrap();
    }
}

#[test]
fn records_on_a_disk_that_is_not_mounted_are_not_gone() {
    let place = Place::new("backups");
    let folder = &place.folder;
    for object in ["backups/vm-1/a", "backups/vm-2/b", "packs/ab/x"] {
        folder.put(&name(object), &[b"x"]).unwrap();
    }
    place.unmount();
    for prefix in ["", "b", "backups", "backups/", "backups/vm-1/", "backups/vm-1/a", "backups/no/such/"] {
        assert_unreachable(list(folder, prefix), &place.path("backups"));
    }
    assert_eq!(list(folder, "packs/").unwrap(), ["packs/ab/x"], "what does not lie behind it is there");

    let fresh = Folder::open(place.root.path()).unwrap();
    assert_unreachable(list(&fresh, "backups/"), &place.path("backups"));

    place.mount();
    assert_eq!(list(folder, "backups/").unwrap(), ["backups/vm-1/a", "backups/vm-2/b"]);
    assert_eq!(list(folder, "backups/no/such/").unwrap(), [""; 0]);
}

#[test]
fn a_part_deep_in_the_folder_is_missed_by_every_listing_that_it_belongs_to() {
    let place = Place::new("backups/vm-1");
    let folder = &place.folder;
    folder.put(&name("backups/vm-1/a"), &[b"x"]).unwrap();
    folder.put(&name("backups/vm-2/b"), &[b"x"]).unwrap();
    place.unmount();
    for prefix in ["", "backups/", "backups/vm-1", "backups/vm-1/", "backups/vm-1/a"] {
        assert_unreachable(list(folder, prefix), &place.path("backups/vm-1"));
    }
    assert_eq!(list(folder, "backups/vm-2").unwrap(), ["backups/vm-2/b"]);
    place.mount();
    assert_eq!(list(folder, "backups/").unwrap(), ["backups/vm-1/a", "backups/vm-2/b"]);
}

#[test]
fn a_link_that_leads_nowhere_is_foreign_but_behind_it_nothing_is_known() {
    let place = Place::new("packs/ab");
    let folder = &place.folder;
    place.unmount();
    assert_eq!(foreign(folder, "").unwrap(), ["packs/ab"], "the name is there");
    assert_eq!(foreign(folder, "packs/a").unwrap(), ["packs/ab"]);
    assert_unreachable(foreign(folder, "packs/ab/"), &place.path("packs/ab"));
    assert_unreachable(folder.remove_leftovers("packs/ab/", Duration::ZERO, false), &place.path("packs/ab"));
    assert_eq!(folder.remove_leftovers("packs/", Duration::ZERO, false).unwrap().files, 0);
    assert!(place.path("packs/ab").symlink_metadata().is_ok(), "the link stays");
}

#[test]
fn an_object_behind_a_link_that_leads_nowhere_is_not_taken_for_deleted() {
    let place = Place::new("packs");
    let folder = &place.folder;
    folder.put(&name("packs/ab/x"), &[b"x"]).unwrap();
    symlink(place.path("packs/ab/x"), place.path("linked")).unwrap();
    place.unmount();
    for (object, link) in [("packs/ab/x", "packs"), ("packs/ab/no", "packs"), ("linked", "linked")] {
        let (object, link) = (name(object), place.path(link));
        assert_unreachable(folder.get(&object, 10), &link);
        assert_unreachable(folder.get_tail(&object, 10), &link);
        assert_unreachable(folder.read_into(&object, 0, &mut [0]), &link);
        assert_unreachable(folder.size(&object), &link);
    }
    assert_unreachable(folder.delete(&name("packs/ab/x")), &place.path("packs"));
    assert!(folder.get(&name("index/x"), 10).unwrap_err().is_not_found(), "elsewhere nothing changes");
    place.mount();
    assert_eq!(folder.get(&name("packs/ab/x"), 10).unwrap(), b"x");
    assert!(folder.size(&name("packs/ab/no")).unwrap_err().is_not_found());
}

#[test]
fn nothing_is_made_behind_a_link_that_leads_nowhere() {
    let place = Place::new("packs");
    let folder = &place.folder;
    folder.put(&name("packs/ab/x"), &[b"x"]).unwrap();
    symlink(place.path("packs/ab/x"), place.path("linked")).unwrap();
    place.unmount();
    for object in ["packs/y", "packs/ab/y", "packs/new/deeper/y"] {
        assert_unreachable(folder.put(&name(object), &[b"y"]), &place.path("packs"));
    }
    assert_unreachable(folder.put(&name("linked"), &[b"y"]), &place.path("linked"));
    assert_unreachable(folder.put(&name("linked/y"), &[b"y"]), &place.path("linked"));
    assert_eq!(fs::read_dir(place.root.path()).unwrap().count(), 2, "the two links");
    place.mount();
    folder.put(&name("packs/ab/y"), &[b"y"]).unwrap();
    assert_eq!(list(folder, "packs/").unwrap(), ["packs/ab/x", "packs/ab/y"]);
}

/// Two links in the folder lead to two disks; while what is on the first is listed, the other one's is taken away.
fn list_while_the_other_part(vanishes: impl Fn(&Path, &str)) -> (Result<(), Error>, PathBuf) {
    let (root, disks) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let folder = Folder::open(root.path()).unwrap();
    for part in ["one", "two"] {
        fs::create_dir(disks.path().join(part)).unwrap();
        symlink(disks.path().join(part), root.path().join(part)).unwrap();
        folder.put(&name(&format!("{part}/ab/x")), &[b"x"]).unwrap();
    }
    let other = Cell::new("");
    let listed = folder.list("", &mut |object| {
        assert_eq!(other.get(), "", "only the first part is there");
        other.set(if object.name.as_str().starts_with("one") { "two" } else { "one" });
        vanishes(disks.path(), other.get());
        Ok(())
    });
    // The caller looks at the links, and removes them.
    let link = root.keep().join(other.get());
    (listed, link)
}

#[test]
fn a_part_that_is_unmounted_in_mid_listing_ends_it_with_an_error() {
    let (listed, link) = list_while_the_other_part(|disks, part| {
        fs::rename(disks.join(part), disks.join("unmounted")).unwrap();
    });
    assert_unreachable(listed, &link);
    fs::remove_dir_all(link.parent().unwrap()).unwrap();
}

#[test]
fn a_folder_that_is_deleted_in_mid_listing_is_passed_over() {
    let (listed, link) = list_while_the_other_part(|disks, part| {
        fs::remove_dir_all(disks.join(part).join("ab")).unwrap();
    });
    listed.unwrap();
    fs::remove_dir_all(link.parent().unwrap()).unwrap();

    let place = tempfile::tempdir().unwrap();
    let folder = Folder::open(place.path()).unwrap();
    folder.put(&name("one/x"), &[b"x"]).unwrap();
    folder.put(&name("two/x"), &[b"x"]).unwrap();
    let mut seen = 0;
    folder
        .list("", &mut |object| {
            seen += 1;
            let other = if object.name.as_str() == "one/x" { "two/x" } else { "one/x" };
            folder.delete(&name(other))
        })
        .unwrap();
    assert_eq!(seen, 1);
    assert_eq!(list(&folder, "no/such/folder/").unwrap(), [""; 0]);
}
