//! What may become of an object.

use cinderblock_backend::ObjectName;

use crate::scene::full::{Full, Kind};
use crate::scene::{all_cases, is_encrypted};

/// What became of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// It is as it was: all has to go well.
    Intact,
    Missing,
    Truncated(usize),
    Zeroed,
    /// Another one of its kind is in its place.
    Swapped,
    /// One of another repository is in its place.
    Foreign,
    /// What stood for the same thing before is in its place.
    Older,
    /// A bit is flipped in this part of it.
    Flipped(&'static str),
}

/// A form of damage, and the bytes that are left; none where the object is missing.
#[derive(Debug)]
pub struct Damage {
    pub form: Form,
    pub bytes: Option<Vec<u8>>,
}

/// The object of a kind in all forms.
pub fn damages(kind: Kind, full: &Full, elsewhere: &Full) -> (ObjectName, Vec<Damage>) {
    let victim = full.victims.get(&kind).expect("there is one of every kind");
    let good = &victim.bytes;
    let mut damages = Vec::new();
    let mut add = |form, bytes: Option<&[u8]>| damages.push(Damage { form, bytes: bytes.map(<[u8]>::to_vec) });
    add(Form::Intact, Some(good));
    add(Form::Missing, None);
    for length in [0, 50, good.len() / 2, good.len() - 3] {
        add(Form::Truncated(length), Some(&good[..length]));
    }
    add(Form::Zeroed, Some(&vec![0; good.len()]));
    add(Form::Foreign, elsewhere.victims.get(&kind).map(|victim| &victim.bytes[..]));
    if let Some(other) = &victim.other {
        add(Form::Swapped, Some(other));
    }
    if let Some(older) = &victim.older {
        add(Form::Older, Some(older));
    }
    for (region, at) in regions(kind, good) {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        add(Form::Flipped(region), Some(&bytes));
    }
    if !all_cases() {
        // Of some, it hardly matters what is in them; and where they end early is one thing mostly.
        let by_presence = matches!(kind, Kind::Session | Kind::Renewal | Kind::Fence | Kind::Tombstone);
        damages.retain(|damage| match damage.form {
            Form::Truncated(length) => length == 50,
            Form::Flipped(region) => !by_presence || region == "body",
            _ => true,
        });
    }
    (victim.name.clone(), damages)
}

/// A byte of each part of an object.
fn regions(kind: Kind, bytes: &[u8]) -> Vec<(&'static str, usize)> {
    let end = bytes.len();
    match kind {
        Kind::Descriptor => {
            let text = std::str::from_utf8(bytes).expect("a text");
            let value = |name: &str| text.find(name).expect("a member") + name.len();
            let id = value("\"repository_id\": \"");
            // A digit that becomes another digit.
            let digit = (id..id + 32).find(|at| bytes[*at].is_ascii_digit()).expect("a digit");
            vec![
                ("name of a member", value("\"chunk_")),
                ("format", value("\"format\": \"")),
                ("version", value("\"version\": ")),
                ("repository id", digit),
                ("chunk size", value("\"chunk_size\": ")),
                ("time", value("\"created_at\": \"20")),
                ("encryption", value("\"encryption\": \"")),
            ]
        }
        Kind::DataPack | Kind::MapPack => {
            let footer = end - 64;
            let directory = u64::from_le_bytes(bytes[footer..footer + 8].try_into().expect("8 bytes")) as usize;
            vec![
                ("header", 20),
                ("beginning of the frames", 64 + (directory - 64) / 4),
                ("end of the frames", directory - 5),
                ("directory", (directory + footer) / 2),
                ("footer", footer + 20),
                ("end", end - 1),
            ]
        }
        // Where what is sealed ends, only a key tells.
        Kind::Record if is_encrypted() => {
            vec![("header", 20), ("beginning", 70), ("middle", end / 2), ("end", end - 5)]
        }
        Kind::Record => {
            let head = u32::from_le_bytes(bytes[64..68].try_into().expect("4 bytes")) as usize;
            vec![
                ("header", 20),
                ("length of the head", 64),
                ("head", 68 + head / 2),
                ("checksum of the head", 68 + head + 5),
                ("tail", 100 + head + 3),
                ("map", end - 40),
                ("checksum", end - 5),
            ]
        }
        _ => vec![("version", 9), ("repository id", 20), ("body", (64 + end - 32) / 2), ("checksum", end - 5)],
    }
}
