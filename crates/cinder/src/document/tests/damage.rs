//! What is not as Cinder writes it is refused, with the place.

use std::io::{self, Read};

use proptest::prelude::*;

use super::format::{FULL_METADATA, FULL_SHA256FILE, rewrite_metadata, rewrite_sha256file};
use crate::document::*;

#[track_caller]
fn assert_bad<T: std::fmt::Debug>(result: Result<T, Error>, expected: &str) {
    match result {
        Err(Error::BadDocument { reason, .. }) if reason.contains(expected) => {}
        other => panic!("{other:?} where {expected:?} was expected"),
    }
}

/// The whole document with the first occurrence of something replaced.
fn changed(document: &[u8], from: &str, to: &str) -> Vec<u8> {
    let text = std::str::from_utf8(document).unwrap();
    assert!(text.contains(from), "{from}");
    text.replacen(from, to, 1).into_bytes()
}

#[test]
fn damaged_metadata_are_refused() {
    let md5 = "\"96c5f7f2b9567bcf2b4f256928374cb3\"";
    for (from, to, expected) in [
        ("\"length\": 131072", "\"length\": -1", "a negative number, at line 10 column 19"),
        ("\"length\": 131072", "\"length\": -0", "a negative number"),
        ("\"length\": 131072", "\"length\": 1.0", "not whole"),
        ("\"length\": 131072", "\"length\": 1e3", "not whole"),
        ("\"length\": 131072", "\"length\": 0131072", "begins with 0"),
        ("\"length\": 131072", "\"length\": 00", "begins with 0"),
        ("\"length\": 131072", "\"length\": 18446744073709551616", "2^64 or more"),
        ("\"length\": 131072", "\"length\": \"131072\"", "a text instead of a number, at line 10"),
        ("\"length\": 131072", "\"length\": null", "instead of a number"),
        ("\"length\": 131072", "\"length\": NaN", "instead of a number"),
        ("\"length\": 131072", "\"length\": ", "instead of a number"),
        ("\"length\": 131072", "\"length\": 18446744073709551615,\"offset\": 1, \"x\": 0", "a second offset"),
        ("\"offset\": 131072", "\"offset\": 18446744073709551615", "ends beyond byte 2^64"),
        ("        \"length\": 131072,\n", "", "lacks one of"),
        ("\"offset\"", "\"Offset\"", "lacks one of"),
        ("\"compression\": \"none\",", "", "lacks one of"),
        ("\"compression\": \"none\"", "\"compression\": null", "instead of a text"),
        ("\"length\"", "\"offset\"", "a second offset"),
        (md5, "\"96c5f7f2b9567bcf2b4f256928374cb\"", "32 lower-case hexadecimal"),
        (md5, "\"96c5f7f2b9567bcf2b4f256928374cb30\"", "32 lower-case hexadecimal"),
        (md5, "\"96C5F7F2B9567BCF2B4F256928374CB3\"", "32 lower-case hexadecimal"),
        (md5, "\"96c5f7f2b9567bcf2b4f256928374cbg\"", "32 lower-case hexadecimal"),
        (md5, "\"96c5f7f2b9567bcf2b4f256928374c\u{e9}\"", "32 lower-case hexadecimal"),
        (md5, "null", "instead of a text"),
        ("    {\n      \"volume_", "    {},\n    {\n      \"volume_", "names no object, at line 7"),
        ("    {\n      \"volume_", "    null,\n    {\n      \"volume_", "instead of an object"),
        ("      }\n    },", "      }, \"x\": {}\n    },", "names a second object"),
        ("      \"volume_", "      \"\": {}, \"volume_", "without a name"),
        ("\"objects\": [", "\"objects\": {", "an object instead of a list"),
        ("\"objects\": [", "\"objects\": null, \"x\": [", "instead of a list"),
        ("\"objects\": [", "\"x\": [", "it has no objects"),
        ("\"version\": \"1.0.0\",\n", "", "it has no version"),
        ("\"version\": \"1.0.0\"", "\"version\": 1", "instead of a text"),
        ("\"version\": \"1.0.0\"", "\"version\": null", "instead of a text"),
        ("\"version\": \"1.0.0\"", "\"version\": \"1.0.0\", \"version\": \"1.0.0\"", "a second version"),
        ("\"parent_id\": null", "\"parent_id\": null, \"parent_id\": null", "a second parent_id"),
        ("\"parent_id\": null", "\"objects\": []", "a second objects"),
        ("\"parent_id\": null", "\"parent_id\": 7", "instead of a text or null"),
        ("\"parent_id\": null", "\"parent_id\": nul", "neither true, false nor null"),
        ("\"parent_id\": null", "\"parent_id\": tru", "instead of a text or null"),
        ("\"parent_id\": null", "\"x\": tru", "neither true, false nor null"),
        ("\"parent_id\": null", "\"extra_metadata\": {\"a\": NaN}", "instead of a value"),
        ("\"parent_id\": null", "\"extra_metadata\": 1e999", "extra_metadata"),
        ("\"parent_id\": null", "\"x\": 01", "instead of a comma"),
        ("\"parent_id\": null", "\"x\": 1.", "instead of a digit"),
        ("\"parent_id\": null", "\"x\": -", "instead of a digit"),
        ("\"parent_id\": null", "\"x\": 1e+", "instead of a digit"),
        ("\"parent_id\": null", "\"x\": [1,]", "instead of a value"),
        ("\"parent_id\": null", "\"x\": [1 2]", "instead of a comma"),
        ("\"parent_id\": null", "x: 1", "instead of a text"),
        ("\"parent_id\": null", "", "instead of a text"),
        ("\"weekly\"", "\"week\nly\"", "control character 0x0a, at line 2"),
        ("\"weekly\"", "\"\\ud83d\"", "surrogate"),
        ("\"weekly\"", "\"\\ud83d\\ud83d\"", "surrogate"),
        ("\"weekly\"", "\"\\ude00\"", "surrogate"),
        ("\"weekly\"", "\"\\ud83dx\"", "surrogate"),
        ("\"weekly\"", "\"\\u12g4\"", "four hexadecimal digits"),
        ("\"weekly\"", "\"\\x41\"", "after a backslash"),
        ("\"weekly\"", "'weekly'", "instead of a text or null"),
        ("{\n  \"backup_d", "\u{feff}{\n  \"backup_d", "instead of an object"),
        ("{\n  \"backup_d", "[{\n  \"backup_d", "a list instead of an object"),
    ] {
        println!("{to}");
        assert_bad(rewrite_metadata(&changed(FULL_METADATA, from, to)), expected);
    }
}

#[test]
fn damaged_lists_of_hashes_are_refused() {
    let first = std::str::from_utf8(FULL_SHA256FILE).unwrap().lines().nth(7).unwrap();
    let hash = first.trim().trim_end_matches(',');
    let unquoted = hash.trim_matches('"');
    for (from, to, expected) in [
        (hash, "\"\"".to_owned(), "64 lower-case hexadecimal digits, at line 8 column 7"),
        (hash, format!("\"{}\"", &unquoted[1..]), "64 lower-case"),
        (hash, format!("\"0{unquoted}\""), "64 lower-case"),
        (hash, format!("\"{}\"", "AB".repeat(32)), "64 lower-case"),
        (hash, format!("\"{}\"", " 0".repeat(32)), "64 lower-case"),
        (hash, "null".to_owned(), "instead of a text"),
        (hash, "[]".to_owned(), "a list instead of a text"),
        ("\"chunk_size\": 32768", "\"chunk_size\": 0".to_owned(), "chunk_size is 0"),
        ("\"chunk_size\": 32768", "\"chunk_size\": null".to_owned(), "instead of a number"),
        ("\"chunk_size\": 32768", "\"chunk_size\": 1, \"chunk_size\": 1".to_owned(), "a second chunk_size"),
        ("\"chunk_size\"", "\"chunk\"".to_owned(), "it has no chunk_size"),
        ("\"sha256s\"", "\"sha1s\"".to_owned(), "it has no sha256s"),
        ("\"backup_id\"", "\"x\"".to_owned(), "it has no backup_id"),
        ("\"volume_id\"", "\"x\"".to_owned(), "it has no volume_id"),
        ("\"version\": \"1.0.0\"", "\"sha256s\": []".to_owned(), "a second sha256s"),
    ] {
        println!("{to}");
        assert_bad(rewrite_sha256file(&changed(FULL_SHA256FILE, from, &to)), expected);
    }
}

#[test]
fn nothing_may_follow_a_document() {
    for tail in ["x", "{}", "\n]", "\0"] {
        assert_bad(rewrite_metadata(&[FULL_METADATA, tail.as_bytes()].concat()), "something follows");
        assert_bad(rewrite_sha256file(&[FULL_SHA256FILE, tail.as_bytes()].concat()), "something follows");
    }
    rewrite_metadata(&[FULL_METADATA, b" \n".as_slice()].concat()).unwrap();
}

#[test]
fn a_document_cut_off_anywhere_is_refused() {
    for length in 0..FULL_METADATA.len() {
        assert_bad(rewrite_metadata(&FULL_METADATA[..length]), "the document ends early, at line");
    }
    for length in 0..FULL_SHA256FILE.len() {
        assert_bad(rewrite_sha256file(&FULL_SHA256FILE[..length]), "the document ends early, at line");
    }
}

#[test]
fn texts_that_are_not_utf_8_are_refused() {
    for bytes in [b"\xff".as_slice(), b"\xc3", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xc0\x80"] {
        let mut document = changed(FULL_METADATA, "weekly", "XX");
        let at = document.windows(2).position(|window| window == b"XX").unwrap();
        document.splice(at..at + 2, bytes.iter().copied());
        assert_bad(rewrite_metadata(&document), "not UTF-8, at line 2");
        // In what is skipped too.
        let document = [b"{\"x\": \"".as_slice(), bytes, b"\"}"].concat();
        assert_bad(rewrite_sha256file(&document), "not UTF-8");
    }
}

#[test]
fn deep_nesting_is_refused() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    for key in ["x", "extra_metadata"] {
        let document = |depth| format!("{{\"{key}\": {}, \"version\": \"1\", \"objects\": []}}", nested(depth));
        rewrite_metadata(document(100).as_bytes()).unwrap();
        assert_bad(rewrite_metadata(document(100_000).as_bytes()), "nesting deeper than 128");
    }
}

#[test]
fn a_failing_storage_is_no_bad_document() {
    struct Failing<'a>(&'a [u8]);
    impl Read for Failing<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the line was cut")),
                bytes => Ok(bytes),
            }
        }
    }
    for length in 0..FULL_SHA256FILE.len() {
        let read = read_sha256file("the object", Failing(&FULL_SHA256FILE[..length]), &mut |_| Ok(()));
        match read {
            Err(Error::ReadObject { object, source }) => {
                assert_eq!((object.as_str(), source.to_string().as_str()), ("the object", "the line was cut"));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn interrupted_reads_are_repeated() {
    struct Interrupted<'a>(&'a [u8], bool);
    impl Read for Interrupted<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 { Err(io::ErrorKind::Interrupted.into()) } else { self.0.read(&mut buffer[..1]) }
        }
    }
    let read = read_sha256file("x", Interrupted(FULL_SHA256FILE, false), &mut |_| Ok(()));
    assert_eq!(read.unwrap().hashes, 10);
}

#[test]
fn an_error_of_the_visitor_is_handed_on() {
    let stop = || Error::BackupCancelled { backup_id: "b".to_owned() };
    let read = read_metadata("x", FULL_METADATA, &mut |_| Err(stop()));
    assert!(matches!(read, Err(Error::BackupCancelled { .. })), "{read:?}");
    let read = read_sha256file("x", FULL_SHA256FILE, &mut |_| Err(stop()));
    assert!(matches!(read, Err(Error::BackupCancelled { .. })), "{read:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_096))]

    /// Of a value that is skipped, at the end of a document that is otherwise good.
    #[test]
    fn what_is_json_is_what_serde_json_takes_for_it(
        value in "[\\[\\]{}:,\"0-9.eE+ \\-]{1,8}|(-?[0-9]{1,3}(\\.[0-9]{0,2})?([eE][+-]?[0-9]{0,2})?)|\"(\\\\?[\"\\\\/bfnrtu0dé\n ]){0,6}\"\
            |[\\[{](\"a\":|[0-9],|true|null|false|\\[\\]|\\{\\}){0,3}[\\]}]",
    ) {
        let document = format!("{{\"version\": \"1.0.0\", \"objects\": [], \"x\": {value}}}");
        let other = serde_json::from_str::<serde_json::Value>(&document);
        let ours = read_metadata("x", document.as_bytes(), &mut |_| Ok(()));
        match (ours, other) {
            (Ok(_), Err(error)) => prop_assert!(error.to_string().contains("number out of range"), "{error}"),
            (Err(error), Ok(value)) => prop_assert!(
                error.to_string().contains("a second") && value.is_object(), "{error}"),
            _ => {}
        }
    }
}
