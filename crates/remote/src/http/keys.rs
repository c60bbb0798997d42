//! Keys of a listing that `object_store` can't take, or would take for others.
//!
//! It makes a `Path` of each key, which has no empty part, no `..` and no slash at its end: one key `a//b` of somebody else
//! would be an error for the whole listing, and `packs/`, which some tools make as a folder, would be an object `packs`. So
//! such keys are written otherwise before it sees them, and read back afterwards.

use std::borrow::Cow;
use std::fmt::Write as _;

use object_store::path::Path;

/// What stands before a key that is written otherwise. A key that begins so by itself is written otherwise, too.
const MARK: &str = "%%key%%";

/// The key that a listing's path stands for.
pub(crate) fn original(path: &str) -> Cow<'_, str> {
    let Some(hex) = path.strip_prefix(MARK) else { return Cow::Borrowed(path) };
    let digits = hex.as_bytes().chunks(2).map(|pair| {
        let text = std::str::from_utf8(pair).ok().filter(|text| text.len() == 2)?;
        u8::from_str_radix(text, 16).ok()
    });
    match digits.collect::<Option<Vec<u8>>>() {
        Some(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        None => Cow::Borrowed(path),
    }
}

/// The listing with keys that any `Path` can be made of. `element` is the name of the elements that hold them.
pub(crate) fn rewrite(xml: &str, element: &str) -> String {
    let (open, close) = (format!("<{element}>"), format!("</{element}>"));
    let mut rewritten = String::with_capacity(xml.len());
    let mut rest = xml;
    while let Some((before, inside)) = rest.split_once(&open) {
        let Some((raw, after)) = inside.split_once(&close) else { break };
        rewritten.push_str(before);
        rewritten.push_str(&open);
        let key = unescape(raw);
        let is_plain = !key.starts_with(MARK) && Path::parse(&*key).is_ok_and(|path| path.as_ref() == key);
        if is_plain {
            rewritten.push_str(raw);
        } else {
            rewritten.push_str(MARK);
            for byte in key.bytes() {
                // Writing to a string does not fail.
                let _ = write!(rewritten, "{byte:02x}");
            }
        }
        rewritten.push_str(&close);
        rest = after;
    }
    rewritten.push_str(rest);
    rewritten
}

/// The text that an element's content stands for (XML 1.0, sections 4.1 and 4.6).
fn unescape(raw: &str) -> Cow<'_, str> {
    if !raw.contains('&') {
        return Cow::Borrowed(raw);
    }
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((before, from)) = rest.split_once('&') {
        text.push_str(before);
        let entity = from.split_once(';').and_then(|(entity, after)| Some((character(entity)?, after)));
        match entity {
            Some((character, after)) => {
                text.push(character);
                rest = after;
            }
            None => {
                text.push('&');
                rest = from;
            }
        }
    }
    text.push_str(rest);
    Cow::Owned(text)
}

fn character(entity: &str) -> Option<char> {
    match entity {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = entity.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escape(key: &str) -> String {
        let mut text = String::new();
        for c in key.chars() {
            match c {
                '&' => text.push_str("&amp;"),
                '<' => text.push_str("&lt;"),
                '>' => text.push_str("&gt;"),
                c if c.is_control() => write!(text, "&#x{:x};", u32::from(c)).unwrap(),
                c => text.push(c),
            }
        }
        text
    }

    fn key_of(xml: &str) -> String {
        let (_, rest) = xml.split_once("<Key>").unwrap();
        unescape(rest.split_once("</Key>").unwrap().0).into_owned()
    }

    #[test]
    fn plain_keys_stay_as_they_are() {
        let xml =
            "<r><Contents><Key>packs/ab/x</Key><Size>1</Size></Contents><Contents><Key>a&amp;b%</Key></Contents></r>";
        assert_eq!(rewrite(xml, "Key"), xml);
    }

    #[test]
    fn a_folder_of_other_tools_is_no_object() {
        let xml = rewrite("<Key>repo/packs/</Key>", "Key");
        assert!(Path::parse(key_of(&xml)).is_ok());
        assert_ne!(Path::parse(key_of(&xml)).unwrap().as_ref(), "repo/packs");
        assert_eq!(original(&key_of(&xml)), "repo/packs/");
    }

    #[test]
    fn a_listing_that_is_cut_off_stays_cut_off() {
        assert_eq!(rewrite("<r><Key>a//b", "Key"), "<r><Key>a//b");
        assert_eq!(rewrite("", "Key"), "");
    }

    proptest! {
        #[test]
        fn any_key_comes_back_through_a_path(key in "(%%key%%)?[a/.%&<\"\\\\ ä\u{1}\n-]{0,12}") {
            let xml = rewrite(&format!("<r><Key>{}</Key></r>", escape(&key)), "Key");
            let path = Path::parse(key_of(&xml));
            if !key.is_empty() {
                let path = path.unwrap();
                prop_assert_eq!(original(path.as_ref()), key);
            }
        }

        #[test]
        fn any_answer_is_borne(xml in any::<String>(), inside in any::<String>()) {
            rewrite(&xml, "Key");
            rewrite(&format!("<Key>{inside}</Key>{xml}"), "Key");
            original(&xml);
        }
    }
}
