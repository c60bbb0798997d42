//! SHA-256 of many messages: two side by side where the processor has instructions for it.
//!
//! Each of the instructions that do two rounds waits for the one before it, so that one message leaves the processor half idle. The chunks of a volume
//! are of one length and have nothing to do with each other: two go through it in little more time than one. FIPS 180-4 has the algorithm.

use sha2::{Digest, Sha256};

/// Bytes of a digest.
pub const DIGEST_BYTES: usize = 32;

/// The SHA-256 of each message, in their order. It is faster where neighbours have the same length.
pub fn digests(messages: &[&[u8]]) -> Vec<[u8; DIGEST_BYTES]> {
    let mut digests = Vec::with_capacity(messages.len());
    let mut rest = messages;
    while let [first, others @ ..] = rest {
        #[cfg(target_arch = "x86_64")]
        if let [second, after @ ..] = others
            && let Some(both) = pair::digests([first, second])
        {
            digests.extend(both);
            rest = after;
            continue;
        }
        digests.push(Sha256::digest(first).into());
        rest = others;
    }
    digests
}

#[cfg(target_arch = "x86_64")]
mod pair {
    use std::arch::x86_64::{
        __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_extract_epi32, _mm_loadu_si128, _mm_set_epi32, _mm_set_epi64x,
        _mm_setzero_si128, _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_shuffle_epi8,
        _mm_shuffle_epi32,
    };

    use super::DIGEST_BYTES;

    const BLOCK_BYTES: usize = 64;
    type Block = [u8; BLOCK_BYTES];

    /// Fractions of the square roots of the first 8 primes.
    const INITIAL: [u32; 8] =
        [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

    /// Fractions of the cube roots of the first 64 primes, four rounds in each.
    const ROUNDS: [[u32; 4]; 16] = [
        [0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5],
        [0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5],
        [0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3],
        [0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174],
        [0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc],
        [0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da],
        [0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7],
        [0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967],
        [0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13],
        [0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85],
        [0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3],
        [0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070],
        [0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5],
        [0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3],
        [0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208],
        [0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2],
    ];

    /// The eight words of a state, as the instructions want them: `ABEF` and `CDGH`, the first of each highest.
    type State = [__m128i; 2];

    /// The digests of two messages of one length; none where their lengths differ or the processor lacks the instructions.
    pub(super) fn digests(messages: [&[u8]; 2]) -> Option<[[u8; DIGEST_BYTES]; 2]> {
        let [first, second] = messages;
        let able = is_x86_feature_detected!("sha") && is_x86_feature_detected!("sse4.1");
        if first.len() != second.len() || !able {
            return None;
        }
        let (blocks, ends) = (messages.map(|message| message.as_chunks::<BLOCK_BYTES>().0), messages.map(end));
        let ends = [&ends[0], &ends[1]].map(|(blocks, count)| blocks.get(..*count).unwrap_or_default());
        // SAFETY: the processor has the instructions, as was found above.
        Some(unsafe {
            let mut states = initial();
            compress(&mut states, blocks);
            compress(&mut states, ends);
            states.map(|state| words(state))
        })
    }

    /// The last one or two blocks: what is left of the message, a bit, zeros, and its length in bits.
    fn end(message: &[u8]) -> ([Block; 2], usize) {
        let (_, rest) = message.as_chunks::<BLOCK_BYTES>();
        let count = if rest.len() < BLOCK_BYTES - 8 { 1 } else { 2 };
        let bits = (message.len() as u64 * 8).to_be_bytes();
        let mut blocks = [[0; BLOCK_BYTES]; 2];
        let bytes = blocks.as_flattened_mut();
        bytes[..rest.len()].copy_from_slice(rest);
        bytes[rest.len()] = 0x80;
        bytes[count * BLOCK_BYTES - 8..count * BLOCK_BYTES].copy_from_slice(&bits);
        (blocks, count)
    }

    fn vector(highest_first: [u32; 4]) -> __m128i {
        let [a, b, c, d] = highest_first.map(u32::cast_signed);
        // SAFETY: SSE2 is part of x86-64.
        unsafe { _mm_set_epi32(a, b, c, d) }
    }

    fn initial() -> [State; 2] {
        let [a, b, c, d, e, f, g, h] = INITIAL;
        [[vector([a, b, e, f]), vector([c, d, g, h])]; 2]
    }

    #[target_feature(enable = "sse4.1")]
    fn words([abef, cdgh]: State) -> [u8; DIGEST_BYTES] {
        let high = |state: __m128i| [_mm_extract_epi32::<3>(state), _mm_extract_epi32::<2>(state)];
        let low = |state: __m128i| [_mm_extract_epi32::<1>(state), _mm_extract_epi32::<0>(state)];
        let words = [high(abef), high(cdgh), low(abef), low(cdgh)];
        let mut digest = [0; DIGEST_BYTES];
        for (bytes, word) in digest.as_chunks_mut::<4>().0.iter_mut().zip(words.as_flattened()) {
            *bytes = word.to_be_bytes();
        }
        digest
    }

    /// Takes in as many blocks of both messages; they have equally many.
    #[target_feature(enable = "sha,sse4.1,ssse3")]
    fn compress(states: &mut [State; 2], messages: [&[Block]; 2]) {
        // Words are big-endian in a message.
        let swap = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
        let [first, second] = messages;
        for blocks in first.iter().zip(second) {
            let blocks = [blocks.0, blocks.1];
            let mut words = [[_mm_setzero_si128(); 4]; 2];
            for (words, block) in words.iter_mut().zip(blocks) {
                for (word, bytes) in words.iter_mut().zip(block.as_chunks::<16>().0) {
                    // SAFETY: 16 bytes are read from 16 bytes; the address need not be aligned.
                    *word = _mm_shuffle_epi8(unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }, swap);
                }
            }
            let mut now = *states;
            macro_rules! rounds {
                ($($four:literal)*) => {$(
                    let [a, b, c, d] = ROUNDS[$four];
                    let constants = vector([d, c, b, a]);
                    for ([abef, cdgh], words) in now.iter_mut().zip(&words) {
                        let sums = _mm_add_epi32(words[$four % 4], constants);
                        *cdgh = _mm_sha256rnds2_epu32(*cdgh, *abef, sums);
                        *abef = _mm_sha256rnds2_epu32(*abef, *cdgh, _mm_shuffle_epi32::<0x0e>(sums));
                    }
                    if $four < 12 {
                        // The words of the four rounds after the next twelve.
                        for words in &mut words {
                            let first = _mm_sha256msg1_epu32(words[$four % 4], words[($four + 1) % 4]);
                            let between = _mm_alignr_epi8::<4>(words[($four + 3) % 4], words[($four + 2) % 4]);
                            let sums = _mm_add_epi32(first, between);
                            words[$four % 4] = _mm_sha256msg2_epu32(sums, words[($four + 3) % 4]);
                        }
                    }
                )*};
            }
            rounds!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
            for (state, now) in states.as_flattened_mut().iter_mut().zip(now.as_flattened()) {
                *state = _mm_add_epi32(*state, *now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn expected(messages: &[&[u8]]) -> Vec<[u8; 32]> {
        messages.iter().map(|message| Sha256::digest(message).into()).collect()
    }

    /// Every length around the ends of blocks, where the padding changes its shape.
    #[test]
    fn all_short_lengths_agree() {
        let bytes: Vec<u8> = (0..400_u32).map(|n| ((n * 7919) >> 3) as u8).collect();
        for length in 0..200 {
            let messages = [&bytes[..length], &bytes[200..200 + length], &bytes[1..1 + length]];
            assert_eq!(digests(&messages), expected(&messages), "{length}");
        }
    }

    /// FIPS 180-4's examples, at both places of a pair.
    #[test]
    fn known_digests() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let hex = |digest: &[u8; 32]| digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let found: Vec<String> = digests(&[b"abc", b"abc", b"", b""]).iter().map(hex).collect();
        assert_eq!(found, [abc, abc, empty, empty]);
    }

    proptest! {
        #[test]
        fn messages_of_any_lengths_agree(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..9),
            twice in any::<bool>(),
        ) {
            let mut messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
            if twice {
                messages.extend(messages.clone());
                messages.sort_by_key(|message| message.len());
            }
            prop_assert_eq!(digests(&messages), expected(&messages));
        }
    }
}
