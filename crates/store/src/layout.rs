//! Names of the objects of a repository.

use cinderblock_backend::ObjectName;

use crate::error::Error;
use crate::id::{BackupId, CollectionId, CursorId, KeySlotId, PackId, SegmentId, SessionId, VolumeId};

/// The repository's descriptor, the only object that is text.
pub(crate) const DESCRIPTOR: &str = "cinderblock.json";
pub(crate) const PACKS: &str = "packs/";
pub(crate) const SEGMENTS: &str = "index/";
pub(crate) const BACKUPS: &str = "backups/";
pub(crate) const SESSIONS: &str = "sessions/";
pub(crate) const MARKS: &str = "marks/";
pub(crate) const COLLECTIONS: &str = "gc/";
pub(crate) const DAMAGE: &str = "damage/";
pub(crate) const CURSORS: &str = "scrub/";
pub(crate) const FENCES: &str = "fences/";
pub(crate) const TOMBSTONES: &str = "tombstones/";
pub(crate) const KEYS: &str = "keys/";

/// What the names of a repository's objects begin with: all of them, and nobody else's.
pub(crate) const ALL: [&str; 12] =
    [DESCRIPTOR, PACKS, SEGMENTS, BACKUPS, SESSIONS, MARKS, COLLECTIONS, DAMAGE, CURSORS, FENCES, TOMBSTONES, KEYS];

fn name(text: String) -> Result<ObjectName, Error> {
    Ok(ObjectName::new(text)?)
}

pub(crate) fn descriptor() -> Result<ObjectName, Error> {
    name(DESCRIPTOR.to_owned())
}

/// `packs/ab/<pack id>`: 256 folders, named for the id's first byte.
pub(crate) fn pack(id: PackId) -> Result<ObjectName, Error> {
    let [first, ..] = *id.as_bytes();
    name(format!("{PACKS}{first:02x}/{id}"))
}

pub(crate) fn segment(id: SegmentId) -> Result<ObjectName, Error> {
    name(format!("{SEGMENTS}{id}"))
}

/// `backups/<volume>/<backup id>`; the volume's part is a keyed hash where the repository is encrypted.
pub(crate) fn record(volume_part: &str, id: BackupId) -> Result<ObjectName, Error> {
    name(format!("{BACKUPS}{volume_part}/{id}"))
}

/// `sessions/<session id>/<number>`: a renewal is a new object with a higher number.
pub(crate) fn session(id: SessionId, number: u32) -> Result<ObjectName, Error> {
    name(format!("{SESSIONS}{id}/{number:08}"))
}

/// `gc/<collection id>`: packs that are about to be deleted.
pub(crate) fn collection(id: CollectionId) -> Result<ObjectName, Error> {
    name(format!("{COLLECTIONS}{id}"))
}

/// `fences/<session id>/<session id of the collector>`.
pub(crate) fn fence(session: SessionId, collector: SessionId) -> Result<ObjectName, Error> {
    name(format!("{FENCES}{session}/{collector}"))
}

/// `tombstones/<session id>`.
pub(crate) fn tombstone(session: SessionId) -> Result<ObjectName, Error> {
    name(format!("{TOMBSTONES}{session}"))
}

/// The session and the number of a renewal, if it is the name of one.
pub(crate) fn parse_session(object: &ObjectName) -> Option<(SessionId, u32)> {
    let (id, number) = object.as_str().strip_prefix(SESSIONS)?.split_once('/')?;
    let (id, number) = (id.parse().ok()?, number.parse().ok()?);
    (session(id, number).ok()?.as_str() == object.as_str()).then_some((id, number))
}

/// The collection that an object under `gc/` is, if its name is a collection's.
pub(crate) fn parse_collection(object: &ObjectName) -> Option<CollectionId> {
    let id: CollectionId = object.file_name().parse().ok()?;
    (collection(id).ok()?.as_str() == object.as_str()).then_some(id)
}

/// The session that is declared ended, if it is the name of a tombstone.
pub(crate) fn parse_tombstone(object: &ObjectName) -> Option<SessionId> {
    let session: SessionId = object.file_name().parse().ok()?;
    (tombstone(session).ok()?.as_str() == object.as_str()).then_some(session)
}

/// The session that is asked and the collector that asks, if it is the name of a fence.
pub(crate) fn parse_fence(object: &ObjectName) -> Option<(SessionId, SessionId)> {
    let (session, collector) = object.as_str().strip_prefix(FENCES)?.split_once('/')?;
    let (session, collector) = (session.parse().ok()?, collector.parse().ok()?);
    (fence(session, collector).ok()?.as_str() == object.as_str()).then_some((session, collector))
}

/// `marks/<backup id>/<number>`: a change is a new object with a higher number.
pub(crate) fn mark(id: BackupId, number: u32) -> Result<ObjectName, Error> {
    name(format!("{MARKS}{id}/{number:08}"))
}

/// `damage/<pack id>/<number>`: slots of a pack whose bytes are wrong.
pub(crate) fn damage(id: PackId, number: u32) -> Result<ObjectName, Error> {
    name(format!("{DAMAGE}{id}/{number:08}"))
}

/// The pack and the number of a damage note, if it is the name of one.
pub(crate) fn parse_damage(object: &ObjectName) -> Option<(PackId, u32)> {
    let (id, number) = object.as_str().strip_prefix(DAMAGE)?.split_once('/')?;
    let (id, number) = (id.parse().ok()?, number.parse().ok()?);
    (damage(id, number).ok()?.as_str() == object.as_str()).then_some((id, number))
}

/// `scrub/<cursor id>`: how far the reading of all stored data has come.
pub(crate) fn cursor(id: CursorId) -> Result<ObjectName, Error> {
    name(format!("{CURSORS}{id}"))
}

/// The cursor that an object under `scrub/` is, if its name is a cursor's.
pub(crate) fn parse_cursor(object: &ObjectName) -> Option<CursorId> {
    let id: CursorId = object.file_name().parse().ok()?;
    (cursor(id).ok()?.as_str() == object.as_str()).then_some(id)
}

/// `keys/<key slot id>`: the key of an encrypted repository, wrapped.
pub(crate) fn key_slot(id: KeySlotId) -> Result<ObjectName, Error> {
    name(format!("{KEYS}{id}"))
}

/// The slot that an object under `keys/` is, if its name is a slot's.
pub(crate) fn parse_key_slot(object: &ObjectName) -> Option<KeySlotId> {
    let id: KeySlotId = object.file_name().parse().ok()?;
    (key_slot(id).ok()?.as_str() == object.as_str()).then_some(id)
}

/// Beginning of the names of a backup's marks.
pub(crate) fn marks_of(id: BackupId) -> String {
    format!("{MARKS}{id}/")
}

/// The pack that an object under `packs/` is, if its name is a pack's.
pub(crate) fn parse_pack(object: &ObjectName) -> Option<PackId> {
    let id: PackId = object.file_name().parse().ok()?;
    (pack(id).ok()?.as_str() == object.as_str()).then_some(id)
}

/// The segment that an object under `index/` is, if its name is a segment's.
pub(crate) fn parse_segment(object: &ObjectName) -> Option<SegmentId> {
    let id: SegmentId = object.file_name().parse().ok()?;
    (segment(id).ok()?.as_str() == object.as_str()).then_some(id)
}

/// The volume and backup of an object under `backups/`, if its name is a record's. In an encrypted repository what stands for the volume is not its
/// id.
pub(crate) fn parse_record(object: &ObjectName) -> Option<(VolumeId, BackupId)> {
    let (volume, id) = object.as_str().strip_prefix(BACKUPS)?.split_once('/')?;
    let (volume, id) = (VolumeId::new(volume).ok()?, id.parse().ok()?);
    (record(volume.as_str(), id).ok()?.as_str() == object.as_str()).then_some((volume, id))
}

/// The backup and number of an object under `marks/`, if its name is a mark's.
pub(crate) fn parse_mark(object: &ObjectName) -> Option<(BackupId, u32)> {
    let (id, number) = object.as_str().strip_prefix(MARKS)?.split_once('/')?;
    let (id, number) = (id.parse().ok()?, number.parse().ok()?);
    (mark(id, number).ok()?.as_str() == object.as_str()).then_some((id, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_never_change() -> Result<(), Error> {
        let pack_name = pack(PackId::from_bytes([0xab; 16]))?;
        assert_eq!(pack_name.as_str(), "packs/ab/abababababababababababababababab");
        assert_eq!(parse_pack(&pack_name), Some(PackId::from_bytes([0xab; 16])));
        let segment_name = segment(SegmentId::from_bytes([1; 16]))?;
        assert_eq!(segment_name.as_str(), "index/01010101010101010101010101010101");
        assert_eq!(parse_segment(&segment_name), Some(SegmentId::from_bytes([1; 16])));
        let (volume, id) = (VolumeId::new("vm-1")?, BackupId::from_bytes([2; 16]));
        let record_name = record(volume.as_str(), id)?;
        assert_eq!(record_name.as_str(), "backups/vm-1/02020202-0202-0202-0202-020202020202");
        assert_eq!(parse_record(&record_name), Some((volume, id)));
        assert_eq!(
            session(SessionId::from_bytes([3; 16]), 1)?.as_str(),
            "sessions/03030303030303030303030303030303/00000001"
        );
        let mark_name = mark(id, 12)?;
        assert_eq!(mark_name.as_str(), "marks/02020202-0202-0202-0202-020202020202/00000012");
        assert_eq!(parse_mark(&mark_name), Some((id, 12)));
        let note_name = damage(PackId::from_bytes([0xab; 16]), 3)?;
        assert_eq!(note_name.as_str(), "damage/abababababababababababababababab/00000003");
        assert_eq!(parse_damage(&note_name), Some((PackId::from_bytes([0xab; 16]), 3)));
        let cursor_name = cursor(CursorId::from_bytes([4; 16]))?;
        assert_eq!(cursor_name.as_str(), "scrub/04040404040404040404040404040404");
        assert_eq!(parse_cursor(&cursor_name), Some(CursorId::from_bytes([4; 16])));
        let slot_name = key_slot(KeySlotId::from_bytes([5; 16]))?;
        assert_eq!(slot_name.as_str(), "keys/05050505050505050505050505050505");
        assert_eq!(parse_key_slot(&slot_name), Some(KeySlotId::from_bytes([5; 16])));
        let last = mark(id, u32::MAX)?;
        assert_eq!(last.as_str(), "marks/02020202-0202-0202-0202-020202020202/4294967295");
        assert_eq!(parse_mark(&last), Some((id, u32::MAX)));
        Ok(())
    }

    #[test]
    fn names_of_something_else_are_nothing() -> Result<(), Error> {
        for text in
            ["packs/aa/abababababababababababababababab", "packs/ab/xx", "packs/abababababababababababababababab"]
        {
            assert_eq!(parse_pack(&ObjectName::new(text)?), None, "{text}");
        }
        assert_eq!(parse_record(&ObjectName::new("backups/vm/1")?), None);
        assert_eq!(parse_cursor(&ObjectName::new("scrub/old/04040404040404040404040404040404")?), None);
        for number in ["1", "000000012", "00000001/2", "x"] {
            let text = format!("marks/02020202-0202-0202-0202-020202020202/{number}");
            assert_eq!(parse_mark(&ObjectName::new(text)?), None, "{number}");
        }
        assert_eq!(parse_record(&ObjectName::new("backups/vm/x/02020202-0202-0202-0202-020202020202")?), None);
        Ok(())
    }
}
