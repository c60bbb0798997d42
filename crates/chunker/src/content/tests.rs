use super::*;
use proptest::prelude::*;

/// Bytes that look random and are the same for ever: SplitMix64, little-endian.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)).to_le_bytes()
    };
    let mut bytes: Vec<u8> = (0..length.div_ceil(8)).flat_map(|_| next()).collect();
    bytes.truncate(length);
    bytes
}

fn cut_all(chunker: &ContentChunker, data: &[u8]) -> Vec<u32> {
    let mut lengths = Vec::new();
    assert_eq!(chunker.cut(data, true, &mut lengths), data.len());
    lengths
}

/// As a reader does that gets the stream in pieces.
fn cut_in_pieces(chunker: &ContentChunker, data: &[u8], pieces: &[usize]) -> Vec<u32> {
    let (mut buffer, mut lengths, mut rest) = (Vec::new(), Vec::new(), data);
    for &piece in pieces {
        let (head, tail) = rest.split_at(piece.min(rest.len()));
        rest = tail;
        buffer.extend_from_slice(head);
        let known = lengths.len();
        let consumed = chunker.cut(&buffer, false, &mut lengths);
        assert_eq!(lengths[known..].iter().sum::<u32>() as usize, consumed);
        assert!(buffer.len() - consumed < chunker.parameters().maximum as usize, "a complete chunk was left out");
        buffer.drain(..consumed);
    }
    buffer.extend_from_slice(rest);
    assert_eq!(chunker.cut(&buffer, true, &mut lengths), buffer.len());
    lengths
}

/// Repositories hold chunks that were cut by this very function: if this test fails, new backups share nothing with
/// old ones. It is the function that is wrong then, never the numbers.
#[test]
fn cut_points_are_fixed_for_ever() {
    let data = noise(1, 1 << 20);
    assert_eq!(data[..8], 0x910a_2dec_8902_5cc1_u64.to_le_bytes(), "not the input that the cut points were taken from");
    let default = ContentChunker::new(ChunkSize::DEFAULT.into());
    assert_eq!(cut_all(&default, &data), GOLDEN_DEFAULT);
    let small = ContentChunker::new(ChunkSize::MINIMUM.into());
    assert_eq!(cut_all(&small, &data[..65_536 + 1]), GOLDEN_SMALL);
    let odd = ContentChunker::new(ContentParameters::new(700, 3000, 9002).unwrap());
    assert_eq!(cut_all(&odd, &data[..65_536]), GOLDEN_ODD);

    let published = v2020::FastCDC::new(&data, 8 << 10, 32 << 10, 128 << 10);
    assert!(published.map(|chunk| chunk.length as u32).eq(GOLDEN_DEFAULT.iter().copied()));
}

const GOLDEN_DEFAULT: &[u32] = &[
    28128, 82036, 41896, 28543, 84194, 13958, 38180, 60483, 11346, 40219, 36535, 48151, 44182, 27009, 38128, 75754,
    28980, 51262, 33292, 19198, 17610, 33142, 19437, 34360, 56268, 56285,
];
const GOLDEN_SMALL: &[u32] =
    &[4823, 4305, 5706, 1760, 4854, 6138, 3577, 5744, 5762, 2311, 5745, 2658, 4645, 4146, 3363];
const GOLDEN_ODD: &[u32] = &[3469, 3044, 8321, 1760, 4854, 6138, 3577, 3919, 7587, 2311, 5745, 2658, 4645, 4146, 3362];

#[test]
fn chunks_of_every_size_average_near_it() {
    for size in [ChunkSize::MINIMUM, ChunkSize::DEFAULT, ChunkSize::new(1 << 18).unwrap()] {
        let average = size.bytes();
        let data = noise(2, average as usize * 256);
        let chunks = cut_all(&ContentChunker::new(size.into()), &data).len();
        assert!((192..=320).contains(&chunks), "{chunks} chunks of {size} in 256 times that");
    }
}

#[test]
fn an_insertion_changes_only_chunks_around_it() {
    let chunker = ContentChunker::new(ChunkSize::MINIMUM.into());
    let before = noise(3, 1 << 20);
    let mut after = before.clone();
    after.splice(500_000..500_000, *b"seventeen bytes!!");
    let chunks = |data: &[u8]| {
        let mut rest = data;
        let mut chunks = Vec::new();
        for length in cut_all(&chunker, data) {
            let (chunk, tail) = rest.split_at(length as usize);
            chunks.push(chunk.to_vec());
            rest = tail;
        }
        chunks
    };
    let (before, after) = (chunks(&before), chunks(&after));
    let new = after.iter().filter(|chunk| !before.contains(chunk)).count();
    assert!((1..=8).contains(&new), "{new} of {} chunks are new", after.len());
}

#[test]
fn a_chunk_that_could_grow_is_left_out_until_the_end() {
    let chunker = ContentChunker::new(ChunkSize::DEFAULT.into());
    let zeros = vec![0; 4 * 32_768];
    let mut lengths = vec![9];
    assert_eq!(chunker.cut(&zeros[1..], false, &mut lengths), 0);
    assert_eq!(lengths, [9], "lengths are appended");
    assert_eq!(chunker.cut(&zeros, false, &mut lengths), 4 * 32_768);
    assert_eq!(chunker.cut(&[], false, &mut lengths) + chunker.cut(&[], true, &mut lengths), 0);
    assert_eq!(chunker.cut(&[1], true, &mut lengths), 1);
    assert_eq!(lengths, [9, 4 * 32_768, 1]);
}

#[test]
fn parameters_follow_from_every_chunk_size() {
    for shift in 12..=22 {
        let ContentParameters { minimum, average, maximum } = ChunkSize::new(1 << shift).unwrap().into();
        assert_eq!((minimum, average, maximum), (1 << (shift - 2), 1 << shift, 1 << (shift + 2)));
        assert!(ContentParameters::new(minimum, average, maximum).is_ok());
    }
}

#[test]
fn parameters_that_fastcdc_does_not_take_are_refused() {
    let greatest = (1 << 20, 4 << 20, 16 << 20);
    assert!(ContentParameters::new(64, 256, 1024).is_ok());
    assert!(ContentParameters::new(greatest.0, greatest.1, greatest.2).is_ok());
    for (minimum, average, maximum) in [
        (0, 0, 0),
        (62, 256, 1024),
        (64, 254, 1024),
        (64, 256, 1022),
        (65, 256, 1024),
        (64, 257, 1024),
        (64, 256, 1025),
        (256, 256, 1024),
        (64, 1024, 1024),
        (2048, 1024, 4096),
        (greatest.0 + 2, greatest.1, greatest.2),
        (greatest.0, greatest.1 + 2, greatest.2),
        (greatest.0, greatest.1, greatest.2 + 2),
        (u32::MAX, u32::MAX, u32::MAX),
    ] {
        let refused = ContentParameters::new(minimum, average, maximum);
        assert!(matches!(refused, Err(Error::ContentParameters { .. })), "{minimum} {average} {maximum}");
    }
}

#[test]
#[should_panic(expected = "all three must be even")]
fn parameters_that_were_broken_by_hand_make_no_chunker() {
    let mut parameters = ContentParameters::from(ChunkSize::DEFAULT);
    parameters.minimum += 1;
    ContentChunker::new(parameters);
}

/// Noise with runs of zeros in it, so that chunks of the greatest length occur too.
fn any_data() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec((any::<u64>(), 0..20_000usize, any::<bool>()), 0..6).prop_map(|runs| {
        let run = |&(seed, length, zero): &(u64, usize, bool)| if zero { vec![0; length] } else { noise(seed, length) };
        runs.iter().flat_map(run).collect()
    })
}

fn any_parameters() -> impl Strategy<Value = ContentParameters> {
    (32..1000u32, 100..2000u32, 400..4000u32).prop_map(|(minimum, more, most)| {
        let average = (minimum + more) * 2;
        ContentParameters::new(minimum * 2, average, average + most * 2).unwrap()
    })
}

proptest! {
    #[test]
    fn chunks_do_not_depend_on_how_the_stream_was_cut_into_calls(
        data in any_data(), parameters in any_parameters(), pieces in prop::collection::vec(0..9_000usize, 0..40),
    ) {
        let chunker = ContentChunker::new(parameters);
        prop_assert_eq!(cut_in_pieces(&chunker, &data, &pieces), cut_all(&chunker, &data));
    }

    #[test]
    fn chunks_cover_the_stream_and_keep_to_their_bounds(data in any_data(), parameters in any_parameters()) {
        let lengths = cut_all(&ContentChunker::new(parameters), &data);
        prop_assert_eq!(lengths.iter().map(|&length| length as usize).sum::<usize>(), data.len());
        if let Some((last, complete)) = lengths.split_last() {
            prop_assert!((1..=parameters.maximum).contains(last));
            for length in complete {
                prop_assert!((parameters.minimum..=parameters.maximum).contains(length), "{}", length);
            }
        }
    }
}
