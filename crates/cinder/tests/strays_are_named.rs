//! What is under a backup's prefix and could be no object of ours: Cinder lists a folder, and sees it.

mod common;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Arc;

use cinderblock_backend::{Backend, Folder};
use cinderblock_cinder::{Backup, Error};
use common::{Driver, Place, context, driver_on, text};

const BLOCK: u64 = 4096;

/// A backup in a folder.
struct InFolder {
    place: Place,
    driver: Driver,
    backup: Backup,
    bytes: Vec<u8>,
}

impl InFolder {
    fn new() -> Self {
        let place = Place::new();
        let folder = Folder::create(place.path("store")).unwrap();
        let driver = driver_on(Arc::new(folder) as Arc<dyn Backend>, context("none"), 4 * BLOCK, BLOCK);
        let bytes = text(1, 10 * BLOCK as usize);
        let backup = place.back_up(&driver, 1, &bytes, None).unwrap().0;
        Self { place, driver, backup, bytes }
    }

    fn container(&self) -> &str {
        self.backup.container.as_deref().unwrap()
    }

    fn prefix(&self) -> &str {
        self.backup.service_metadata.as_deref().unwrap()
    }

    /// A path under the backup's prefix.
    fn path(&self, rest: impl AsRef<OsStr>) -> PathBuf {
        let mut name = OsStr::new(self.prefix()).to_owned();
        name.push(rest);
        self.place.path("store").join(self.container()).join(name)
    }

    fn restore(&self) -> Result<(), Error> {
        let chain = std::slice::from_ref(&self.backup);
        let restored = self.place.restore_new(&self.driver, chain);
        let (over, existing) = self.place.restore_over(&self.driver, chain, self.bytes.len());
        assert_eq!(restored.is_ok(), over.is_ok());
        assert!(over.is_ok() || existing.iter().all(|byte| *byte == 0xa5), "the existing target was touched");
        restored.map(|bytes| assert!(bytes == self.bytes))
    }

    fn strays(&self) -> Vec<String> {
        let found = self.driver.inspect(self.container(), self.prefix(), false).unwrap();
        assert_eq!(found.is_whole(), found.stray.is_empty(), "{found:?}");
        found.stray
    }
}

/// A copy that somebody made, say, of a name that no object of ours could have: it was not seen, and the backup taken for
/// one that Cinder would restore.
#[test]
fn a_file_of_any_name_under_the_prefix_is_named_refused_and_left() {
    let store = InFolder::new();
    let rests: [(&[u8], &str); 4] = [
        (b"-00001 (copy)", "-00001 (copy)"),
        (b"-00001~", "-00001~"),
        (b"_metadata\xff", "_metadata\\xff"),
        ("_métadonnées".as_bytes(), "_métadonnées"),
    ];
    for (rest, shown) in rests {
        fs::write(store.path(OsStr::from_bytes(rest)), "stray").unwrap();
        let name = format!("{}{shown}", store.prefix());
        let error = store.restore().unwrap_err();
        let refused = matches!(&error, Error::InvalidBackup { reason } if reason.contains(&name)
            && reason.contains("actual object list does not match object list stored in metadata"));
        assert!(refused, "{error}");
        assert_eq!(store.strays(), [name]);
        fs::remove_file(store.path(OsStr::from_bytes(rest))).unwrap();
    }
    store.restore().unwrap();

    fs::write(store.path("-00001 (copy)"), "stray").unwrap();
    let summary = store.driver.delete_backup(&store.backup).unwrap();
    assert_eq!(summary.stray, [format!("{}-00001 (copy)", store.prefix())]);
    assert_eq!(fs::read(store.path("-00001 (copy)")).unwrap(), b"stray", "what is not ours is left");
    assert_eq!(fs::read_dir(store.place.path("store").join(store.container())).unwrap().count(), 1);
}

#[test]
fn folders_links_and_pipes_under_the_prefix_are_strays_and_files_beside_it_are_not() {
    let store = InFolder::new();
    fs::create_dir(store.path(" folder")).unwrap();
    fs::write(store.path(" folder").join("file"), "x").unwrap();
    symlink("nowhere", store.path(" link")).unwrap();
    fs::create_dir(store.path(".folder")).unwrap();
    fs::write(store.path(".folder").join("a file"), "x").unwrap();
    let expected = [" folder", " link", ".folder/a file"].map(|rest| format!("{}{rest}", store.prefix()));
    assert_eq!(store.strays(), expected);
    store.restore().unwrap_err();

    let store = InFolder::new();
    for beside in [".tmp-0123456789abcdef", "a file", ".hidden"] {
        fs::write(store.place.path("store").join(store.container()).join(beside), "x").unwrap();
    }
    assert_eq!(store.strays(), [""; 0]);
    store.restore().unwrap();
}

/// What it leads to may be on a disk that is not mounted: the object is not known to be missing, and nothing is decided without it.
#[test]
fn a_link_that_leads_nowhere_in_an_objects_place_is_refused() {
    let store = InFolder::new();
    let away = store.place.path("away");
    fs::rename(store.path("-00002"), &away).unwrap();
    symlink("nowhere", store.path("-00002")).unwrap();
    let refused = |error: Error| {
        let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
        let text = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
        assert!(text.contains("-00002") && text.contains("mounted"), "{text}");
    };
    refused(store.driver.inspect(store.container(), store.prefix(), false).unwrap_err());
    refused(store.restore().unwrap_err());
    refused(store.driver.delete_backup(&store.backup).unwrap_err());
    assert!(store.path("-00001").exists() && store.path("-00002").symlink_metadata().is_ok());
    fs::remove_file(store.path("-00002")).unwrap();
    symlink(&away, store.path("-00002")).unwrap();
    assert_eq!(store.strays(), [""; 0]);
    store.restore().unwrap();
}
