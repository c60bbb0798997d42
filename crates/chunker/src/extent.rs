use std::fmt;

/// A run of bytes of a volume or file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Extent {
    /// The first byte, counted from the start of the volume.
    pub offset: u64,
    /// How many bytes; 0 is an extent that covers nothing.
    pub length: u64,
}

impl Extent {
    /// The offset of the first byte behind it; `u64::MAX` where that would be greater.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.length)
    }
}

/// As `offset+length`, both in bytes: `65536+32768`.
impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.offset, self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_an_extent_never_overflows() {
        assert_eq!(Extent { offset: 3, length: 4 }.end(), 7);
        assert_eq!(Extent { offset: 3, length: u64::MAX }.end(), u64::MAX);
    }
}
