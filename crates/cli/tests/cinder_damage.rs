//! A damaged backup of Cinder's is refused, and the target is left as it was.

mod common;
mod oracle;

use std::fs::{self, File};

use common::{Place, flip, noise};
use oracle::golden::chains;
use oracle::layer::Layer;
use oracle::pair::{TARGETS, Target, our_restore};

/// Restores the whole chain, which has to fail with a word on this object; checks that nothing was written.
fn assert_refused(place: &Place, chain: &[Layer], object: &str, damage: &str) {
    println!("{damage}");
    let there = noise(3, 400_000);
    for target in TARGETS {
        let path = match target {
            Target::New => place.path("new"),
            Target::Existing => place.file("existing", &there),
        };
        let arguments = our_restore(chain, &path, target);
        let line = place.fail(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), 1);
        assert!(line.contains(object), "{damage}: the error does not name {object}: {line}");
        match target {
            Target::New => assert!(!path.exists(), "{damage}: the new target is there: {line}"),
            Target::Existing => assert!(fs::read(&path).unwrap() == there, "{damage}: the target was changed: {line}"),
        }
    }
}

/// Damages each data object in turn; `damage` gets its path.
fn each_object(what: &str, damage: impl Fn(&std::path::Path)) {
    let place = Place::bare();
    for golden in chains() {
        let chain = golden.copied_to(&place.path(&golden.compression));
        for (number, layer) in chain.iter().enumerate() {
            // Newer layers may hide an object altogether, which then is not read.
            let chain = &chain[..=number];
            for (rest, _) in layer.objects() {
                let (path, bytes) = (layer.path(&rest), layer.read(&rest));
                damage(&path);
                let name = format!("{}{rest}", layer.prefix());
                assert_refused(&place, chain, &name, &format!("{what} {name} ({})", golden.compression));
                fs::write(&path, bytes).unwrap();
            }
        }
    }
}

#[test]
fn a_changed_byte() {
    each_object("the first byte changed in", |path| flip(path, 0));
    // Where zeros were compressed to a few bytes, some can be changed with the same zeros as a result.
    each_object("a byte changed in", |path| {
        let length = fs::metadata(path).unwrap().len();
        flip(path, if length < 1000 { 0 } else { length / 2 });
    });
}

#[test]
fn a_truncated_object() {
    each_object("truncated", |path| {
        let file = File::options().write(true).open(path).unwrap();
        file.set_len(file.metadata().unwrap().len() - 1).unwrap();
    });
}

#[test]
fn bytes_behind_an_object() {
    each_object("bytes were added to", |path| {
        let bytes = fs::read(path).unwrap();
        fs::write(path, [&bytes[..], b"more"].concat()).unwrap();
    });
}

#[test]
fn a_missing_object() {
    each_object("missing", |path| fs::remove_file(path).unwrap());
}

#[test]
fn stray_objects() {
    let place = Place::bare();
    let golden = &chains()[1];
    let chain = golden.copied_to(&place.path("stray"));
    for layer in &chain {
        for rest in ["-foo", "-00099", "_metadata.1", "x"] {
            fs::write(layer.path(rest), "stray").unwrap();
            assert_refused(&place, &chain, &format!("{}{rest}", layer.prefix()), "stray");
            fs::remove_file(layer.path(rest)).unwrap();
        }
    }
}

#[test]
fn missing_and_broken_metadata() {
    let place = Place::bare();
    let golden = &chains()[1];
    let chain = golden.copied_to(&place.path("metadata"));
    for layer in &chain {
        let (path, text) = (layer.path("_metadata"), layer.document("_metadata"));
        let name = format!("{}_metadata", layer.prefix());
        for broken in
            [&text[..text.len() / 2], "", "[]", "{}", &text.replace("\"version\": \"1.0.0\"", "\"version\": 1")]
        {
            fs::write(&path, broken).unwrap();
            assert_refused(&place, &chain, &name, "broken");
        }
        let newer = text.replace("\"version\": \"1.0.0\"", "\"version\": \"2.0.0\"");
        assert_ne!(newer, text);
        fs::write(&path, newer).unwrap();
        assert_refused(&place, &chain, "No support to restore backup version 2.0.0", "newer");
        fs::remove_file(&path).unwrap();
        assert_refused(&place, &chain, &name, "missing");
        fs::write(&path, text).unwrap();
    }
}
