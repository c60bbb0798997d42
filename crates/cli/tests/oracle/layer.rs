//! [`Layer`]: one backup among a driver's containers.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::common::{number, text};

/// A backup that one of the drivers wrote, and what it said of it.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The folder with all containers.
    pub root: PathBuf,
    /// backup_id, volume_id, parent_id, container, prefix, size_gib, object_count.
    pub facts: Value,
}

impl Layer {
    pub fn new(root: &Path, facts: Value) -> Self {
        let layer = Self { root: root.to_owned(), facts };
        for member in ["backup_id", "volume_id", "container", "prefix"] {
            text(&layer.facts, member);
        }
        number(&layer.facts, "size_gib");
        assert!(layer.facts["parent_id"].is_null() || layer.facts["parent_id"].is_string(), "{}", layer.facts);
        layer
    }

    pub fn backup_id(&self) -> &str {
        text(&self.facts, "backup_id")
    }

    pub fn volume_id(&self) -> &str {
        text(&self.facts, "volume_id")
    }

    pub fn container(&self) -> &str {
        text(&self.facts, "container")
    }

    pub fn prefix(&self) -> &str {
        text(&self.facts, "prefix")
    }

    /// As our `--layer` takes it.
    pub fn spelled(&self) -> String {
        format!("{}:{}", self.container(), self.prefix())
    }

    pub fn folder(&self) -> PathBuf {
        self.root.join(self.container())
    }

    /// The file of an object: what its name has behind the prefix is given.
    pub fn path(&self, rest: &str) -> PathBuf {
        self.folder().join(format!("{}{rest}", self.prefix()))
    }

    pub fn read(&self, rest: &str) -> Vec<u8> {
        let path = self.path(rest);
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// `_metadata` or `_sha256file`, as it was written.
    pub fn document(&self, rest: &str) -> String {
        String::from_utf8(self.read(rest)).unwrap()
    }

    /// `_metadata`, parsed.
    pub fn metadata(&self) -> Value {
        serde_json::from_str(&self.document("_metadata")).unwrap()
    }

    /// Its data objects: what their names have behind the prefix, and what the metadata say of each.
    pub fn objects(&self) -> Vec<(String, Value)> {
        let metadata = self.metadata();
        let objects = metadata["objects"].as_array().unwrap_or_else(|| panic!("no objects: {metadata}"));
        let object = |entry: &Value| {
            let (name, fields) = entry.as_object().unwrap().iter().next().unwrap();
            (name.strip_prefix(self.prefix()).unwrap().to_owned(), fields.clone())
        };
        objects.iter().map(object).collect()
    }

    /// Everything that begins with its prefix: what names have behind it, and the bytes.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let first = self.path("");
        let (folder, first) = (first.parent().unwrap(), first.file_name().unwrap().to_str().unwrap().to_owned());
        let Ok(entries) = fs::read_dir(folder) else { return BTreeMap::new() };
        let paths = entries.map(|entry| entry.unwrap().path());
        let named = |path: PathBuf| Some((path.file_name()?.to_str()?.strip_prefix(&first)?.to_owned(), path));
        paths.filter_map(named).map(|(rest, path)| (rest, fs::read(path).unwrap())).collect()
    }
}

/// Checks that two drivers wrote the same documents and data objects for the same backup, but for the time in names.
pub fn assert_same(ours: &Layer, real: &Layer) {
    let backup = ours.backup_id();
    assert_eq!(ours.container(), real.container());
    for member in ["backup_id", "volume_id", "parent_id", "size_gib", "object_count"] {
        assert_eq!(ours.facts[member], real.facts[member], "{member} of {backup}");
    }
    for document in ["_sha256file", "_metadata"] {
        let expected = real.document(document).replace(real.prefix(), ours.prefix());
        assert_text(&ours.document(document), &expected, &format!("{document} of {backup}"));
    }
    let expected: Vec<_> = real.files().into_keys().collect();
    assert_eq!(ours.files().into_keys().collect::<Vec<_>>(), expected, "objects of {backup}");
    for (rest, fields) in real.objects() {
        if fields["compression"] == "none" {
            assert!(ours.read(&rest) == real.read(&rest), "{rest} of {backup}");
        }
    }
}

/// Compares texts; says where they differ.
pub fn assert_text(text: &str, expected: &str, what: &str) {
    if text != expected {
        let differ = text.lines().zip(expected.lines()).find(|(line, expected)| line != expected);
        panic!(
            "{what}: {} bytes, {} expected; lines that differ first: {differ:#?}; ends {:?}, {:?} expected",
            text.len(),
            expected.len(),
            &text[text.len().saturating_sub(20)..],
            &expected[expected.len().saturating_sub(20)..],
        );
    }
}

/// Checks that Cinder's services can share the files: objects are 0660, the container's last folder 0770.
pub fn assert_modes(layer: &Layer) {
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&layer.folder()), 0o770, "{}", layer.folder().display());
    for rest in layer.files().into_keys() {
        let path = layer.path(&rest);
        assert_eq!(mode(&path), 0o660, "{}", path.display());
    }
}

/// The name of an imported backup in the repository.
pub fn in_repository(imported: &Value) -> &str {
    text(imported, "backup_id")
}
