/// Bytes that are looked at together before deciding whether to go on: long enough that the test for it costs
/// nothing beside the loads, short enough that data which is not zero is left at once.
const BLOCK: usize = 256;

/// Whether all bytes are zero; true for none.
///
/// Stops at the first 256 bytes that are not all zero, which is where data nearly always ends it.
///
/// ```
/// assert!(cinderblock_chunker::is_zero(&[0; 32_768]));
/// assert!(!cinderblock_chunker::is_zero(b"\0\0\x01"));
/// ```
pub fn is_zero(data: &[u8]) -> bool {
    let (blocks, rest) = data.as_chunks::<BLOCK>();
    blocks.iter().all(is_zero_block) && rest.iter().all(|&byte| byte == 0)
}

/// Without a branch inside, so that the compiler makes vector instructions of it.
fn is_zero_block(block: &[u8; BLOCK]) -> bool {
    let (words, _) = block.as_chunks::<8>();
    words.iter().fold(0, |sum, word| sum | u64::from_ne_bytes(*word)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bit_anywhere_is_seen_at_every_length_and_alignment() {
        let mut data = vec![0u8; 3 * BLOCK + 40];
        for start in 0..9 {
            for end in [start, start + 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + start, data.len()] {
                assert!(is_zero(&data[start..end]), "{start}..{end}");
                for position in start..end {
                    let bit = 1 << (position % 8);
                    data[position] = bit;
                    assert!(!is_zero(&data[start..end]), "bit {bit} of byte {position} in {start}..{end}");
                    data[position] = 0;
                }
            }
        }
    }

    #[test]
    fn bytes_outside_the_slice_do_not_count() {
        let mut data = vec![0u8; 2 * BLOCK];
        (data[0], data[2 * BLOCK - 1]) = (1, 1);
        assert!(is_zero(&data[1..2 * BLOCK - 1]));
    }
}
