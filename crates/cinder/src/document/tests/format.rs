//! The same bytes as Python's, and values as they were.

use std::io::Write as _;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::document::*;

/// Reads a document and writes it again.
pub(super) fn rewrite_metadata(document: &[u8]) -> Result<String, Error> {
    let mut objects = Vec::new();
    let read = read_metadata("x_metadata", document, &mut |object| {
        objects.push(object);
        Ok(())
    })?;
    assert_eq!(read.objects, objects.len() as u64);
    let mut writer = MetadataWriter::new(Vec::new(), &read.head, read.extra_metadata.as_ref()).unwrap();
    for object in &objects {
        writer.push(object).unwrap();
    }
    let again = writer.finish(read.parent_id.as_deref(), read.volume_meta.as_deref()).unwrap();
    Ok(String::from_utf8(again).unwrap())
}

/// Reads a document and writes it again.
pub(super) fn rewrite_sha256file(document: &[u8]) -> Result<String, Error> {
    let mut hashes = Vec::new();
    let read = read_sha256file("x_sha256file", document, &mut |batch| {
        assert!((1..=HASHES_PER_VISIT).contains(&batch.len()));
        hashes.extend_from_slice(batch);
        Ok(())
    })?;
    assert_eq!(read.hashes, hashes.len() as u64);
    let mut writer = Sha256FileWriter::new(Vec::new(), &read.head, read.chunk_size).unwrap();
    writer.push_all(&hashes).unwrap();
    Ok(String::from_utf8(writer.finish().unwrap()).unwrap())
}

pub(super) const FULL_METADATA: &[u8] = include_bytes!("../../../tests/golden/documents/full_metadata");
pub(super) const FULL_SHA256FILE: &[u8] = include_bytes!("../../../tests/golden/documents/full_sha256file");

#[test]
fn documents_of_the_real_driver_are_written_again_byte_for_byte() {
    for document in [
        FULL_METADATA,
        include_bytes!("../../../tests/golden/documents/increment_metadata"),
        include_bytes!("../../../tests/golden/documents/unchanged_metadata"),
    ] {
        assert_eq!(rewrite_metadata(document).unwrap().as_bytes(), document);
    }
    for document in [
        FULL_SHA256FILE,
        include_bytes!("../../../tests/golden/documents/increment_sha256file"),
        include_bytes!("../../../tests/golden/documents/unchanged_sha256file"),
    ] {
        assert_eq!(rewrite_sha256file(document).unwrap().as_bytes(), document);
    }
}

/// A JSON text as Python's documentation describes it for `ensure_ascii`.
fn reference(text: &str) -> String {
    let mut json = "\"".to_owned();
    for unit in text.encode_utf16() {
        match u8::try_from(unit).map(char::from) {
            Ok('"') => json += "\\\"",
            Ok('\\') => json += "\\\\",
            Ok('\n') => json += "\\n",
            Ok('\r') => json += "\\r",
            Ok('\t') => json += "\\t",
            Ok('\u{8}') => json += "\\b",
            Ok('\u{c}') => json += "\\f",
            Ok(character @ ' '..='~') => json.push(character),
            _ => json += &format!("\\u{unit:04x}"),
        }
    }
    json + "\""
}

fn written(text: &str) -> String {
    let mut out = Output::new(Vec::new());
    out.text(text).unwrap();
    String::from_utf8(out.finish().unwrap()).unwrap()
}

proptest! {
    #[test]
    fn texts_are_escaped_as_python_escapes_them(text in "(?s).{0,40}|[\"\\\\\u{0}-\u{20}~\u{7f}-\u{a0}]{0,40}") {
        prop_assert_eq!(written(&text), reference(&text));
    }

    #[test]
    fn what_was_written_is_read_again(
        texts in prop::collection::vec("(?s).{0,40}", 6),
        absent in prop::array::uniform4(any::<bool>()),
        objects in prop::collection::vec(("(?s).{1,40}", "[a-z0-9]{0,5}", any::<u32>(), any::<[u8; 16]>(), any::<u32>()), 0..5),
        hashes in prop::collection::vec(any::<[u8; 32]>(), 0..5),
        chunk_size in 1..=u64::MAX,
    ) {
        let option = |index: usize| (!absent[index]).then(|| texts[index].clone());
        let head = Head {
            backup_description: option(0),
            backup_name: option(1),
            backup_id: texts[2].clone(),
            created_at: texts[3].clone(),
            version: texts[4].clone(),
            volume_id: texts[5].clone(),
        };
        let mut writer = Sha256FileWriter::new(Vec::new(), &head, chunk_size).unwrap();
        writer.push_all(&hashes).unwrap();
        let mut read_hashes = Vec::new();
        let document = writer.finish().unwrap();
        let read = read_sha256file("x", document.as_slice(), &mut |batch| {
            read_hashes.extend_from_slice(batch);
            Ok(())
        }).unwrap();
        let count = hashes.len() as u64;
        prop_assert_eq!(read, Sha256File { head: head.clone(), chunk_size, hashes: count });
        prop_assert_eq!(read_hashes, hashes);

        let objects: Vec<_> = objects.into_iter().map(|(name, compression, length, md5, offset)| {
            ObjectEntry { name, compression, length: length.into(), md5, offset: offset.into() }
        }).collect();
        let extra_metadata = ExtraMetadata::new(&json!({ texts[0].as_str(): [texts[1], {}, [], null] }));
        let mut writer = MetadataWriter::new(Vec::new(), &head, extra_metadata.as_ref()).unwrap();
        objects.iter().for_each(|object| writer.push(object).unwrap());
        let (parent_id, volume_meta) = (option(2), option(3));
        let document = writer.finish(parent_id.as_deref(), volume_meta.as_deref()).unwrap();
        let mut read_objects = Vec::new();
        let read = read_metadata("x", document.as_slice(), &mut |object| {
            read_objects.push(object);
            Ok(())
        }).unwrap();
        let count = objects.len() as u64;
        prop_assert_eq!(read, Metadata { head, extra_metadata, parent_id, volume_meta, objects: count });
        prop_assert_eq!(read_objects, objects);
    }
}

/// What Python makes of our documents: it reads and writes them again. None without Python.
fn through_python(document: &[u8]) -> Option<Vec<u8>> {
    let program = "import json, sys\n\
        document = json.loads(sys.stdin.buffer.read().decode('utf-8'))\n\
        sys.stdout.buffer.write(json.dumps(document, sort_keys=True, indent=2).encode('utf-8'))";
    let child = Command::new("python3").args(["-c", program]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut child) = child else {
        println!("skipped: there is no python3 to compare with");
        return None;
    };
    child.stdin.take().unwrap().write_all(document).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    Some(output.stdout)
}

/// Values whose text Python and others disagree on most.
fn extra_value() -> Value {
    json!({
        "z": [], "a": {}, "é": "é", "😀": {"\u{ffff}": 1, "nested": [[1], {"b": null, "a": [true, false]}]},
        "floats": [0.0, -0.0, 1.0, 0.1, 1e15, 1e16, 1.5e16, 123456789012345680.0, 1e22, 1e23, 1e-4, 1e-5, 1.25e-7, 5e-324,
            1.7976931348623157e308, -2.5, 100.0, 9007199254740993.0, 4.35, 1e100],
        "numbers": [0, -1, u64::MAX, i64::MIN],
    })
}

#[test]
fn python_writes_our_documents_as_we_do() {
    let every: String = (0..=0x300).chain(0x2020..0x2030).chain(0xfff0..0x1_0010).filter_map(char::from_u32).collect();
    for text in ["", "é", "😀 \u{10ffff}", "\u{7f}\u{80}\u{2028}\u{2029}\"\\/\u{0}\u{1f}", &every] {
        let head = Head {
            backup_name: Some(text.to_owned()),
            backup_description: Some(format!("{text}{text}")),
            ..Head::default()
        };
        let extra = ExtraMetadata::new(&extra_value());
        let mut writer = MetadataWriter::new(Vec::new(), &head, extra.as_ref()).unwrap();
        let object = ObjectEntry {
            name: format!("volume{text}"),
            compression: "zlib".to_owned(),
            length: u64::MAX - 1,
            md5: [0xf0; 16],
            offset: 1,
        };
        writer.push(&object).unwrap();
        writer.push(&ObjectEntry { offset: 0, ..object }).unwrap();
        let metadata = writer.finish(Some(text), Some("{\"version\": 2}")).unwrap();
        let sha256file = Sha256FileWriter::new(Vec::new(), &head, u64::MAX).unwrap().finish().unwrap();
        for document in [metadata, sha256file] {
            let Some(python) = through_python(&document) else { return };
            assert_eq!(String::from_utf8(python), String::from_utf8(document));
        }
    }
}

#[test]
fn extra_metadata_are_formatted_at_their_depth() {
    let extra = ExtraMetadata::new(&json!({"b": [1, 1e16, {"é": 2.0}], "a": ""})).unwrap();
    let text = "{\n    \"a\": \"\",\n    \"b\": [\n      1,\n      1e+16,\n      {\n        \"\\u00e9\": 2.0\n      }\n    ]\n  }";
    assert_eq!(extra.as_json(), text);
}

#[test]
fn extra_metadata_that_python_takes_for_false_are_none() {
    for value in [json!(null), json!(false), json!(0), json!(0.0), json!(-0.0), json!(""), json!([]), json!({})] {
        assert_eq!(ExtraMetadata::new(&value), None, "{value}");
    }
    for value in [json!(true), json!(-1), json!(0.5), json!("0"), json!([null]), json!({"": null})] {
        assert_eq!(ExtraMetadata::new(&value).unwrap().value(), &value);
    }
}

#[test]
fn extra_metadata_that_were_read_are_kept_to_the_digit() {
    let text =
        "{\n    \"big\": 123456789012345678901234567890,\n    \"float\": 0.1000000000000000055511151231257827\n  }";
    let document = String::from_utf8(FULL_METADATA.to_vec()).unwrap();
    let document = document.replace("  \"objects\": [", &format!("  \"extra_metadata\": {text},\n  \"objects\": ["));
    assert_eq!(rewrite_metadata(document.as_bytes()).unwrap(), document);
}

#[test]
fn keys_come_in_any_order_and_unknown_ones_are_skipped() {
    let hash = "ab".repeat(32);
    let document = format!(
        "\r\n\t{{\"sha256s\":[\"{hash}\"],\"x\":{{\"y\":[1e5,-0.5,\"\\ud83d\\ude00\",true,null,{{}}]}},\"volume_id\":\"v\",\
         \"version\":\"9\",\"chunk_size\":1,\"x\":0,\"backup_id\":\"\\u0062\"}} "
    );
    let mut hashes = Vec::new();
    let read = read_sha256file("x", document.as_bytes(), &mut |batch| {
        hashes.extend_from_slice(batch);
        Ok(())
    });
    let head =
        Head { version: "9".to_owned(), volume_id: "v".to_owned(), backup_id: "b".to_owned(), ..Head::default() };
    assert_eq!(read.unwrap(), Sha256File { head, chunk_size: 1, hashes: 1 });
    assert_eq!(hashes, [[0xab; 32]]);

    let document = format!(
        "{{\"version\":\"1.0.0\",\"objects\":[{{\"n\":{{\"offset\":7,\"new\":[],\"md5\":\"{0}\",\"length\":0,\
         \"compression\":\"bz2\"}}}}],\"backup_name\":null}}",
        "0f".repeat(16)
    );
    let mut objects = Vec::new();
    let read = read_metadata("x", document.as_bytes(), &mut |object| {
        objects.push(object);
        Ok(())
    });
    let plain =
        Metadata { head: Head::default(), extra_metadata: None, parent_id: None, volume_meta: None, objects: 1 };
    assert_eq!(read.unwrap(), plain);
    let entry =
        ObjectEntry { name: "n".to_owned(), compression: "bz2".to_owned(), length: 0, md5: [0x0f; 16], offset: 7 };
    assert_eq!(objects, [entry]);
}
