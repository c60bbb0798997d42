//! Several streams side by side, in the lanes of vectors of 256 bits.

use std::arch::x86_64::{
    __m256i, _mm_cvtsi32_si128, _mm256_add_epi32, _mm256_and_si256, _mm256_andnot_si256, _mm256_loadu_si256,
    _mm256_or_si256, _mm256_permute2x128_si256, _mm256_set1_epi32, _mm256_setr_epi32, _mm256_setzero_si256,
    _mm256_sll_epi32, _mm256_srl_epi32, _mm256_storeu_si256, _mm256_unpackhi_epi32, _mm256_unpackhi_epi64,
    _mm256_unpacklo_epi32, _mm256_unpacklo_epi64, _mm256_xor_si256,
};
use std::array::from_fn;

use super::steps::{all_steps, rotation, sines, word};
use super::{BLOCK_BYTES, Block, Part};

/// Lanes of a vector.
const LANES: usize = 8;

/// Most streams that are hashed side by side: two sets of lanes, because the steps of one leave the processor waiting.
const MOST: usize = 2 * LANES;

/// Fewest streams for which vectors are faster than one stream after the other.
const FEWEST: usize = 2;

/// One word of the state of each stream, or of its block: `SETS` vectors of 8.
type Words<const SETS: usize> = [__m256i; SETS];

/// Instructions that a processor has for vectors of 256 bits, the better ones last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vectors {
    Avx2,
    Avx512,
}

impl Vectors {
    /// Those that this processor has.
    pub(super) fn all() -> &'static [Self] {
        let avx2 = is_x86_feature_detected!("avx2");
        match avx2 && is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vl") {
            true => &[Self::Avx2, Self::Avx512],
            false if avx2 => &[Self::Avx2],
            false => &[],
        }
    }
}

/// Hashes blocks side by side until fewer than [`FEWEST`] streams have any left, which are left for the caller.
///
/// # Panics
/// If the processor does not have these vectors.
pub(super) fn compress_many(parts: &mut Vec<Part<'_>>, vectors: Vectors) {
    assert!(Vectors::all().contains(&vectors));
    loop {
        parts.retain(|part| !part.blocks.is_empty());
        if parts.len() < FEWEST {
            return;
        }
        // The longest first, so that as many as possible are left for as long as possible.
        parts.sort_by_key(|part| std::cmp::Reverse(part.blocks.len()));
        let most = parts.len().min(MOST);
        let group = &mut parts[..most];
        // SAFETY: the processor has what these are compiled for, as was made sure of above.
        unsafe {
            match (vectors, group.len() <= LANES) {
                (Vectors::Avx2, true) => with_avx2::<1>(group),
                (Vectors::Avx2, false) => with_avx2::<2>(group),
                (Vectors::Avx512, true) => with_avx512::<1>(group),
                (Vectors::Avx512, false) => with_avx512::<2>(group),
            }
        }
    }
}

/// A function `$name`, which hashes as many blocks of each stream as the shortest has, compiled for processors with `$features`. There
/// are 1 to `SETS * LANES` streams.
macro_rules! compress_group {
    ($(#[$meta:meta])* $name:ident, $features:literal) => {
        $(#[$meta])*
        #[target_feature(enable = $features)]
        fn $name<const SETS: usize>(group: &mut [Part<'_>]) {
            let count = group.iter().map(|part| part.blocks.len()).min().unwrap_or(0);
            // Lanes that are left over do what the first one does.
            let lane = |set: usize, lane: usize| Some(set * LANES + lane).filter(|&index| index < group.len()).unwrap_or(0);
            let inputs: [[&[Block]; LANES]; SETS] = from_fn(|set| from_fn(|i| group[lane(set, i)].blocks));
            let mut state: [Words<SETS>; 4] = from_fn(|word| {
                from_fn(|set| {
                    let [a, b, c, d, e, f, g, h] = from_fn(|i| group[lane(set, i)].state[word].cast_signed());
                    _mm256_setr_epi32(a, b, c, d, e, f, g, h)
                })
            });
            let sines = sines();
            for index in 0..count {
                let mut words = [[_mm256_setzero_si256(); SETS]; 16];
                for set in 0..SETS {
                    let [a, b, c, d, e, f, g, h] = inputs[set];
                    let blocks = [&a[index], &b[index], &c[index], &d[index], &e[index], &f[index], &g[index], &h[index]];
                    let halves = [transposed::<0>(blocks), transposed::<1>(blocks)];
                    for (words, word) in words.iter_mut().zip(halves.as_flattened()) {
                        words[set] = *word;
                    }
                }
                let mixed = all_steps!(step, state, &words, sines);
                for (word, mixed) in state.iter_mut().zip(mixed) {
                    for set in 0..SETS {
                        word[set] = _mm256_add_epi32(word[set], mixed[set]);
                    }
                }
            }
            for (index, part) in group.iter_mut().enumerate() {
                part.blocks = &part.blocks[count..];
                *part.state = from_fn(|word| stored(state[word][index / LANES])[index % LANES]);
            }
        }
    };
}

compress_group!(with_avx2, "avx2");
compress_group!(
    /// AVX-512 has a rotation, and any function of three words, in one instruction: the compiler finds both in the steps' four and two
    /// or three, so that the chain of dependent ones is about half as long.
    with_avx512,
    "avx2,avx512f,avx512vl"
);

#[inline]
#[target_feature(enable = "avx2")]
fn step<const SETS: usize>(
    number: usize,
    sine: u32,
    a: Words<SETS>,
    b: Words<SETS>,
    c: Words<SETS>,
    d: Words<SETS>,
    words: &[Words<SETS>; 16],
) -> Words<SETS> {
    let (word, mut next) = (words[word(number)], a);
    for set in 0..SETS {
        next[set] = step_of_set(number, sine, [a[set], b[set], c[set], d[set]], word[set]);
    }
    next
}

/// The same as a step of one stream, see there.
#[inline]
#[target_feature(enable = "avx2")]
fn step_of_set(number: usize, sine: u32, [a, b, c, d]: [__m256i; 4], word: __m256i) -> __m256i {
    let sine = _mm256_set1_epi32(sine.cast_signed());
    let sum = _mm256_add_epi32(_mm256_add_epi32(a, word), sine);
    let sum = match number / 16 {
        0 => _mm256_add_epi32(sum, _mm256_xor_si256(d, _mm256_and_si256(b, _mm256_xor_si256(c, d)))),
        1 => _mm256_add_epi32(_mm256_add_epi32(sum, _mm256_andnot_si256(d, c)), _mm256_and_si256(b, d)),
        2 => _mm256_add_epi32(sum, _mm256_xor_si256(b, _mm256_xor_si256(c, d))),
        _ => {
            let not_d = _mm256_xor_si256(d, _mm256_set1_epi32(-1));
            _mm256_add_epi32(sum, _mm256_xor_si256(c, _mm256_or_si256(b, not_d)))
        }
    };
    // Constants when inlined, and then immediate operands.
    let left = _mm_cvtsi32_si128(rotation(number).cast_signed());
    let right = _mm_cvtsi32_si128(32 - rotation(number).cast_signed());
    _mm256_add_epi32(b, _mm256_or_si256(_mm256_sll_epi32(sum, left), _mm256_srl_epi32(sum, right)))
}

/// The words of the first (0) or second (1) half of 8 blocks: word `i` of block `l` becomes lane `l` of vector `i`.
#[inline]
#[target_feature(enable = "avx2")]
fn transposed<const HALF: usize>(blocks: [&Block; LANES]) -> [__m256i; LANES] {
    let [a, b, c, d, e, f, g, h] = blocks;
    let (a, b, c, d) = (loaded::<HALF>(a), loaded::<HALF>(b), loaded::<HALF>(c), loaded::<HALF>(d));
    let (e, f, g, h) = (loaded::<HALF>(e), loaded::<HALF>(f), loaded::<HALF>(g), loaded::<HALF>(h));
    let [a0, a1, a2, a3] = transposed_by_four(a, b, c, d);
    let [e0, e1, e2, e3] = transposed_by_four(e, f, g, h);
    // The low halves have words 0 to 3, the high ones words 4 to 7.
    const LOW: i32 = 0x20;
    const HIGH: i32 = 0x31;
    [
        _mm256_permute2x128_si256::<LOW>(a0, e0),
        _mm256_permute2x128_si256::<LOW>(a1, e1),
        _mm256_permute2x128_si256::<LOW>(a2, e2),
        _mm256_permute2x128_si256::<LOW>(a3, e3),
        _mm256_permute2x128_si256::<HIGH>(a0, e0),
        _mm256_permute2x128_si256::<HIGH>(a1, e1),
        _mm256_permute2x128_si256::<HIGH>(a2, e2),
        _mm256_permute2x128_si256::<HIGH>(a3, e3),
    ]
}

/// Transposes the 4 × 4 words of both 128-bit halves.
#[inline]
#[target_feature(enable = "avx2")]
fn transposed_by_four(a: __m256i, b: __m256i, c: __m256i, d: __m256i) -> [__m256i; 4] {
    let (ab01, ab23) = (_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
    let (cd01, cd23) = (_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
    [
        _mm256_unpacklo_epi64(ab01, cd01),
        _mm256_unpackhi_epi64(ab01, cd01),
        _mm256_unpacklo_epi64(ab23, cd23),
        _mm256_unpackhi_epi64(ab23, cd23),
    ]
}

#[inline]
#[target_feature(enable = "avx2")]
fn loaded<const HALF: usize>(block: &Block) -> __m256i {
    const { assert!(HALF < 2) };
    // SAFETY: a block has two halves of 32 bytes, and the load takes any alignment.
    unsafe { _mm256_loadu_si256(block.as_ptr().add(HALF * BLOCK_BYTES / 2).cast()) }
}

#[target_feature(enable = "avx2")]
fn stored(vector: __m256i) -> [u32; LANES] {
    let mut words = [0; LANES];
    // SAFETY: the array has the vector's 32 bytes, and the store takes any alignment.
    unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), vector) };
    words
}
