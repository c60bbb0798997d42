//! [`ObjectStream`]: the data of a layer in the order of the volume, each object checked before its end is handed over.

use std::io::{self, Read};
use std::thread::Scope;

use cinderblock_pipeline::Part;
use crossbeam_channel::{Receiver, Sender, bounded};

use super::group::Task;
use crate::crew::Crew;
use crate::error::Error;
use crate::layer::Layer;
use crate::md5::Md5;
use crate::storage::ChunkedStorage;

/// Bytes that are handed over at once: 1 MiB.
const PART_BYTES: u64 = 1 << 20;

/// Parts that are read ahead, before and after their MD5.
const PARTS_AHEAD: usize = 4;

/// What goes from the thread that decompresses to the one that hashes.
enum Step {
    Part(Part),
    /// All of the object was read: what its MD5 has to be.
    End(usize),
    Failed(Error),
}

/// An iterator over the bytes of all objects of a layer. Two threads work ahead of it: one reads and decompresses, one hashes.
/// It ends with an error where an object is damaged; who takes its parts must not believe them before it has ended well.
pub(crate) struct ObjectStream(Receiver<io::Result<Part>>);

impl ObjectStream {
    /// Begins to read, in threads of `scope`, which end when the iterator is dropped.
    pub(crate) fn start<'scope, 'env>(
        scope: &'scope Scope<'scope, 'env>,
        storage: &'env dyn ChunkedStorage,
        layer: &'env Layer,
        crew: &'env Crew,
    ) -> Self {
        let (plain, unchecked) = bounded(PARTS_AHEAD);
        let (checked, parts) = bounded(PARTS_AHEAD);
        scope.spawn(move || {
            if let Err(error) = decode_all(storage, layer, crew, &plain) {
                // Without a receiver, the other side has failed already.
                let _ = plain.send(Step::Failed(error));
            }
        });
        scope.spawn(move || check_all(layer, &unchecked, &checked));
        Self(parts)
    }
}

impl Iterator for ObjectStream {
    type Item = io::Result<Part>;

    fn next(&mut self) -> Option<io::Result<Part>> {
        self.0.recv().ok()
    }
}

fn task<'a>(layer: &'a Layer, object: &'a crate::layer::LayerObject) -> Task<'a> {
    Task { place: 0, layer, object, ranges: &[] }
}

fn decode_all(storage: &dyn ChunkedStorage, layer: &Layer, crew: &Crew, out: &Sender<Step>) -> Result<(), Error> {
    for (place, object) in layer.objects.iter().enumerate() {
        let task = task(layer, object);
        let failed = |error| task.failed(error);
        let mut decoder = task.decode(storage)?;
        let mut offset = object.offset;
        while offset < object.end() {
            crew.check()?;
            let mut bytes = vec![0; (object.end() - offset).min(PART_BYTES) as usize];
            decoder.read_exact(&mut bytes).map_err(failed)?;
            let length = bytes.len() as u64;
            if out.send(Step::Part(Part { offset, bytes })).is_err() {
                return Ok(());
            }
            offset += length;
        }
        decoder.finish().map_err(failed)?;
        if out.send(Step::End(place)).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Holds back the last part of each object until its MD5 is known to be right.
fn check_all(layer: &Layer, steps: &Receiver<Step>, out: &Sender<io::Result<Part>>) {
    let mut md5 = Md5::new();
    let mut held: Option<Part> = None;
    for step in steps {
        let sent = match step {
            Step::Part(part) => {
                md5.update(&part.bytes);
                held.replace(part).map(Ok)
            }
            Step::End(place) => {
                let found = std::mem::take(&mut md5).finish();
                let object = layer.objects.get(place);
                match object.map_or(Ok(()), |object| task(layer, object).check_md5(found)) {
                    Ok(()) => held.take().map(Ok),
                    Err(error) => Some(Err(io::Error::other(error))),
                }
            }
            Step::Failed(error) => Some(Err(io::Error::other(error))),
        };
        let failed = matches!(&sent, Some(Err(_)));
        if sent.is_some_and(|sent| out.send(sent).is_err()) || failed {
            return;
        }
    }
}
