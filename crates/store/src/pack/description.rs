//! [`Description`]: what a pack says of itself, as it is stored.

use cinderblock_backend::{Backend, ObjectName};

use crate::error::Error;
use crate::id::PackId;
use crate::object::{HEADER_BYTES, Header, checksum};
use crate::pack::{DIRECTORY_MAX_BYTES, FOOTER_BYTES, FOOTER_MAGIC};

/// First guess at how much of a pack's tail holds its directory: 256 KiB is enough for 3,700 chunks.
const TAIL_BYTES: usize = 256 << 10;

/// Header, directory and footer of a pack, sealed where they are sealed in the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Description {
    /// Header and, where the pack is sealed, salt.
    pub(super) beginning: Vec<u8>,
    /// Directory and footer: the end of the object.
    pub(super) end: Vec<u8>,
    /// Length of the whole object in bytes.
    pub(super) object_bytes: u64,
}

/// What a footer says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Footer {
    /// First byte of the directory in the pack.
    pub directory_at: u64,
    /// Bytes of the directory.
    pub directory_bytes: usize,
    /// Number of chunks in the pack.
    pub chunks: u32,
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

impl Footer {
    /// Reads the footer at the end of `bytes`, of an object of so many bytes.
    fn decode(object: &str, bytes: &[u8], object_bytes: u64) -> Result<(Self, [u8; FOOTER_BYTES]), Error> {
        let short = || Error::damaged(object, object_bytes, "it ends within its footer");
        let footer = bytes.len().checked_sub(FOOTER_BYTES).and_then(|at| number(bytes, at));
        let footer: [u8; FOOTER_BYTES] = footer.ok_or_else(short)?;
        let footer_at = object_bytes.checked_sub(FOOTER_BYTES as u64).ok_or_else(short)?;
        if footer[56..] != FOOTER_MAGIC || footer[48..56] != [0; 8] {
            return Err(Error::damaged(object, footer_at + 48, "it does not end as a pack does"));
        }
        let at = u64::from_le_bytes(number(&footer, 0).ok_or_else(short)?);
        let length = u64::from(u32::from_le_bytes(number(&footer, 8).ok_or_else(short)?));
        let chunks = u32::from_le_bytes(number(&footer, 12).ok_or_else(short)?);
        if at < HEADER_BYTES as u64 || length > DIRECTORY_MAX_BYTES || at.checked_add(length) != Some(footer_at) {
            return Err(Error::damaged(object, footer_at, "the footer's directory is not in the pack"));
        }
        Ok((Self { directory_at: at, directory_bytes: length as usize, chunks }, footer))
    }
}

impl Description {
    /// Reads it: two requests, at the same time where the storage wants several, and three for a very full pack. `beginning_bytes` is how much of the
    /// object stands before its first frame.
    pub(crate) fn read(
        backend: &dyn Backend,
        name: &ObjectName,
        id: PackId,
        beginning_bytes: usize,
    ) -> Result<Self, Error> {
        let object = name.as_str();
        let missing = |error: cinderblock_backend::Error| match error.is_not_found() {
            true => Error::PackMissing { pack: id },
            false => Error::of_read(name, 0, error),
        };
        let mut beginning = vec![0; beginning_bytes];
        let (tail, read) = match backend.requests_in_flight() {
            0 | 1 => (backend.get_tail(name, TAIL_BYTES), None),
            _ => std::thread::scope(|threads| {
                let read = threads.spawn(|| backend.read_into(name, 0, &mut beginning));
                let tail = backend.get_tail(name, TAIL_BYTES);
                (tail, Some(read.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))))
            }),
        };
        let mut tail = tail.map_err(missing)?;
        let object_bytes = tail.object_size;
        if object_bytes < (HEADER_BYTES + FOOTER_BYTES) as u64 {
            return Err(Error::damaged(object, object_bytes, "it is shorter than any pack"));
        }
        let (Footer { directory_bytes, .. }, _) = Footer::decode(object, &tail.bytes, object_bytes)?;
        let needed = directory_bytes + FOOTER_BYTES;
        if tail.bytes.len() < needed {
            tail = backend.get_tail(name, needed).map_err(missing)?;
        }
        let from = tail.bytes.len().checked_sub(needed);
        let from = from.ok_or_else(|| Error::damaged(object, object_bytes, "it ends within its footer"))?;
        tail.bytes.drain(..from);
        read.unwrap_or_else(|| backend.read_into(name, 0, &mut beginning)).map_err(missing)?;
        Ok(Self { beginning, end: tail.bytes, object_bytes })
    }

    /// Of a whole object.
    pub(crate) fn of_whole(object: &str, whole: &[u8], beginning_bytes: usize) -> Result<Self, Error> {
        let object_bytes = whole.len() as u64;
        let (Footer { directory_bytes, .. }, _) = Footer::decode(object, whole, object_bytes)?;
        let end = whole.len().checked_sub(directory_bytes + FOOTER_BYTES).and_then(|from| whole.get(from..));
        let parts = whole.get(..beginning_bytes).zip(end);
        let (beginning, end) =
            parts.ok_or_else(|| Error::damaged(object, object_bytes, "it is shorter than any pack"))?;
        Ok(Self { beginning: beginning.to_vec(), end: end.to_vec(), object_bytes })
    }

    /// As a cache keeps it: the object's length, that of the beginning, and both parts.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let beginning_bytes = self.beginning.len() as u32;
        [&self.object_bytes.to_le_bytes()[..], &beginning_bytes.to_le_bytes(), &self.beginning, &self.end].concat()
    }

    /// From a cache's bytes, which may be any: [`check`](Self::check) tells.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let object_bytes = u64::from_le_bytes(number(bytes, 0)?);
        let (beginning, end) = bytes.get(12..)?.split_at_checked(u32::from_le_bytes(number(bytes, 8)?) as usize)?;
        Some(Self { beginning: beginning.to_vec(), end: end.to_vec(), object_bytes })
    }

    /// The header, the directory as it is stored, and what the footer says, once the checksum of all of them was found to agree.
    pub(crate) fn check(&self, object: &str, seals: &[u8]) -> Result<(Header, &[u8], Footer), Error> {
        let (said, footer) = Footer::decode(object, &self.end, self.object_bytes)?;
        let header = self.beginning.get(..HEADER_BYTES).unwrap_or_default();
        let directory = self.end.get(..said.directory_bytes).unwrap_or_default();
        let is_whole = self.end.len() == said.directory_bytes + FOOTER_BYTES;
        let agrees = is_whole && checksum(&[header, directory, &footer[..16]])[..] == footer[16..48];
        match Header::decode(object, header, seals) {
            Ok(header) if agrees => Ok((header, directory, said)),
            Err(error @ (Error::NewerFormat { .. } | Error::Unsupported { .. })) if agrees => Err(error),
            _ => Err(Error::damaged(object, said.directory_at, "the checksum of header and directory does not agree")),
        }
    }
}
