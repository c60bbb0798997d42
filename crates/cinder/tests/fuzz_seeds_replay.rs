//! The fuzz targets' checks hold for all of their seeds, the findings that were mended among them.

use std::fs;
use std::path::Path;

#[path = "../../../fuzz/checks/metadata.rs"]
mod metadata;
#[path = "../../../fuzz/checks/restore.rs"]
mod restore;
#[path = "../../../fuzz/checks/sha256file.rs"]
mod sha256file;

fn replay(target: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds").join(target);
    let mut seeds = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        // Shown where the check fails.
        println!("{}", path.display());
        check(&fs::read(&path).unwrap());
        seeds += 1;
    }
    assert!(seeds >= 3, "{}: {seeds} seeds", folder.display());
}

#[test]
fn checks_of_metadata_hold_for_all_seeds() {
    replay("metadata", metadata::check);
}

#[test]
fn checks_of_sha256file_hold_for_all_seeds() {
    replay("sha256file", sha256file::check);
}

#[test]
fn checks_of_restore_hold_for_all_seeds() {
    replay("restore", restore::check);
}
