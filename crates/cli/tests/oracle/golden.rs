//! The chains that Cinder wrote once: `crates/cinder/tests/golden`.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::layer::Layer;
use crate::common::{number, text};

/// A full backup and two increments, oldest first.
pub struct Golden {
    pub compression: String,
    pub chain: Vec<Layer>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../cinder/tests/golden")
}

/// One for each compression.
pub fn chains() -> Vec<Golden> {
    let document: Value = serde_json::from_slice(&fs::read(root().join("chains.json")).unwrap()).unwrap();
    let golden = |entry: &Value| Golden {
        compression: text(entry, "compression").to_owned(),
        chain: entry["layers"].as_array().unwrap().iter().map(|facts| Layer::new(&root(), facts.clone())).collect(),
    };
    document.as_array().unwrap().iter().map(golden).collect()
}

impl Golden {
    /// The same chain, copied into a folder where it can be damaged.
    pub fn copied_to(&self, folder: &Path) -> Vec<Layer> {
        let copy = |layer: &Layer| {
            let copied = Layer::new(folder, layer.facts.clone());
            fs::create_dir_all(copied.folder()).unwrap();
            for (rest, bytes) in layer.files() {
                fs::write(copied.path(&rest), bytes).unwrap();
            }
            copied
        };
        self.chain.iter().map(copy).collect()
    }
}

/// Checks that these are the bytes of the volume that a backup holds.
pub fn assert_volume(layer: &Layer, bytes: &[u8]) {
    assert_eq!(bytes.len() as u64, number(&layer.facts, "volume_bytes"), "{}", layer.facts);
    let sum: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(sum, text(&layer.facts, "sha256"), "{}", layer.facts);
}
