//! MD5's 64 steps: their tables, and the steps of one stream.

use super::{Block, State};

/// By how many bits a step rotates: one row a round, repeated four times in it.
const ROTATIONS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];

/// How far the words of the block are apart that a round's steps use one after the other, and which is the first.
const STRIDES: [(usize, usize); 4] = [(1, 0), (5, 1), (3, 5), (7, 0)];

/// The step's constant: the whole part of 2^32 × |sin(step + 1)|.
static SINES: [u32; 64] = [
    0xd76a_a478,
    0xe8c7_b756,
    0x2420_70db,
    0xc1bd_ceee,
    0xf57c_0faf,
    0x4787_c62a,
    0xa830_4613,
    0xfd46_9501,
    0x6980_98d8,
    0x8b44_f7af,
    0xffff_5bb1,
    0x895c_d7be,
    0x6b90_1122,
    0xfd98_7193,
    0xa679_438e,
    0x49b4_0821,
    0xf61e_2562,
    0xc040_b340,
    0x265e_5a51,
    0xe9b6_c7aa,
    0xd62f_105d,
    0x0244_1453,
    0xd8a1_e681,
    0xe7d3_fbc8,
    0x21e1_cde6,
    0xc337_07d6,
    0xf4d5_0d87,
    0x455a_14ed,
    0xa9e3_e905,
    0xfcef_a3f8,
    0x676f_02d9,
    0x8d2a_4c8a,
    0xfffa_3942,
    0x8771_f681,
    0x6d9d_6122,
    0xfde5_380c,
    0xa4be_ea44,
    0x4bde_cfa9,
    0xf6bb_4b60,
    0xbebf_bc70,
    0x289b_7ec6,
    0xeaa1_27fa,
    0xd4ef_3085,
    0x0488_1d05,
    0xd9d4_d039,
    0xe6db_99e5,
    0x1fa2_7cf8,
    0xc4ac_5665,
    0xf429_2244,
    0x432a_ff97,
    0xab94_23a7,
    0xfc93_a039,
    0x655b_59c3,
    0x8f0c_cc92,
    0xffef_f47d,
    0x8584_5dd1,
    0x6fa8_7e4f,
    0xfe2c_e6e0,
    0xa301_4314,
    0x4e08_11a1,
    0xf753_7e82,
    0xbd3a_f235,
    0x2ad7_d2bb,
    0xeb86_d391,
];

/// The steps' constants, unknown to the compiler. It would add a known constant last, where the next step waits for it; so
/// it is added early, from memory.
pub(super) fn sines() -> &'static [u32; 64] {
    std::hint::black_box(&SINES)
}

/// By how many bits a step rotates.
pub(super) const fn rotation(step: usize) -> u32 {
    ROTATIONS[step / 16][step % 4]
}

/// Which word of the block a step adds.
pub(super) const fn word(step: usize) -> usize {
    let (stride, first) = STRIDES[step / 16];
    (first + stride * (step % 16)) % 16
}

/// Carries out all steps: `$step(number, sine, a, b, c, d, words)` has to give the new value of `a`, which is `b` to the
/// next, and to be inlined: its tables are for the compiler.
macro_rules! all_steps {
    ($step:ident, $state:expr, $words:expr, $sines:expr) => {{
        let ([mut a, mut b, mut c, mut d], words, sines) = ($state, $words, $sines);
        all_steps!(@ $step, a, b, c, d, words, sines, 0 4 8 12 16 20 24 28 32 36 40 44 48 52 56 60);
        [a, b, c, d]
    }};
    (@ $step:ident, $a:ident, $b:ident, $c:ident, $d:ident, $words:ident, $sines:ident, $($first:literal)*) => {
        $(
            $a = $step($first, $sines[$first], $a, $b, $c, $d, $words);
            $d = $step($first + 1, $sines[$first + 1], $d, $a, $b, $c, $words);
            $c = $step($first + 2, $sines[$first + 2], $c, $d, $a, $b, $words);
            $b = $step($first + 3, $sines[$first + 3], $b, $c, $d, $a, $words);
        )*
    };
}
pub(super) use all_steps;

/// Hashes the blocks of one stream.
pub(super) fn compress(state: &mut State, blocks: &[Block]) {
    let sines = sines();
    for block in blocks {
        let mut words = [0; 16];
        for (word, bytes) in words.iter_mut().zip(block.as_chunks().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        let mixed = all_steps!(step, *state, &words, sines);
        for (word, mixed) in state.iter_mut().zip(mixed) {
            *word = word.wrapping_add(mixed);
        }
    }
}

#[inline(always)]
fn step(number: usize, sine: u32, a: u32, b: u32, c: u32, d: u32, words: &[u32; 16]) -> u32 {
    let sum = a.wrapping_add(words[word(number)]).wrapping_add(sine);
    // RFC 1321's F, G, H and I. `b` comes last: every step waits for it.
    let sum = match number / 16 {
        0 => sum.wrapping_add(d ^ (b & (c ^ d))),
        // The two parts have no bit in common, so that they can be added one by one.
        1 => sum.wrapping_add(c & !d).wrapping_add(b & d),
        2 => sum.wrapping_add(b ^ (c ^ d)),
        _ => sum.wrapping_add(c ^ (b | !d)),
    };
    b.wrapping_add(sum.rotate_left(rotation(number)))
}
