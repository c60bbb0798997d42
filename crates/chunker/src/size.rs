use crate::Error;
use std::fmt;
use std::str::FromStr;

/// The size of a chunk: a power of two from 4 KiB to 4 MiB.
///
/// It is chosen when a repository is made and stays for its life. [`ChunkSize::DEFAULT`] is 32 KiB, the block that
/// Cinder's chunked backup driver hashes (`backup_sha_block_size_bytes`).
///
/// Shown and parsed as people write sizes:
///
/// ```
/// use cinderblock_chunker::ChunkSize;
/// assert_eq!("64K".parse::<ChunkSize>()?.bytes(), 65_536);
/// assert_eq!("1024KiB".parse::<ChunkSize>()?.to_string(), "1MiB");
/// assert_eq!("32768".parse::<ChunkSize>()?, ChunkSize::DEFAULT);
/// # Ok::<(), cinderblock_chunker::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ChunkSize(u32);

impl ChunkSize {
    /// 32 KiB, Cinder's default hash block.
    pub const DEFAULT: ChunkSize = ChunkSize(32 << 10);
    /// The least: 4 KiB, a page and the block of most file systems; below it nothing more is found to be equal.
    pub const MINIMUM: ChunkSize = ChunkSize(4 << 10);
    /// The greatest: 4 MiB, the most that FastCDC takes as an average.
    pub const MAXIMUM: ChunkSize = ChunkSize(4 << 20);

    /// The chunk size of that many bytes.
    ///
    /// # Errors
    /// [`Error::ChunkSize`] if it is not a power of two from 4,096 to 4,194,304.
    pub fn new(bytes: u64) -> Result<ChunkSize, Error> {
        match u32::try_from(bytes).map(ChunkSize) {
            Ok(size) if bytes.is_power_of_two() && (Self::MINIMUM..=Self::MAXIMUM).contains(&size) => Ok(size),
            _ => Err(Error::ChunkSize { bytes }),
        }
    }

    /// In bytes.
    pub fn bytes(self) -> u32 {
        self.0
    }

    /// Whether fixed-size chunks are stored with their SHA-256, so that Cinder's lists of block hashes need not be computed from their bytes: from 32 KiB on.
    /// Who asks for smaller chunks wants less to be stored, of which a hash would be 1 % and more; and no Cinder has blocks of less unless it was told to.
    pub fn is_hashed(self) -> bool {
        self >= Self::DEFAULT
    }
}

/// [`ChunkSize::DEFAULT`].
impl Default for ChunkSize {
    fn default() -> ChunkSize {
        ChunkSize::DEFAULT
    }
}

/// In the largest unit that leaves a whole number: `4KiB`, `1MiB`.
impl fmt::Display for ChunkSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 >= 1 << 20 { f.pad(&format!("{}MiB", self.0 >> 20)) } else { f.pad(&format!("{}KiB", self.0 >> 10)) }
    }
}

/// Takes a number of bytes, or of units of 1,024 (`K`, `KiB`) or 1,048,576 bytes (`M`, `MiB`), in either case.
///
/// `KB` and `MB` are refused: to some they mean powers of ten, which are not chunk sizes.
impl FromStr for ChunkSize {
    type Err = Error;

    fn from_str(text: &str) -> Result<ChunkSize, Error> {
        let not_a_size = || Error::ChunkSizeText { text: text.to_owned() };
        let trimmed = text.trim();
        let digits = trimmed.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = trimmed.split_at(digits);
        let unit_bytes: u64 = match unit.trim_start().to_ascii_lowercase().as_str() {
            "" => 1,
            "k" | "kib" => 1 << 10,
            "m" | "mib" => 1 << 20,
            _ => return Err(not_a_size()),
        };
        let bytes = number.parse::<u64>().ok().and_then(|n| n.checked_mul(unit_bytes));
        ChunkSize::new(bytes.ok_or_else(not_a_size)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_two_from_4_kib_to_4_mib_are_sizes_and_nothing_else_is() {
        for shift in 0..64 {
            let size = ChunkSize::new(1 << shift);
            assert_eq!(size.is_ok(), (12..=22).contains(&shift), "2^{shift}");
            assert!(ChunkSize::new((1 << shift) + 1).is_err() || shift == 11, "2^{shift} + 1");
        }
        assert!(matches!(ChunkSize::new(0), Err(Error::ChunkSize { bytes: 0 })));
        assert!(ChunkSize::new(12_288).is_err());
        assert!(ChunkSize::new((1 << 32) + 32_768).is_err(), "the high half must count");
    }

    #[test]
    fn sizes_from_cinders_block_on_are_hashed() {
        let sizes = (12..=22).map(|shift| ChunkSize::new(1 << shift).unwrap());
        assert_eq!(sizes.filter(|size| size.is_hashed()).min(), Some(ChunkSize::DEFAULT));
        assert!(!ChunkSize::new(16 << 10).unwrap().is_hashed());
    }

    #[test]
    fn a_size_that_is_shown_is_parsed_again() {
        for shift in 12..=22 {
            let size = ChunkSize::new(1 << shift).unwrap();
            assert_eq!(size.to_string().parse::<ChunkSize>().unwrap(), size);
            assert_eq!(size.bytes().to_string().parse::<ChunkSize>().unwrap(), size);
        }
        assert_eq!(format!("{:>7}", ChunkSize::DEFAULT), "  32KiB");
    }

    #[test]
    fn sizes_are_parsed_as_people_write_them() {
        for text in ["32768", "32K", "32k", "32KiB", "32kib", "32 KiB", " 32KiB "] {
            assert_eq!(text.parse::<ChunkSize>().unwrap(), ChunkSize::DEFAULT, "{text:?}");
        }
        assert_eq!("4M".parse::<ChunkSize>().unwrap(), ChunkSize::MAXIMUM);
        for text in [
            "",
            "K",
            "32KB",
            "32Ki",
            "-32K",
            "+32K",
            "0x8000",
            "32.0K",
            "32KiBs",
            "३२K",
            "99999999999999999999",
            "18014398509481985K",
        ] {
            assert!(matches!(text.parse::<ChunkSize>(), Err(Error::ChunkSizeText { .. })), "{text:?}");
        }
        for (text, expected) in [("33K", 33 << 10), ("0", 0), ("2K", 2048), ("8MiB", 8 << 20)] {
            assert!(
                matches!(text.parse::<ChunkSize>(), Err(Error::ChunkSize { bytes }) if bytes == expected),
                "{text:?}"
            );
        }
    }
}
