use md5::Digest;
use proptest::prelude::*;

#[cfg(target_arch = "x86_64")]
use super::lanes::{Vectors, compress_many};
use super::{Md5, update_many};
#[cfg(target_arch = "x86_64")]
use super::{Part, steps};

type Update = Box<dyn Fn(&mut [Md5], &[&[u8]])>;

/// [`update_many`], and the same by each kind of vectors that this processor has.
fn all_ways() -> Vec<Update> {
    let mut ways: Vec<Update> = vec![Box::new(update_many)];
    #[cfg(target_arch = "x86_64")]
    for &vectors in Vectors::all() {
        ways.push(Box::new(move |streams, inputs| {
            let mut parts: Vec<Part<'_>> =
                streams.iter_mut().zip(inputs).map(|(stream, input)| stream.take(input)).collect();
            compress_many(&mut parts, vectors);
            parts.into_iter().for_each(|part| steps::compress(part.state, part.blocks));
        }));
    }
    ways
}

fn expected(input: &[u8]) -> [u8; 16] {
    md5::Md5::digest(input).into()
}

fn hex(digest: [u8; 16]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes that differ from stream to stream.
fn bytes(stream: usize, length: usize) -> Vec<u8> {
    let mut state = stream as u64 + 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// RFC 1321, A.5.
const VECTORS: [(&str, &str); 7] = [
    ("", "d41d8cd98f00b204e9800998ecf8427e"),
    ("a", "0cc175b9c0f1b6a831c399e269772661"),
    ("abc", "900150983cd24fb0d6963f7d28e17f72"),
    ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
    ("abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b"),
    ("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", "d174ab98d277d9f5a5611c2c9f419d9f"),
    (
        "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
        "57edf4a22be3c955ac49da2e2107b67a",
    ),
];

#[test]
fn the_digests_are_those_of_rfc_1321() {
    for (input, digest) in VECTORS {
        let mut md5 = Md5::new();
        md5.update(input.as_bytes());
        assert_eq!(hex(md5.finish()), digest);
    }
    let mut streams = vec![Md5::default(); VECTORS.len()];
    update_many(&mut streams, &VECTORS.map(|(input, _)| input.as_bytes()));
    for (stream, (_, digest)) in streams.into_iter().zip(VECTORS) {
        assert_eq!(hex(stream.finish()), digest);
    }
}

#[test]
fn every_length_is_padded_right() {
    let input = bytes(0, 300);
    for length in 0..=300 {
        let mut md5 = Md5::new();
        md5.update(&input[..length]);
        assert_eq!(md5.finish(), expected(&input[..length]), "{length} bytes");
    }
}

#[test]
fn every_number_of_streams_is_hashed_right_in_every_lane() {
    for (count, update) in (0..=40).flat_map(|count| all_ways().into_iter().map(move |update| (count, update))) {
        let inputs: Vec<Vec<u8>> = (0..count).map(|stream| bytes(stream, 64 * 5 + stream)).collect();
        let mut streams = vec![Md5::new(); count];
        update(&mut streams, &inputs.iter().map(Vec::as_slice).collect::<Vec<_>>());
        for (stream, input) in streams.into_iter().zip(&inputs) {
            assert_eq!(stream.finish(), expected(input));
        }
    }
}

#[test]
#[should_panic(expected = "an input for each stream")]
fn as_many_inputs_as_streams_are_needed() {
    update_many(&mut [Md5::new()], &[]);
}

proptest! {
    /// How each stream is split: a piece a call, and whether it goes the way of one stream.
    #[test]
    fn any_streams_in_any_pieces_have_the_digests_of_another_implementation(
        splits in (0usize..=40, 0usize..=4).prop_flat_map(|(streams, calls)| {
            let length = prop_oneof![0usize..200, (0usize..20).prop_map(|blocks| blocks * 64), 0usize..5000];
            let piece = (length, prop::bool::weighted(0.1));
            prop::collection::vec(prop::collection::vec(piece, streams), calls)
        })
    ) {
        let count = splits.first().map_or(0, Vec::len);
        for update in all_ways() {
        let mut streams = vec![Md5::new(); count];
        let mut whole = vec![Vec::new(); count];
        for (call, pieces) in splits.iter().enumerate() {
            let inputs: Vec<Vec<u8>> =
                pieces.iter().enumerate().map(|(stream, (length, _))| bytes(call * 100 + stream, *length)).collect();
            let mut many: Vec<&[u8]> = Vec::new();
            for (stream, (input, (_, alone))) in inputs.iter().zip(pieces).enumerate() {
                whole[stream].extend_from_slice(input);
                if *alone {
                    streams[stream].update(input);
                }
                many.push(if *alone { &[] } else { input });
            }
            update(&mut streams, &many);
        }
        for (stream, whole) in streams.into_iter().zip(&whole) {
            prop_assert_eq!(stream.finish(), expected(whole));
        }
        }
    }
}
