//! Cinder's containers in S3 and Swift: ours alone, and beside Cinder's real drivers on the same buckets.
//!
//! `make test-remote` has the servers and the drivers. Elsewhere these tests say why they are skipped, and pass.

mod buckets;
mod common;
mod oracle;

use std::fs::{self, File};
use std::io::Read;

use buckets::{Server, Store};
use common::{Place, number, text};
use oracle::case::Side;
use oracle::process::{Oracle, installed_with};
use oracle::volume::{Change, Fill};
use oracle::words;
use serde_json::Value;

const VOLUME: &str = "11111111-0000-4000-8000-000000000000";
const PIECES: (usize, usize) = (256 << 10, 32 << 10);

fn id(number: usize) -> String {
    format!("{number:08x}-0000-4000-8000-000000000000")
}

/// Three backups of a volume that lost blocks, and changed in others.
fn volumes() -> [Vec<u8>; 3] {
    let (chunk, block) = PIECES;
    let full = Fill::Holes.volume(6 * chunk + 77, block, 1);
    let first = Change::Zeroed.after(&full, chunk, block, 2);
    let second = Change::Scattered.after(&first, chunk, block, 3);
    [full, first, second]
}

/// A backup, by what whoever wrote it says of it.
#[derive(Clone, Debug)]
struct Layer(Value);

impl Layer {
    fn container(&self) -> &str {
        text(&self.0, "container")
    }

    fn prefix(&self) -> &str {
        text(&self.0, "prefix")
    }

    fn place(&self, root: &str) -> Vec<String> {
        words(&["--container-root", root, "--container", self.container(), "--prefix", self.prefix()])
    }
}

fn layers(chain: &[Layer]) -> Vec<String> {
    let spelled = |layer: &Layer| ["--layer".to_owned(), format!("{}:{}", layer.container(), layer.prefix())];
    chain.iter().flat_map(spelled).collect()
}

/// What `cinder backup` and `cinder export` have in common.
fn form(root: &str, container: Option<&str>, compression: &str, parent: Option<&Layer>) -> Vec<String> {
    let (chunk, block) = PIECES;
    let mut options = words(&["--container-root", root, "--compression", compression]);
    options.extend(words(&["--chunk-size", &chunk.to_string(), "--sha-block-size", &block.to_string()]));
    options.extend(container.into_iter().flat_map(|container| words(&["--container", container])));
    if let Some(parent) = parent {
        options.extend(words(&["--parent-container", parent.container(), "--parent-prefix", parent.prefix()]));
    }
    options
}

impl Store {
    fn backup(
        &self,
        root: &str,
        container: Option<&str>,
        volume: &[u8],
        (id, compression, parent): (&str, &str, Option<&Layer>),
    ) -> Layer {
        self.place.file("volume", volume);
        let mut arguments = words(&["cinder", "backup", "volume", "--volume-id", VOLUME, "--backup-id", id]);
        arguments.extend(form(root, container, compression, parent));
        Layer(self.json(&arguments))
    }

    fn restore(&self, root: &str, chain: &[Layer]) -> Vec<u8> {
        let target = self.place.path("restored");
        let mut arguments = words(&["cinder", "restore", "restored", "--container-root", root]);
        arguments.extend(layers(chain));
        self.json(&arguments);
        let bytes = fs::read(&target).unwrap();
        fs::remove_file(target).unwrap();
        bytes
    }

    fn inspect(&self, root: &str, layer: &Layer) -> Value {
        self.json(&[words(&["cinder", "inspect", "--read-data"]), layer.place(root)].concat())
    }

    /// Writes our full backup and two increments, and checks that each is whole and comes back.
    fn chain(&self, root: &str, container: Option<&str>, volumes: &[Vec<u8>; 3]) -> Vec<Layer> {
        let mut chain: Vec<Layer> = Vec::new();
        for (day, (volume, compression)) in volumes.iter().zip(["zstd", "none", "zlib"]).enumerate() {
            let layer = self.backup(root, container, volume, (&id(day), compression, chain.last()));
            assert_eq!(layer.container(), container.unwrap_or("volumebackups"));
            let (before, after) = (format!("volume_{VOLUME}/"), format!("/az_nova_backup_{}", id(day)));
            assert!(layer.prefix().starts_with(&before) && layer.prefix().ends_with(&after), "{layer:?}");
            assert_eq!(self.inspect(root, &layer)["whole"], true);
            chain.push(layer);
            assert!(self.restore(root, &chain) == *volume, "{day}");
        }
        chain
    }
}

fn equal(restored: &[u8], volume: &[u8], what: &str) {
    let differ = restored.iter().zip(volume).position(|(byte, expected)| byte != expected);
    assert_eq!((restored.len(), differ), (volume.len(), None), "{what}: the first byte that differs");
}

/// A chain in a container of its own, which is made for it: written, restored, deleted.
fn chains_live_in_containers(server: Server) {
    let Some(store) = Store::find(server) else { return };
    let (root, container) = (store.root(), store.new_container("cinder"));
    let missing = words(&["cinder", "inspect", "--container-root", root, "--container", &container, "--prefix", "x"]);
    let line = store.fail(&missing, 1);
    assert!(line.contains(&format!("{root}{container} does not exist")), "{line}");

    let volumes = volumes();
    let chain = store.chain(root, Some(&container), &volumes);
    let output = store.command(&[&missing[..], &words(&["--json"])].concat()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let inspected: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(inspected["missing"], serde_json::json!(["x_metadata"]));

    // Over what is there, which is longer.
    let target = store.place.file("target", &vec![7; volumes[0].len() + 1000]);
    let mut arguments = words(&["cinder", "restore", "target", "--existing", "--container-root", root]);
    arguments.extend(layers(&chain));
    store.json(&arguments);
    let restored = fs::read(target).unwrap();
    equal(&restored[..volumes[2].len()], &volumes[2], "an existing target");
    assert_eq!(restored[volumes[2].len()..], [7; 1000]);

    let count = number(&chain[1].0, "object_count");
    let deleted = store.json(&[words(&["cinder", "delete"]), chain[1].place(root)].concat());
    assert_eq!(number(&deleted, "deleted_objects"), count + 2, "the data, the metadata and the hashes");
    let restore = words(&["cinder", "restore", "restored", "--container-root", root]);
    let line = store.fail(&[restore, layers(&chain)].concat(), 1);
    assert!(line.contains("no backup of that prefix"), "{line}");
    for layer in [&chain[0], &chain[2]] {
        assert_eq!(store.inspect(root, layer)["whole"], true);
    }
    let again = store.json(&[words(&["cinder", "delete"]), chain[1].place(root)].concat());
    assert_eq!(number(&again, "deleted_objects"), 0);
}

#[test]
fn chains_live_in_buckets_on_seaweedfs() {
    chains_live_in_containers(Server::S3);
}

#[test]
fn chains_live_in_containers_on_swift() {
    chains_live_in_containers(Server::Swift);
}

/// Containers as folders below a place in a bucket: what `aws s3 sync` would make of a store.
fn containers_may_be_folders_of_a_bucket(server: Server) {
    let Some(store) = Store::find(server) else { return };
    let root = store.part("copy");
    let volumes = volumes();
    store.chain(&root, None, &volumes);
    let posix = words(&["--layout", "posix"]);
    store.place.file("volume", &volumes[0]);
    let arguments = words(&["cinder", "backup", "volume", "--volume-id", VOLUME, "--backup-id", &id(7)]);
    let layer = Layer(store.json(&[arguments, form(&root, None, "none", None), posix].concat()));
    assert_eq!(layer.container(), format!("00/00/{}", id(7)));
    equal(&store.restore(&root, &[layer]), &volumes[0], "the posix layout");
}

#[test]
fn containers_may_be_folders_of_a_bucket_on_seaweedfs() {
    containers_may_be_folders_of_a_bucket(Server::S3);
}

#[test]
fn containers_may_be_folders_of_a_container_on_swift() {
    containers_may_be_folders_of_a_bucket(Server::Swift);
}

/// From a container into repositories in a folder and on the same server, and out again, full and as an increment.
fn chains_go_through_repositories(server: Server) {
    let Some(store) = Store::find(server) else { return };
    let (root, container) = (store.root(), store.new_container("cinder-from"));
    let volumes = volumes();
    let chain = store.chain(root, Some(&container), &volumes);
    for (which, repository) in ["repository".to_owned(), store.part("repository")].into_iter().enumerate() {
        let with = |arguments: &[&str]| [words(&["--repo", &repository]), words(arguments)].concat();
        store.json(&with(&["init"]));
        let import = [with(&["cinder", "import", "--container-root", root]), layers(&chain)].concat();
        for was_there in [false, true] {
            let imported = store.json(&import);
            let imported = imported["backups"].as_array().unwrap();
            assert!(imported.len() == 3 && imported.iter().all(|layer| layer["was_there"] == was_there));
        }
        for (day, volume) in volumes.iter().enumerate() {
            store.json(&with(&["restore", &id(day), "restored"]));
            equal(&fs::read(store.place.path("restored")).unwrap(), volume, &repository);
            fs::remove_file(store.place.path("restored")).unwrap();
        }
        store.json(&with(&["verify", "--read-data"]));

        let to = store.new_container(&format!("cinder-to-{which}"));
        let mut exported: Vec<Layer> = Vec::new();
        for (day, backup) in [(1, id(1)), (2, id(2))] {
            let new_id = id(16 * (which + 1) + day);
            let arguments = with(&["cinder", "export", &backup, "--backup-id", &new_id]);
            let arguments = [arguments, form(root, Some(&to), "zstd", exported.last())].concat();
            exported.push(Layer(store.json(&arguments)));
            assert_eq!(store.inspect(root, &exported[exported.len() - 1])["whole"], true);
            equal(&store.restore(root, &exported), &volumes[day], &backup);
        }
        assert!(exported[0].0["parent_id"].is_null() && exported[1].0["parent_id"] == exported[0].0["backup_id"]);
    }
}

#[test]
fn chains_go_through_repositories_on_seaweedfs() {
    chains_go_through_repositories(Server::S3);
}

#[test]
fn chains_go_through_repositories_on_swift() {
    chains_go_through_repositories(Server::Swift);
}

/// Nothing is asked before: no server is needed.
#[test]
fn what_a_service_can_not_have_is_refused() {
    let place = Place::bare();
    place.file("volume", b"x");
    for root in ["s3://", "swift://", "gs://", "az://"] {
        let backup = ["cinder", "backup", "volume", "--volume-id", VOLUME, "--container-root", root];
        let line = place.fail(&[&backup[..], &["--layout", "posix"]].concat(), 2);
        assert!(line.contains("--layout swift"), "{line}");
        let line = place.fail(&[&backup[..], &["--container", "22/22/2222"]].concat(), 2);
        assert!(line.contains("no slash"), "{line}");
        let inspect = ["cinder", "inspect", "--container-root", root, "--container", "a/b", "--prefix", "x"];
        assert!(place.fail(&inspect, 2).contains("no slash"));
        let restore = ["cinder", "restore", "new", "--container-root", root, "--layer", "a/b:x"];
        assert!(place.fail(&restore, 2).contains("no slash"));
    }
    for root in ["s3:", "s3:///x", "ftp://", "s3://key:hunter2@bucket"] {
        let line = place.fail(&["cinder", "restore", "new", "--container-root", root, "--layer", "a:x"], 2);
        assert!(line.contains("--container-root: ") && !line.contains("hunter2"), "{line}");
    }
}

/// The real driver beside ours, on the same container.
struct Both {
    oracle: Oracle,
    store: Store,
    container: String,
}

impl Both {
    fn start(server: Server) -> Option<Self> {
        let store = Store::find(server)?;
        let container = store.new_container("cinder-both");
        match installed_with(server.module()).and_then(|_| Oracle::start(&store.place.path(""))) {
            Ok(oracle) => Some(Self { oracle, store, container }),
            Err(reason) => {
                println!("skipped: {reason}");
                None
            }
        }
    }

    fn question(&self, compression: &str, question: &[&str]) -> Vec<String> {
        [self.store.driver(&self.container, compression, PIECES), words(question)].concat()
    }

    fn backup(&mut self, side: Side, volume: &[u8], (id, compression, parent): (&str, &str, Option<&Layer>)) -> Layer {
        match side {
            Side::Ours => {
                let layer =
                    self.store.backup(self.store.root(), Some(&self.container), volume, (id, compression, parent));
                self.register(&layer);
                layer
            }
            Side::Real => {
                let path = self.store.place.file("volume", volume);
                let mut question = vec!["backup", "--volume", path.to_str().unwrap()];
                question.extend(["--volume-id", VOLUME, "--backup-id", id]);
                question.extend(parent.into_iter().flat_map(|parent| ["--parent", text(&parent.0, "backup_id")]));
                Layer(self.oracle.ask(&self.question(compression, &question)))
            }
        }
    }

    /// Tells the real driver of a backup that it did not write.
    fn register(&mut self, layer: &Layer) {
        let (id, size) = (text(&layer.0, "backup_id"), number(&layer.0, "size_gib").to_string());
        let mut question = vec!["import", "--backup-id", id, "--volume-id", VOLUME, "--size-gib", &size];
        question.extend(["--container", layer.container(), "--prefix", layer.prefix()]);
        question.extend(layer.0["parent_id"].as_str().into_iter().flat_map(|parent| ["--parent", parent]));
        self.oracle.ask(&self.question("none", &question));
    }

    /// Restores the last of a chain with both drivers.
    fn assert_restores(&mut self, chain: &[Layer], volume: &[u8], what: &str) {
        equal(&self.store.restore(self.store.root(), chain), volume, what);
        let path = self.store.place.path("restored by Cinder");
        let question = ["restore", "--backup-id", text(&chain[chain.len() - 1].0, "backup_id"), "--volume"];
        let question = [&question[..], &[path.to_str().unwrap()]].concat();
        self.oracle.ask(&self.question("none", &question));
        // Cinder's are as long as the volume's size in whole GiB.
        let mut restored = Vec::new();
        File::open(&path).unwrap().take(volume.len() as u64).read_to_end(&mut restored).unwrap();
        equal(&restored, volume, &format!("{what}, by Cinder"));
        fs::remove_file(path).unwrap();
    }
}

/// Each restores, continues, imports and deletes what the other wrote into a bucket.
fn the_real_driver_shares_a_bucket_with_ours(server: Server) {
    let Some(mut both) = Both::start(server) else { return };
    let (volumes, root) = (volumes(), both.store.root());
    both.store.json(&words(&["init"]));
    let mut number = 0;
    for (sides, compression) in [
        ([Side::Real; 3], "zlib"),
        ([Side::Ours; 3], "zstd"),
        ([Side::Real, Side::Ours, Side::Real], "none"),
        ([Side::Ours, Side::Real, Side::Ours], "zlib"),
    ] {
        let what = format!("{sides:?}, {compression}");
        let mut chain: Vec<Layer> = Vec::new();
        for (side, volume) in sides.into_iter().zip(&volumes) {
            number += 1;
            let layer = both.backup(side, volume, (&id(number), compression, chain.last()));
            assert_eq!(layer.container(), both.container);
            assert_eq!(both.store.inspect(root, &layer)["whole"], true, "{what}");
            chain.push(layer);
            both.assert_restores(&chain, volume, &what);
        }
        let imported =
            both.store.json(&[words(&["cinder", "import", "--container-root", root]), layers(&chain)].concat());
        assert_eq!(imported["backups"].as_array().unwrap().len(), 3);
        for (layer, volume) in chain.iter().zip(&volumes) {
            both.store.json(&words(&["restore", text(&layer.0, "backup_id"), "restored"]));
            equal(&fs::read(both.store.place.path("restored")).unwrap(), volume, &what);
            fs::remove_file(both.store.place.path("restored")).unwrap();
        }
        // An increment of it in the repository continues the chain in the bucket.
        number += 1;
        let export = words(&["cinder", "export", text(&chain[0].0, "backup_id"), "--backup-id", &id(number)]);
        let container = both.container.clone();
        let export = [export, form(root, Some(&container), compression, chain.last())].concat();
        let exported = Layer(both.store.json(&export));
        both.register(&exported);
        chain.push(exported);
        both.assert_restores(&chain, &volumes[0], &what);

        // The newest by the one, those before it by the other.
        for (layer, side) in chain.iter().rev().zip([Side::Real, Side::Ours, Side::Real, Side::Ours]) {
            match side {
                Side::Ours => {
                    let deleted = both.store.json(&[words(&["cinder", "delete"]), layer.place(root)].concat());
                    assert!(
                        deleted["deleted_objects"].as_u64().unwrap() >= 2 && deleted["stray"] == Value::Array(vec![])
                    );
                }
                Side::Real => {
                    let question = both.question("none", &["delete", "--backup-id", text(&layer.0, "backup_id")]);
                    both.oracle.ask(&question);
                    let again = both.store.json(&[words(&["cinder", "delete"]), layer.place(root)].concat());
                    assert_eq!(again["deleted_objects"], 0, "{what}: Cinder left something");
                }
            }
        }
    }
}

#[test]
fn cinders_s3_driver_shares_a_bucket_with_ours_on_seaweedfs() {
    the_real_driver_shares_a_bucket_with_ours(Server::S3);
}

#[test]
fn cinders_swift_driver_shares_a_container_with_ours() {
    the_real_driver_shares_a_bucket_with_ours(Server::Swift);
}
