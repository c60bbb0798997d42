//! [`BucketWriter`]: an object that is written as a stream.

use std::collections::VecDeque;
use std::io::{self, Write};

use bytes::Bytes;
use cinderblock_backend::{Error, ObjectName, ObjectWriter};
use object_store::{MultipartUpload, ObjectMeta, ObjectStoreExt as _, PutPayload};
use tokio::task::JoinHandle;

use super::fault::Fault;
use super::{Bucket, pieces};

/// The size of a part, and of the largest object that is put in one request. S3 takes 10,000 parts, each but the last of at
/// least 5 MiB: objects of up to 78 GiB.
const PART: usize = 8 * 1024 * 1024;

/// How many parts of one object are under way at once. With the one that is filled, they bound a writer's memory: 40 MiB.
const PARTS_IN_FLIGHT: usize = 4;

/// The memory of a writer, in bytes.
pub(crate) const WRITER_BYTES: usize = (PARTS_IN_FLIGHT + 1) * PART;

/// Collects an object; one that grows beyond a part's size is sent in parts meanwhile.
pub(super) struct BucketWriter<'a> {
    bucket: &'a Bucket,
    name: ObjectName,
    buffer: Vec<u8>,
    size: u64,
    upload: Option<Upload>,
    failed: bool,
}

struct Upload {
    upload: Box<dyn MultipartUpload>,
    parts: VecDeque<JoinHandle<object_store::Result<()>>>,
    /// How many parts there were until now.
    sent: usize,
}

impl<'a> BucketWriter<'a> {
    pub(super) fn new(bucket: &'a Bucket, name: ObjectName) -> BucketWriter<'a> {
        BucketWriter { bucket, name, buffer: Vec::new(), size: 0, upload: None, failed: false }
    }

    fn error(&self, fault: Fault) -> Error {
        self.bucket.failed("write", &self.name, fault)
    }

    /// Sends what is in the buffer as a part.
    async fn send_part(&mut self) -> Result<(), Fault> {
        let bucket = self.bucket;
        let upload = match &mut self.upload {
            Some(upload) => upload,
            none => {
                let path = bucket.path(&self.name)?;
                let upload = bucket.stores.patient.put_multipart(&path).await?;
                none.insert(Upload { upload, parts: VecDeque::new(), sent: 0 })
            }
        };
        upload.wait_until_fewer_than(PARTS_IN_FLIGHT).await?;
        let payload = PutPayload::from_bytes(Bytes::from(std::mem::take(&mut self.buffer)));
        let part = upload.upload.put_part(payload);
        upload.parts.push_back(bucket.runtime.spawn(part));
        upload.sent += 1;
        Ok(())
    }

    async fn complete(&mut self) -> Result<(), Fault> {
        if !self.buffer.is_empty() {
            self.send_part().await?;
        }
        let Some(upload) = &mut self.upload else { return Err(Fault::Broken("no part was sent")) };
        upload.wait_until_fewer_than(1).await?;
        match self.bucket.head(&self.name).await {
            Ok(_) => return Err(already_exists(&self.name)),
            Err(fault) if fault.is_not_found() => {}
            Err(fault) => return Err(fault),
        }
        match upload.upload.complete().await {
            Ok(_) => Ok(()),
            // An attempt whose answer was lost has ended the upload, and the next one does not find it. What is there now may be
            // another writer's, too: it is ours if the service says that it is made of as many parts.
            Err(error) => match self.bucket.head_meta(&self.name).await {
                Ok(meta) if meta.size == self.size && parts_of(&meta) == Some(upload.sent) => Ok(()),
                _ => Err(error.into()),
            },
        }
    }

    fn abort(&mut self) {
        let Some(Upload { mut upload, parts, .. }) = self.upload.take() else { return };
        self.bucket.wait(async move {
            for part in parts {
                part.abort();
                let _ = part.await;
            }
            // What is left then, the service removes by its own rules.
            let _ = upload.abort().await;
        });
    }
}

impl Upload {
    /// Waits for parts, the oldest first, until fewer than `count` are under way.
    async fn wait_until_fewer_than(&mut self, count: usize) -> Result<(), Fault> {
        while self.parts.len() >= count {
            let Some(part) = self.parts.pop_front() else { return Ok(()) };
            part.await.map_err(|_| Fault::Broken("the upload of a part was broken off"))??;
        }
        Ok(())
    }
}

/// The number of parts that an object was put together of, where its ETag says so: S3's ends with a hyphen and the number.
fn parts_of(meta: &ObjectMeta) -> Option<usize> {
    let (digest, parts) = meta.e_tag.as_deref()?.trim_matches('"').rsplit_once('-')?;
    let is_digest = digest.len() == 32 && digest.bytes().all(|b| b.is_ascii_hexdigit());
    parts.parse().ok().filter(|_| is_digest)
}

fn already_exists(name: &ObjectName) -> Fault {
    let source = "the name is taken".into();
    Fault::Store(object_store::Error::AlreadyExists { path: name.to_string(), source })
}

impl Write for BucketWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.failed {
            return Err(io::Error::other(Error::Incomplete { name: self.name.clone() }));
        }
        // A full buffer is sent only when more comes: an object of just a part's size is put in one request.
        if self.buffer.len() == PART && !bytes.is_empty() {
            let bucket = self.bucket;
            if let Err(fault) = bucket.wait(self.send_part()) {
                self.failed = true;
                return Err(io::Error::other(self.error(fault)));
            }
        }
        let taken = bytes.len().min(PART - self.buffer.len());
        let bytes = bytes.get(..taken).unwrap_or(bytes);
        self.buffer.try_reserve(taken).map_err(|_| io::ErrorKind::OutOfMemory)?;
        self.buffer.extend_from_slice(bytes);
        self.size += taken as u64;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl ObjectWriter for BucketWriter<'_> {
    fn finish(mut self: Box<Self>) -> Result<(), Error> {
        if self.failed {
            return Err(Error::Incomplete { name: self.name.clone() });
        }
        let bucket = self.bucket;
        if self.upload.is_none() {
            let put = bucket.wait(bucket.put_pieces(&self.name, pieces(&[&self.buffer])));
            return put.map_err(|fault| self.error(fault));
        }
        let completed = bucket.wait(self.complete());
        if completed.is_ok() {
            self.upload = None;
        }
        completed.map_err(|fault| self.error(fault))
    }
}

impl Drop for BucketWriter<'_> {
    fn drop(&mut self) {
        self.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Another writer's object of the same size was taken for the one whose upload had failed.
    #[test]
    fn only_an_etag_of_parts_tells_their_number() {
        let parts = |e_tag: Option<&str>| {
            let (location, last_modified) = ("x".into(), Default::default());
            parts_of(&ObjectMeta { location, last_modified, size: 1, e_tag: e_tag.map(str::to_owned), version: None })
        };
        assert_eq!(parts(Some("\"7d9ab62a6a5ac4b7b4a1d2ab9c3b5e9f-3\"")), Some(3));
        assert_eq!(parts(Some("7d9ab62a6a5ac4b7b4a1d2ab9c3b5e9f-10000")), Some(10_000));
        for none in [
            None,
            Some("\"7d9ab62a6a5ac4b7b4a1d2ab9c3b5e9f\""),
            Some("0x8DA-3"),
            Some("7d9ab62a6a5ac4b7b4a1d2ab9c3b5e9f-"),
        ] {
            assert_eq!(parts(none), None, "{none:?}");
        }
    }
}
