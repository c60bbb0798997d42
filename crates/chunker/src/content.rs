use crate::{ChunkSize, Error};
use fastcdc::v2020::{self, Normalization};

/// The lengths that content-defined chunks have, in bytes: three even numbers.
///
/// Cut points depend on all three, so chunks that were cut with other parameters are hardly ever equal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct ContentParameters {
    /// The least, from 64 bytes to 1 MiB; only the end of the stream can be shorter.
    pub minimum: u32,
    /// What the algorithm aims at, from 256 bytes to 4 MiB, and above the minimum. Random bytes, with a minimum of a
    /// quarter of it, come out about a quarter longer.
    pub average: u32,
    /// The greatest, from 1 KiB to 16 MiB, and above the average.
    pub maximum: u32,
}

impl ContentParameters {
    /// These parameters, if FastCDC works with them.
    ///
    /// # Errors
    /// [`Error::ContentParameters`] if one is odd, out of the range of its field, or not above the one before it.
    pub fn new(minimum: u32, average: u32, maximum: u32) -> Result<ContentParameters, Error> {
        let within = |value: u32, least: usize, greatest: usize| (least..=greatest).contains(&(value as usize));
        let rules = [
            ([minimum, average, maximum].iter().all(|n| n % 2 == 0), "all three must be even"),
            (
                minimum < average && average < maximum,
                "the minimum must be below the average, and that below the maximum",
            ),
            (within(minimum, v2020::MINIMUM_MIN, v2020::MINIMUM_MAX), "the minimum must be from 64 to 1048576"),
            (within(average, v2020::AVERAGE_MIN, v2020::AVERAGE_MAX), "the average must be from 256 to 4194304"),
            (within(maximum, v2020::MAXIMUM_MIN, v2020::MAXIMUM_MAX), "the maximum must be from 1024 to 16777216"),
        ];
        match rules.iter().find(|(kept, _)| !kept) {
            None => Ok(ContentParameters { minimum, average, maximum }),
            Some(&(_, rule)) => Err(Error::ContentParameters { minimum, average, maximum, rule }),
        }
    }
}

/// The chunk size as the average, a quarter of it as the minimum, four times as much as the maximum.
impl From<ChunkSize> for ContentParameters {
    fn from(size: ChunkSize) -> ContentParameters {
        let average = size.bytes();
        ContentParameters { minimum: average / 4, average, maximum: average * 4 }
    }
}

/// Finds cut points by content, with FastCDC (Xia et al., 2020) at normalization level 1.
///
/// Where bytes are inserted into a stream or removed from it, only the chunks around that place change. The same
/// bytes with the same parameters give the same chunks for ever: backups of different years share chunks.
///
/// ```
/// use cinderblock_chunker::{ChunkSize, ContentChunker};
///
/// let chunker = ContentChunker::new(ChunkSize::DEFAULT.into());
/// let (mut buffer, mut lengths) = (Vec::new(), Vec::new());
/// for (piece, last) in [(vec![7; 100_000], false), (vec![7; 100_000], true)] {
///     buffer.extend_from_slice(&piece);
///     let consumed = chunker.cut(&buffer, last, &mut lengths);
///     buffer.drain(..consumed);
/// }
/// // Bytes without any pattern to cut at make chunks of the greatest length.
/// assert_eq!(lengths, [131_072, 68_928]);
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ContentChunker {
    parameters: ContentParameters,
    /// Below the average, bits of the hash that must be 0 at a cut point.
    mask_small: u64,
    /// The same from the average on: fewer bits.
    mask_large: u64,
}

impl ContentChunker {
    /// A chunker with these parameters.
    ///
    /// # Panics
    /// If a field was set, after [`ContentParameters::new`], to what that refuses.
    pub fn new(parameters: ContentParameters) -> ContentChunker {
        let ContentParameters { minimum, average, maximum } = parameters;
        if let Err(error) = ContentParameters::new(minimum, average, maximum) {
            panic!("{error}");
        }
        let (mask_small, mask_large) = v2020::select_masks(average as usize, Normalization::Level1);
        ContentChunker { parameters, mask_small, mask_large }
    }

    /// The parameters that it was made with.
    pub fn parameters(&self) -> ContentParameters {
        self.parameters
    }

    /// Appends to `lengths` those of the complete chunks at the start of `data`, and returns their sum: the number of
    /// bytes that are done with.
    ///
    /// `data` must begin at a cut point (the start of the stream is one). Where more follows (`last` is false), the
    /// tail that could still grow is left out: give its bytes again with more behind them. With `last` all of `data`
    /// is cut. The chunks do not depend on how the stream was cut into calls.
    ///
    /// [`ContentParameters::maximum`] bytes are always enough for a chunk. The tail is searched again each time, so
    /// give several times that.
    pub fn cut(&self, data: &[u8], last: bool, lengths: &mut Vec<u32>) -> usize {
        let ContentParameters { minimum, average, maximum } = self.parameters;
        let mut rest = data;
        while !rest.is_empty() {
            let (_, length) = v2020::cut(
                rest,
                minimum as usize,
                average as usize,
                maximum as usize,
                self.mask_small,
                self.mask_large,
                self.mask_small << 1,
                self.mask_large << 1,
            );
            // "All of it" is an answer only about a stream that ends here, or about a chunk that cannot grow:
            // what follows may hold a later cut point, never an earlier one.
            if length == rest.len() && length < maximum as usize && !last {
                break;
            }
            let Some((_, behind)) = rest.split_at_checked(length) else { break };
            // No cut is behind the maximum, which is a u32.
            lengths.push(length as u32);
            rest = behind;
        }
        data.len() - rest.len()
    }
}

#[cfg(test)]
mod tests;
