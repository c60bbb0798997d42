use std::io::{self, ErrorKind, Read, Write};
use std::process::{Command, Stdio};

use proptest::prelude::*;

use super::{Algorithm, Damage, Decoder, Encoder, Ring, RingEncoder};

const ALGORITHMS: [Algorithm; 4] = [Algorithm::None, Algorithm::Zlib, Algorithm::Bz2, Algorithm::Zstd];
const COMPRESSING: [Algorithm; 3] = [Algorithm::Zlib, Algorithm::Bz2, Algorithm::Zstd];

/// Bytes that do not compress.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// Bytes that compress, but not to nothing.
fn prose(length: usize) -> Vec<u8> {
    (0..)
        .flat_map(|line: u32| format!("{line}: {} bottles of beer\n", line % 991 * (line % 97)).into_bytes())
        .take(length)
        .collect()
}

fn compressed(algorithm: Algorithm, plain: &[u8], piece: usize) -> Vec<u8> {
    let mut encoder = Encoder::new(algorithm, Vec::new(), plain.len() as u64).unwrap();
    for piece in plain.chunks(piece) {
        encoder.write_all(piece).unwrap();
    }
    encoder.finish().unwrap()
}

/// Reads in pieces of `piece` bytes, and makes sure of the end.
fn decompressed(algorithm: Algorithm, stored: impl Read, plain_bytes: u64, piece: usize) -> io::Result<Vec<u8>> {
    let mut decoder = Decoder::new(algorithm, stored, plain_bytes)?;
    let (mut plain, mut buffer) = (Vec::new(), vec![0; piece]);
    loop {
        match decoder.read(&mut buffer)? {
            0 => break,
            read => plain.extend_from_slice(&buffer[..read]),
        }
        assert!(plain.len() as u64 <= plain_bytes);
    }
    decoder.finish()?;
    Ok(plain)
}

/// What is wrong with the bytes: there has to be something.
fn damage(algorithm: Algorithm, stored: &[u8], plain_bytes: u64) -> Damage {
    let error = decompressed(algorithm, stored, plain_bytes, 1000).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
    Damage::of(&error).expect("damage").clone()
}

#[test]
fn every_algorithm_gives_back_what_was_written() {
    // Beyond bzip2's blocks (900 kB), zstd's window (2 MiB) and all buffers.
    let lengths = [0, 1, 2, 63, 64 << 10, (64 << 10) + 1, 5 << 20];
    for (algorithm, length) in ALGORITHMS.into_iter().flat_map(|algorithm| lengths.map(|length| (algorithm, length))) {
        for plain in [noise(length), vec![0; length], prose(length)] {
            let stored = compressed(algorithm, &plain, 777_777);
            let back = decompressed(algorithm, &stored[..], length as u64, 99_999).unwrap();
            assert!(back == plain, "{algorithm:?}, {length} bytes");
        }
    }
}

#[test]
fn the_headers_are_those_that_cinder_writes() {
    let plain = prose(3 << 20);
    assert_eq!(compressed(Algorithm::Zlib, &plain, 4096)[..2], [0x78, 0x9c]);
    assert_eq!(compressed(Algorithm::Bz2, &plain, 4096)[..4], *b"BZh9");
    for length in [0, 1, 300, 3 << 20] {
        let frame = compressed(Algorithm::Zstd, &plain[..length], 4096);
        assert_eq!(zstd::zstd_safe::get_frame_content_size(&frame).unwrap(), Some(length as u64));
        assert_eq!(frame[4] & 0b100, 0, "no checksum");
        assert_eq!(zstd::bulk::decompress(&frame, length).unwrap(), plain[..length]);
    }
}

#[test]
fn fewer_or_more_bytes_than_stated_are_refused_by_an_encoder() {
    for algorithm in ALGORITHMS {
        let mut encoder = Encoder::new(algorithm, Vec::new(), 10).unwrap();
        encoder.write_all(b"123456789").unwrap();
        assert_eq!(encoder.write(b"01").unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(encoder.finish().unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn whatever_is_cut_off_is_missed() {
    let plain = prose(5000);
    for algorithm in ALGORITHMS {
        let stored = compressed(algorithm, &plain, 5000);
        for length in 0..stored.len() {
            assert_eq!(damage(algorithm, &stored[..length], 5000), Damage::Truncated, "{algorithm:?} at {length}");
        }
    }
}

#[test]
fn whatever_follows_is_an_error() {
    let plain = prose(5000);
    for algorithm in ALGORITHMS {
        let stored = compressed(algorithm, &plain, 5000);
        for tail in [&b"\0"[..], &stored, &noise(100_000)] {
            assert_eq!(damage(algorithm, &[&stored, tail].concat(), 5000), Damage::Trailing, "{algorithm:?}");
        }
    }
    // An empty zstd frame, and one to be skipped, are frames too.
    let empty = compressed(Algorithm::Zstd, b"", 1);
    let stored = compressed(Algorithm::Zstd, &plain, 5000);
    assert_eq!(damage(Algorithm::Zstd, &[&stored[..], &empty].concat(), 5000), Damage::Trailing);
    let skipped = b"\x50\x2a\x4d\x18\x01\0\0\0x";
    assert_eq!(damage(Algorithm::Zstd, &[&stored[..], skipped].concat(), 5000), Damage::Trailing);
    let shorter = Damage::Shorter { plain_bytes: 0, stated_bytes: 5000 };
    assert_eq!(damage(Algorithm::Zstd, &[skipped, &stored[..]].concat(), 5000), shorter);
}

#[test]
fn no_flipped_bit_changes_bytes_that_have_a_checksum() {
    let plain = prose(3000);
    for algorithm in COMPRESSING {
        let mut stored = compressed(algorithm, &plain, 3000);
        for bit in 0..stored.len() * 8 {
            stored[bit / 8] ^= 1 << (bit % 8);
            match decompressed(algorithm, &stored[..], 3000, 1000) {
                // Some bits mean nothing, and zstd's frames have no checksum: what comes out has the right length there.
                Ok(back) => assert!(back == plain || algorithm == Algorithm::Zstd, "{algorithm:?} bit {bit}"),
                Err(error) => assert!(Damage::of(&error).is_some(), "{algorithm:?} bit {bit}: {error}"),
            }
            stored[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

#[test]
fn a_bomb_is_cut_off_at_the_stated_length() {
    let zeros = vec![0; 32 << 20];
    for algorithm in COMPRESSING {
        let stored = compressed(algorithm, &zeros, 1 << 20);
        for stated_bytes in [0, 1, 1000, (32 << 20) - 1] {
            let mut decoder = Decoder::new(algorithm, &stored[..], stated_bytes).unwrap();
            let mut plain = Vec::new();
            decoder.read_to_end(&mut plain).unwrap();
            assert_eq!(plain.len() as u64, stated_bytes);
            let error = decoder.finish().unwrap_err();
            assert_eq!(Damage::of(&error), Some(&Damage::Longer { stated_bytes }), "{algorithm:?}");
        }
    }
}

#[test]
fn what_ends_too_early_is_too_short_and_stays_so() {
    for algorithm in COMPRESSING {
        let stored = compressed(algorithm, &prose(5000), 5000);
        let expected = Damage::Shorter { plain_bytes: 5000, stated_bytes: 5001 };
        let mut decoder = Decoder::new(algorithm, &stored[..], 5001).unwrap();
        let error = decoder.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(Damage::of(&error), Some(&expected));
        let error = decoder.read(&mut [0]).unwrap_err();
        assert_eq!(Damage::of(&error), Some(&expected));
        assert_eq!(Damage::of(&decoder.finish().unwrap_err()), Some(&expected));
    }
}

#[test]
fn a_decoder_that_was_not_read_to_its_end_does_not_finish() {
    for algorithm in ALGORITHMS {
        let stored = compressed(algorithm, &prose(5000), 5000);
        let mut decoder = Decoder::new(algorithm, &stored[..], 5000).unwrap();
        decoder.read_exact(&mut [0; 4999]).unwrap();
        assert_eq!(decoder.finish().unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

#[test]
fn a_zstd_frame_with_a_large_window_is_refused() {
    let frame = |window_log: u32| {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(window_log).unwrap();
        encoder.write_all(&noise(100)).unwrap();
        encoder.flush().unwrap();
        encoder.finish().unwrap()
    };
    assert_eq!(decompressed(Algorithm::Zstd, &frame(23)[..], 100, 10).unwrap(), noise(100));
    assert_eq!(damage(Algorithm::Zstd, &frame(24), 100), Damage::LargeWindow);
}

/// Gives a byte at a time, with an interruption before each, and at the end this error.
struct Failing<'a>(&'a [u8], bool, ErrorKind);

impl Read for Failing<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.1 = !self.1;
        match self.0.split_first() {
            _ if self.1 => Err(ErrorKind::Interrupted.into()),
            Some((first, rest)) => {
                into[0] = *first;
                self.0 = rest;
                Ok(1)
            }
            None => Err(io::Error::new(self.2, "the disk is on fire")),
        }
    }
}

#[test]
fn errors_of_the_reader_come_through_and_are_no_damage() {
    let plain = prose(3000);
    for (algorithm, kind) in ALGORITHMS.into_iter().zip([ErrorKind::InvalidData, ErrorKind::UnexpectedEof].repeat(2)) {
        let stored = compressed(algorithm, &plain, 3000);
        for length in [0, stored.len() / 2, stored.len() - 1, stored.len()] {
            let mut decoder = Decoder::new(algorithm, Failing(&stored[..length], false, kind), 3000).unwrap();
            let result = io::copy(&mut decoder, &mut io::sink()).and_then(|_| decoder.finish());
            let error = result.unwrap_err();
            assert_eq!((error.kind(), error.to_string().as_str()), (kind, "the disk is on fire"));
            assert!(Damage::of(&error).is_none());
        }
    }
}

/// Has room for so many bytes.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(ErrorKind::StorageFull.into());
        }
        let taken = bytes.len().min(self.0);
        self.0 -= taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn errors_of_the_writer_come_through_at_the_latest_when_finished() {
    let plain = noise(300_000);
    for algorithm in ALGORITHMS {
        let stored = compressed(algorithm, &plain, 300_000).len();
        for (room, fits) in [(0, false), (1000, false), (stored - 1, false), (stored, true)] {
            let mut encoder = Encoder::new(algorithm, Full(room), 300_000).unwrap();
            let result = encoder.write_all(&plain).and_then(|()| encoder.finish());
            assert_eq!(
                result.as_ref().map(|left| left.0).map_err(io::Error::kind),
                match fits {
                    true => Ok(0),
                    false => Err(ErrorKind::StorageFull),
                }
            );
        }
    }
}

#[test]
fn a_dropped_encoder_writes_nothing_more() {
    for algorithm in ALGORITHMS {
        let mut stored = Vec::new();
        let mut encoder = Encoder::new(algorithm, &mut stored, 500_000).unwrap();
        encoder.write_all(&noise(400_000)).unwrap();
        encoder.flush().unwrap();
        let length = encoder.get_ref().len();
        drop(encoder);
        assert_eq!(stored.len(), length);
    }
}

#[test]
fn both_can_be_sent_to_another_thread() {
    fn sent<T: Send>() {}
    sent::<Encoder<Vec<u8>>>();
    sent::<Decoder<&[u8]>>();
}

#[test]
fn cpython_reads_what_is_written_here() {
    let python = |code: &str, input: &[u8]| -> io::Result<Vec<u8>> {
        let mut command = Command::new("python3");
        let mut child = command.args(["-c", code]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut stdin = child.stdin.take().expect("piped");
        let output = std::thread::scope(|scope| {
            scope.spawn(move || stdin.write_all(input));
            child.wait_with_output()
        })?;
        if output.status.success() { Ok(output.stdout) } else { Err(io::Error::other("python3 failed")) }
    };
    if let Err(error) = python("import zlib, bz2", b"") {
        eprintln!("skipped: no python3 with zlib and bz2 ({error})");
        return;
    }
    for length in [0, 1, 2_500_000] {
        let plain = [prose(length), noise(length)].concat();
        for (algorithm, module) in [(Algorithm::Zlib, "zlib"), (Algorithm::Bz2, "bz2")] {
            let code = format!(
                "import sys, {module}; f = sys.stdin.buffer.read(); sys.stdout.buffer.write({module}.decompress(f))"
            );
            assert!(
                python(&code, &compressed(algorithm, &plain, 32 << 10)).unwrap() == plain,
                "{module}, {length} bytes"
            );
            let code = format!(
                "import sys, {module}; f = sys.stdin.buffer.read(); sys.stdout.buffer.write({module}.compress(f))"
            );
            let theirs = python(&code, &plain).unwrap();
            assert!(decompressed(algorithm, &theirs[..], plain.len() as u64, 32 << 10).unwrap() == plain);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_in_any_pieces_come_back(
        runs in prop::collection::vec((any::<u8>(), any::<bool>(), 0usize..20_000), 0..12),
        pieces in prop::collection::vec(1usize..50_000, 1..5),
        read in 1usize..70_000,
    ) {
        let plain: Vec<u8> = runs.iter().flat_map(|&(byte, noisy, length)| match noisy {
            true => noise(length),
            false => vec![byte; length],
        }).collect();
        for algorithm in ALGORITHMS {
            let mut encoder = Encoder::new(algorithm, Vec::new(), plain.len() as u64).unwrap();
            let mut rest = &plain[..];
            for piece in pieces.iter().cycle() {
                let (first, others) = rest.split_at(rest.len().min(*piece));
                encoder.write_all(first).unwrap();
                rest = others;
                if rest.is_empty() {
                    break;
                }
            }
            let stored = encoder.finish().unwrap();
            prop_assert!(decompressed(algorithm, &stored[..], plain.len() as u64, read).unwrap() == plain);
        }
    }

    #[test]
    fn anything_may_be_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..3000), stated in 0u64..5000) {
        let headers: [&[u8]; 4] = [b"", b"\x78\x9c", b"BZh91AY&SY", b"\x28\xb5\x2f\xfd"];
        for (algorithm, header) in ALGORITHMS.into_iter().zip(headers) {
            for stored in [bytes.clone(), [header, &bytes].concat()] {
                if let Err(error) = decompressed(algorithm, &stored[..], stated, 500) {
                    prop_assert!(Damage::of(&error).is_some());
                }
            }
        }
    }
}

/// Compressed out of a ring, in pieces of these lengths, the longest of which the ring is made for.
fn compressed_in_a_ring(plain: &[u8], pieces: &[usize]) -> Vec<u8> {
    // Pieces of several lengths begin anywhere.
    let piece = pieces.iter().copied().max().unwrap() + usize::from(pieces.len() > 1);
    let mut ring = Ring::new(plain.len() as u64, piece, RingEncoder::<Vec<u8>>::bytes_before(piece)).unwrap();
    let mut encoder = RingEncoder::new(Vec::new(), plain.len() as u64).unwrap();
    let mut at = 0;
    for piece in pieces.iter().cycle() {
        let end = plain.len().min(at + piece);
        ring.bytes_mut(at..end).copy_from_slice(&plain[at..end]);
        encoder.write(&ring, end).unwrap();
        assert!(encoder.memory_bytes() <= RingEncoder::<Vec<u8>>::MEMORY_BYTES, "{}", encoder.memory_bytes());
        at = end;
        if at == plain.len() {
            break;
        }
    }
    encoder.finish().unwrap()
}

#[test]
fn what_a_ring_has_becomes_a_frame_as_any_other() {
    // Less than a block, a block, the window, and several times what the ring keeps.
    for length in [1, 1000, 128 << 10, (128 << 10) + 1, 2 << 20, (2 << 20) + 1, 19_999_999] {
        for plain in [noise(length), vec![0; length], prose(length)] {
            for pieces in [&[4 << 20][..], &[1 << 20], &[77_777, 3 << 20, 1, 128 << 10]] {
                let stored = compressed_in_a_ring(&plain, pieces);
                let back = decompressed(Algorithm::Zstd, &stored[..], length as u64, 99_999).unwrap();
                assert!(back == plain, "{length} bytes in pieces of {pieces:?}");
                let usual = compressed(Algorithm::Zstd, &plain, 4 << 20);
                // Magic number and what the header says of itself.
                assert_eq!(stored[..5], usual[..5]);
                assert!(stored.len() <= usual.len() + usual.len() / 50, "{length}: {} {}", stored.len(), usual.len());
            }
        }
    }
}

/// What is repeated from further back than the ring keeps may not be found: its place has other bytes by then.
#[test]
fn what_is_gone_from_a_ring_is_not_referred_to() {
    for period in [6 << 20, (6 << 20) - 1, (6 << 20) + 4096, 2 << 20, (2 << 20) + 1, 4 << 20] {
        let plain: Vec<u8> = noise(period).into_iter().cycle().take(3 * period + 12_345).collect();
        let stored = compressed_in_a_ring(&plain, &[4 << 20]);
        assert!(decompressed(Algorithm::Zstd, &stored[..], plain.len() as u64, 1 << 20).unwrap() == plain, "{period}");
    }
}

/// How far back zstd may look is in the frame's header (RFC 8878, 3.1.1.1.2), and so much has to be in the ring before each block.
#[test]
fn the_ring_keeps_what_the_frame_may_refer_to() {
    for piece in [4 << 20, 3 << 20, (4 << 20) - 4096, 1] {
        let stored = compressed_in_a_ring(&noise(9 << 20), &[4 << 20]);
        let (descriptor, window) = (stored[4], stored[5]);
        assert_eq!(descriptor & 0x20, 0, "no single segment, which would have no window");
        let base = 1_usize << (10 + (window >> 3));
        let window_bytes = base + base / 8 * usize::from(window & 7);
        // Up to a block waits for the rest of its bytes.
        let waiting = if piece % (128 << 10) == 0 { 0 } else { 128 << 10 };
        assert!(RingEncoder::<Vec<u8>>::bytes_before(piece) >= window_bytes + waiting, "{piece}: {window_bytes}");
    }
}

#[test]
fn an_encoder_takes_one_ring_from_its_beginning_to_its_end() {
    let ring = Ring::new(3 << 20, 1 << 20, 0).unwrap();
    let refused = |result: io::Result<()>| assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidInput);
    let mut encoder = RingEncoder::new(Vec::new(), 1 << 20).unwrap();
    encoder.write(&ring, 1000).unwrap();
    refused(encoder.write(&ring, 999));
    refused(encoder.write(&ring, (1 << 20) + 1));
    refused(encoder.write(&Ring::new(3 << 20, 1 << 20, 0).unwrap(), 2000));
    assert_eq!(encoder.finish().unwrap_err().kind(), ErrorKind::InvalidInput);
    let mut encoder = RingEncoder::new(Vec::new(), 5 << 20).unwrap();
    refused(encoder.write(&ring, 5 << 20));
    // A writer's error comes out as it was.
    let mut encoder = RingEncoder::new(&mut [0_u8; 0][..], 100).unwrap();
    assert_eq!(encoder.write(&ring, 100).unwrap_err().kind(), ErrorKind::WriteZero);
}
