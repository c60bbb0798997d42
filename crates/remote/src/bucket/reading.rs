//! Reading: whole objects, ranges and ends, each of them complete or an error.

use cinderblock_backend::{ObjectName, Tail};
use futures::StreamExt as _;
use object_store::{GetOptions, GetRange, GetResult};

use super::Bucket;
use super::fault::Fault;

/// Memory that is taken before the first byte of an object has come.
const FIRST_ALLOCATION: u64 = 32 * 1024 * 1024;

/// The longest end that is asked for: no object of any service is larger (S3: 50 TB).
const LONGEST_TAIL: u64 = 1 << 46;

impl Bucket {
    /// One request for an object's bytes, answered by its head.
    async fn request(&self, name: &ObjectName, range: Option<GetRange>) -> Result<GetResult, Fault> {
        let options = GetOptions { range, ..GetOptions::default() };
        Ok(self.stores.once.get_opts(&self.path(name)?, options).await?)
    }

    /// The whole object, if it has at most `limit` bytes.
    pub(super) async fn fetch(&self, name: &ObjectName, limit: u64) -> Result<Vec<u8>, Fault> {
        let mut tries = self.tries();
        loop {
            match self.fetch_once(name, limit).await {
                Ok(bytes) => return Ok(bytes),
                Err(fault) => tries.again(fault).await?,
            }
        }
    }

    async fn fetch_once(&self, name: &ObjectName, limit: u64) -> Result<Vec<u8>, Fault> {
        let _turn = self.turn().await?;
        let answer = self.request(name, None).await?;
        let size = answer.meta.size;
        if size > limit {
            return Err(Fault::TooLarge { size, limit });
        }
        collect(answer, size).await
    }

    /// Fills the buffer from the object's byte `offset` on.
    pub(super) async fn fill(&self, name: &ObjectName, offset: u64, buf: &mut [u8]) -> Result<(), Fault> {
        let wanted = buf.len() as u64;
        let end = offset.checked_add(wanted).filter(|end| *end > offset);
        let Some(end) = end else {
            // No bytes, or more than any object has: no service takes such a range.
            let size = self.head(name).await?;
            return if wanted == 0 && offset <= size {
                Ok(())
            } else {
                Err(Fault::UnexpectedEnd { offset, wanted, size })
            };
        };
        let mut tries = self.tries();
        loop {
            match self.fill_once(name, offset..end, buf).await {
                Ok(()) => return Ok(()),
                Err(fault) if fault.may_be_range() => {
                    let size = self.head(name).await?;
                    return Err(if end > size { Fault::UnexpectedEnd { offset, wanted, size } } else { fault });
                }
                Err(fault) => tries.again(fault).await?,
            }
        }
    }

    async fn fill_once(&self, name: &ObjectName, range: std::ops::Range<u64>, buf: &mut [u8]) -> Result<(), Fault> {
        let _turn = self.turn().await?;
        let answer = self.request(name, Some(GetRange::Bounded(range.clone()))).await?;
        let (offset, wanted, size) = (range.start, buf.len() as u64, answer.meta.size);
        if size < range.end {
            return Err(Fault::UnexpectedEnd { offset, wanted, size });
        }
        if answer.range != range {
            return Err(Fault::Broken("the storage answered with another range than it was asked for"));
        }
        let mut filled = 0;
        let mut stream = answer.into_stream();
        while let Some(bytes) = stream.next().await {
            let bytes = bytes?;
            let end = filled + bytes.len();
            let place = buf.get_mut(filled..end).ok_or(Fault::Overlong { wanted })?;
            place.copy_from_slice(&bytes);
            filled = end;
        }
        if filled == buf.len() { Ok(()) } else { Err(Fault::Cut { got: filled as u64, wanted }) }
    }

    /// The object's last `len` bytes, and its size.
    pub(super) async fn tail(&self, name: &ObjectName, len: usize) -> Result<Tail, Fault> {
        let len = (len as u64).min(LONGEST_TAIL);
        let mut tries = self.tries();
        loop {
            match self.tail_once(name, len).await {
                Ok(tail) => return Ok(tail),
                // No service takes the end of an empty object for a range, nor no bytes; Azure takes no ends at all.
                Err(fault) if len == 0 || fault.may_be_range() => return self.tail_of_known_size(name, len).await,
                Err(fault) => tries.again(fault).await?,
            }
        }
    }

    async fn tail_once(&self, name: &ObjectName, len: u64) -> Result<Tail, Fault> {
        if len == 0 {
            return Err(Fault::Broken("no bytes can be asked for"));
        }
        let _turn = self.turn().await?;
        let answer = self.request(name, Some(GetRange::Suffix(len))).await?;
        let object_size = answer.meta.size;
        let bytes = collect(answer, len.min(object_size)).await?;
        Ok(Tail { bytes, object_size })
    }

    async fn tail_of_known_size(&self, name: &ObjectName, len: u64) -> Result<Tail, Fault> {
        let object_size = self.head(name).await?;
        let len = len.min(object_size);
        let mut bytes = buffer(len)?;
        bytes.resize(usize::try_from(len).map_err(|_| Fault::NoMemory { size: len })?, 0);
        if len > 0 {
            self.fill(name, object_size - len, &mut bytes).await?;
        }
        Ok(Tail { bytes, object_size })
    }
}

/// All bytes of an answer, which have to be `wanted`.
async fn collect(answer: GetResult, wanted: u64) -> Result<Vec<u8>, Fault> {
    if answer.range.end.checked_sub(answer.range.start) != Some(wanted) {
        return Err(Fault::Broken("the storage answered with another range than it was asked for"));
    }
    let mut bytes = buffer(wanted.min(FIRST_ALLOCATION))?;
    let mut stream = answer.into_stream();
    while let Some(piece) = stream.next().await {
        let piece = piece?;
        if (bytes.len() + piece.len()) as u64 > wanted {
            return Err(Fault::Overlong { wanted });
        }
        bytes.try_reserve(piece.len()).map_err(|_| Fault::NoMemory { size: wanted })?;
        bytes.extend_from_slice(&piece);
    }
    let got = bytes.len() as u64;
    if got == wanted { Ok(bytes) } else { Err(Fault::Cut { got, wanted }) }
}

fn buffer(size: u64) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    let len = usize::try_from(size).map_err(|_| Fault::NoMemory { size })?;
    bytes.try_reserve_exact(len).map_err(|_| Fault::NoMemory { size })?;
    Ok(bytes)
}
