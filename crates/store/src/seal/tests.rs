//! What sealed objects are, byte by byte, and that none is taken that is not just as it was sealed.

use cinderblock_backend::{Backend, Memory, ObjectName};

use super::*;
use crate::id::{BackupId, PackId, SegmentId, SessionId};
use crate::layout;
use crate::object::{Kind, checksum, get_envelope, put_checked};
use crate::pack::frame::{Compression, FrameChunk, encode};
use crate::pack::{Content, PackBuilder, PackReader};
use crate::record::Record;

const REPOSITORY: RepositoryId = RepositoryId::from_bytes([1; 16]);
const SALT: [u8; SALT_BYTES] = [6; 32];

fn seal_of(key: u8, repository: RepositoryId) -> Seal {
    Seal::new(repository, Arc::new(Keys::new(MasterKey::from_bytes([key; 32]))))
}

fn seal() -> Seal {
    seal_of(7, REPOSITORY)
}

fn header(kind: Kind) -> Header {
    Header { kind, repository: REPOSITORY, id: [2; 16], session: SessionId::from_bytes([3; 16]) }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn get(backend: &Memory, name: &ObjectName) -> Result<Vec<u8>, Error> {
    Ok(backend.get(name, 1 << 20)?)
}

/// A segment's envelope with a body of four bytes.
fn envelope() -> Result<(ObjectName, Vec<u8>), Error> {
    let (backend, name) = (Memory::new(), layout::segment(SegmentId::from_bytes([2; 16]))?);
    let Opening { bytes, key } = seal().begin_with(&header(Kind::Segment), SALT)?;
    let mut body = b"body".to_vec();
    key.ok_or(Error::Cipher)?.seal(Part::Body, name.as_str().as_bytes(), &mut body)?;
    put_checked(&backend, &name, Kind::Segment, &[&bytes, &body])?;
    let bytes = get(&backend, &name)?;
    Ok((name, bytes))
}

fn open_envelope(seal: &Seal, name: &ObjectName, bytes: &[u8]) -> Result<Vec<u8>, Error> {
    let backend = Memory::new();
    backend.put(name, &[bytes])?;
    get_envelope(&backend, seal, name, Kind::Segment).map(|(_, body)| body)
}

/// A pack of the chunks `first` and `second!`, each in a frame of its own.
fn pack() -> Result<(ObjectName, Vec<u8>), Error> {
    let (id, seal) = (PackId::from_bytes([2; 16]), seal());
    let mut builder = PackBuilder::new(seal.clone(), SessionId::from_bytes([3; 16]), Content::Data);
    builder.begun = Some((id, seal.begin_with(&header(Kind::DataPack), SALT)?));
    for chunk in [&b"first"[..], b"second!"] {
        let listed = FrameChunk { id: seal.ids().chunk(chunk), length: chunk.len() as u32 };
        builder.push(encode(chunk, vec![listed], false, Compression::None)?)?;
    }
    let pack = builder.finish()?.ok_or(Error::Cipher)?;
    assert_eq!(pack.object_bytes(), pack.parts().concat().len() as u64);
    Ok((layout::pack(id)?, pack.parts().concat()))
}

/// The plain bytes of both frames of a pack.
fn open_pack(seal: &Seal, name: &ObjectName, bytes: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
    let backend = Memory::new();
    backend.put(name, &[bytes])?;
    let id = layout::parse_pack(name).ok_or(Error::Cipher)?;
    let pack = PackReader::open(&backend, seal, id)?;
    let mut frames = Vec::new();
    for number in 0..pack.directory().frames().len() as u32 {
        let range = pack.directory().frame_range(number).ok_or(Error::Cipher)?;
        let mut stored = vec![0; (range.end - range.start) as usize];
        backend.read_into(name, range.start, &mut stored)?;
        frames.push(pack.decode_frame(number, range.start, &mut stored, &mut Vec::new())?.plain.to_vec());
    }
    Ok(frames)
}

/// What an attacker can do: the checksums have no key.
fn repair_envelope(bytes: &mut [u8]) {
    if let Some((content, sum)) = bytes.split_last_chunk_mut::<32>() {
        *sum = checksum(&[content]);
    }
}

fn repair_pack(bytes: &mut [u8]) {
    let footer = bytes.len() - 64;
    let at = u64::from_le_bytes(bytes[footer..footer + 8].try_into().unwrap()) as usize;
    let Some(directory) = bytes.get(at..footer) else { return };
    let sum = checksum(&[&bytes[..64], directory, &bytes[footer..footer + 16]]);
    bytes[footer + 16..footer + 48].copy_from_slice(&sum);
}

/// The bytes were made with another implementation of BLAKE3 and AES-GCM, from `docs/format.md`.
#[test]
fn golden_bytes_of_an_envelope() -> Result<(), Error> {
    let (name, bytes) = envelope()?;
    let mut expected = b"CINDRBLK\x03\x01\x01\0\0\0\0\0".to_vec();
    expected.extend([[1; 16], [2; 16], [3; 16], [6; 16], [6; 16]].concat());
    assert_eq!(bytes[..96], expected);
    assert_eq!(hex(&bytes[96..116]), "a2ab6e0d5c26e07b77315b8338d2c880b7c128b4");
    assert_eq!(hex(&bytes[116..]), "1995e956dfee56a9cdd966605e20956f7aace2baf0a3e14ffa797b44cb90ed03");
    assert_eq!(open_envelope(&seal(), &name, &bytes)?, b"body");
    Ok(())
}

/// The same.
#[test]
fn golden_bytes_of_a_pack() -> Result<(), Error> {
    let (name, bytes) = pack()?;
    assert_eq!(bytes.len(), 300);
    assert_eq!(hex(&bytes[96..117]), "9aeccae8ee8dc5ddd581a67233ac6314f72c8e21d4");
    assert_eq!(hex(&bytes[117..140]), "0e05b8009bdbf4eb6faf638e166585dcfb6460a111b81d");
    let sum = "775d01a4491a7fda7ed65636a2b1c0c3532d7039d3cd9f73c315a8b5193c3dab";
    assert_eq!(hex(&checksum(&[&bytes])), sum);
    assert_eq!(open_pack(&seal(), &name, &bytes)?, [&b"first"[..], b"second!"]);
    Ok(())
}

#[test]
fn no_changed_envelope_is_opened() -> Result<(), Error> {
    let (name, good) = envelope()?;
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(open_envelope(&seal(), &name, &bad).is_err(), "bit {bit}");
        if bit / 8 < good.len() - 32 {
            repair_envelope(&mut bad);
            let error = open_envelope(&seal(), &name, &bad).expect_err("a changed object");
            // What says so of itself is newer; the rest is damage.
            let newer = matches!(error, Error::NewerFormat { .. } | Error::Unsupported { .. });
            assert!(error.is_damage() || (newer && (72..88).contains(&bit)), "bit {bit}: {error}");
        }
    }
    for length in 0..good.len() {
        let mut bad = good[..length].to_vec();
        assert!(open_envelope(&seal(), &name, &bad).is_err(), "length {length}");
        repair_envelope(&mut bad);
        assert!(open_envelope(&seal(), &name, &bad).is_err(), "length {length}");
    }
    Ok(())
}

#[test]
fn no_changed_pack_gives_another_byte() -> Result<(), Error> {
    let (name, good) = pack()?;
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(open_pack(&seal(), &name, &bad).is_err(), "bit {bit}");
        repair_pack(&mut bad);
        let repaired = open_pack(&seal(), &name, &bad);
        // A flipped bit of the checksum itself is repaired.
        assert!(repaired.is_err() || bad == good, "bit {bit}");
    }
    for length in 0..good.len() {
        assert!(open_pack(&seal(), &name, &good[..length]).is_err(), "length {length}");
    }
    Ok(())
}

/// Frames of one length in each other's place, and one in two places; also where the lengths would fit.
#[test]
fn frames_have_their_place() -> Result<(), Error> {
    let seal = seal();
    let mut builder = PackBuilder::new(seal.clone(), SessionId::from_bytes([3; 16]), Content::Data);
    for chunk in [b"one", b"two"] {
        let listed = FrameChunk { id: seal.ids().chunk(chunk), length: 3 };
        builder.push(encode(chunk, vec![listed], false, Compression::None)?)?;
    }
    let pack = builder.finish()?.ok_or(Error::Cipher)?;
    let (name, good) = (layout::pack(pack.id())?, pack.parts().concat());
    assert_eq!(open_pack(&seal, &name, &good)?, [b"one", b"two"]);
    let frame = 3 + TAG_BYTES;
    let mut swapped = good.clone();
    swapped[96..96 + 2 * frame].rotate_left(frame);
    let mut twice = good.clone();
    twice.copy_within(96..96 + frame, 96 + frame);
    for mut bad in [swapped, twice] {
        repair_pack(&mut bad);
        assert!(matches!(open_pack(&seal, &name, &bad), Err(Error::Damaged { .. })));
    }
    Ok(())
}

/// Objects of the same key in another's place: with the header as it was, and with one that fits the place.
#[test]
fn objects_have_their_name_repository_and_key() -> Result<(), Error> {
    let (name, good) = envelope()?;
    let other = layout::segment(SegmentId::from_bytes([5; 16]))?;
    let mut renamed = good.clone();
    renamed[32..48].copy_from_slice(&[5; 16]);
    repair_envelope(&mut renamed);
    // `get_envelope` leaves the name to its caller, but what is sealed is bound to it.
    for bytes in [&good, &renamed] {
        assert!(open_envelope(&seal(), &other, bytes).is_err_and(|error| error.is_damage()));
    }
    let elsewhere = RepositoryId::from_bytes([8; 16]);
    let mut moved = good.clone();
    moved[16..32].copy_from_slice(elsewhere.as_bytes());
    repair_envelope(&mut moved);
    for bytes in [&good, &moved] {
        assert!(open_envelope(&seal_of(7, elsewhere), &name, bytes).is_err_and(|error| error.is_damage()));
    }
    assert!(open_envelope(&seal_of(8, REPOSITORY), &name, &good).is_err_and(|error| error.is_damage()));

    let (name, good) = pack()?;
    let other = layout::pack(PackId::from_bytes([5; 16]))?;
    let mut renamed = good.clone();
    renamed[32..48].copy_from_slice(&[5; 16]);
    repair_pack(&mut renamed);
    let mut moved = good.clone();
    moved[16..32].copy_from_slice(elsewhere.as_bytes());
    repair_pack(&mut moved);
    let as_map = {
        let mut bytes = good.clone();
        bytes[8] = Kind::MapPack as u8;
        repair_pack(&mut bytes);
        bytes
    };
    for (seal, name, bytes) in [
        (seal(), &other, &good),
        (seal(), &other, &renamed),
        (seal_of(7, elsewhere), &name, &good),
        (seal_of(7, elsewhere), &name, &moved),
        (seal_of(8, REPOSITORY), &name, &good),
        (seal(), &name, &as_map),
    ] {
        assert!(open_pack(&seal, name, bytes).is_err_and(|error| error.is_damage()));
    }
    Ok(())
}

/// What has no seal, anybody could have written; and who has no key says that it needs one.
#[test]
fn sealed_and_other_objects_do_not_mix() -> Result<(), Error> {
    let (name, sealed) = envelope()?;
    let plain = Seal::none(REPOSITORY);
    assert!(matches!(open_envelope(&plain, &name, &sealed), Err(Error::Unsupported { .. })));
    let mut bytes = [&header(Kind::Segment).encode(NOT_SEALED)[..], b"body", &[0; 32]].concat();
    repair_envelope(&mut bytes);
    assert_eq!(open_envelope(&plain, &name, &bytes)?, b"body");
    assert!(matches!(open_envelope(&seal(), &name, &bytes), Err(Error::Damaged { .. })));
    let (name, sealed) = pack()?;
    assert!(matches!(open_pack(&plain, &name, &sealed), Err(Error::Unsupported { .. })));
    Ok(())
}

/// The same record is in `record.rs`; these bytes were made with another implementation.
#[test]
fn golden_bytes_of_a_record_and_nothing_else_is_one() -> Result<(), Error> {
    let seal = seal_of(7, RepositoryId::from_bytes([9; 16]));
    let record = crate::record::tests::record()?;
    let name = layout::record(&seal.volume_part(&record.volume), record.id)?;
    assert_eq!(name.as_str(), "backups/fe8df66509caa60d07c7ae402b639ca7/01010101-0101-0101-0101-010101010101");
    let backend = Memory::new();
    let header = Header {
        kind: Kind::Record,
        repository: seal.repository(),
        id: *record.id.as_bytes(),
        session: record.session,
    };
    record.write_behind(&backend, seal.begin_with(&header, SALT)?, &name)?;
    let good = get(&backend, &name)?;
    assert_eq!(
        (good.len(), hex(&checksum(&[&good]))),
        (295, "cf79420944092f5552ff90471b8999029d2a16b01d8ad1412bbad5aeff36976a".to_owned())
    );
    assert_eq!(Record::read(&backend, &seal, &name, record.id)?, record);

    let read = |name: &ObjectName, bytes: &[u8], id: BackupId| {
        let backend = Memory::new();
        backend.put(name, &[bytes])?;
        Record::read(&backend, &seal, name, id)
    };
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(read(&name, &bad, record.id).is_err(), "bit {bit}");
        repair_envelope(&mut bad);
        assert!(bad == good || read(&name, &bad, record.id).is_err(), "bit {bit}");
    }
    for length in 0..good.len() {
        let mut bad = good[..length].to_vec();
        repair_envelope(&mut bad);
        assert!(read(&name, &bad, record.id).is_err(), "length {length}");
    }
    // Under another volume's name, and as another backup of the same volume.
    let volume = layout::record(&seal.volume_part(&VolumeId::new("other")?), record.id)?;
    assert!(read(&volume, &good, record.id).is_err_and(|error| error.is_damage()));
    let id = BackupId::from_bytes([5; 16]);
    let other = layout::record(&seal.volume_part(&record.volume), id)?;
    let mut renamed = good.clone();
    renamed[32..48].copy_from_slice(&[5; 16]);
    repair_envelope(&mut renamed);
    assert!(read(&other, &renamed, id).is_err_and(|error| error.is_damage()));
    Ok(())
}
