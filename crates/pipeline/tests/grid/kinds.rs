//! Which kinds of objects the grid has: all that the format knows, but for those that are left out for a reason.

use std::collections::BTreeSet;

use cinderblock_store::Kind as Stored;

use super::FULL;
use crate::scene::full::Kind;

/// Kinds that no repository of the grid has, and why.
const LEFT_OUT: [(Stored, &str); 2] = [
    (Stored::KeySlot, "only encrypted repositories have keys; `store/src/key/slot_tests.rs` damages them"),
    (Stored::Policy, "only repositories with locks have policies; `store/src/policy.rs` damages them"),
];

/// Where the kinds are written down. The type is not exhaustive, so that no compiler tells of a new one.
const SOURCE: &str = include_str!("../../../store/src/object.rs");

/// The kind that an object's header states; the descriptor has no header.
fn stored_as(kind: Kind) -> Option<Stored> {
    Some(match kind {
        Kind::Descriptor => return None,
        Kind::DataPack => Stored::DataPack,
        Kind::MapPack => Stored::MapPack,
        Kind::Segment => Stored::Segment,
        Kind::Record => Stored::Record,
        Kind::Session | Kind::Renewal => Stored::Session,
        Kind::Mark => Stored::Mark,
        Kind::Collection => Stored::Collection,
        Kind::Fence => Stored::Fence,
        Kind::Tombstone => Stored::Tombstone,
        Kind::Note => Stored::Damage,
        Kind::Cursor => Stored::Cursor,
        Kind::Ended => Stored::Ended,
    })
}

/// Names and numbers of the variants of the store's `Kind`.
fn written_down() -> BTreeSet<(String, u8)> {
    let (_, after) = SOURCE.split_once("pub enum Kind {").expect("the store has kinds of objects");
    let (variants, _) = after.split_once('}').expect("the type has an end");
    let variants = variants.lines().filter_map(|line| line.trim().strip_suffix(',')?.split_once(" = "));
    variants.map(|(name, number)| (name.to_owned(), number.parse().expect("a number"))).collect()
}

/// Every kind that the store knows is among the `tested` ones or left out, and the scene's objects are what they are said to be.
pub fn check(tested: &[Kind]) {
    let stored = tested.iter().filter_map(|kind| stored_as(*kind)).chain(LEFT_OUT.map(|(kind, _)| kind));
    let known: BTreeSet<_> = stored.map(|kind| (format!("{kind:?}"), kind as u8)).collect();
    assert_eq!(written_down(), known, "a kind of object that the grid does not have");
    for (kind, victim) in &FULL.victims {
        assert!(tested.contains(kind), "{kind:?} has no test");
        if let Some(stored) = stored_as(*kind) {
            // Byte 8 of a header is the kind.
            assert_eq!(victim.bytes[8], stored as u8, "{kind:?}: {}", victim.name);
        }
    }
}
