use super::*;
use proptest::prelude::*;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

const MIB: u64 = 1 << 20;

fn extents(file: &File, size: u64) -> Vec<Extent> {
    DataExtents::new(file.as_fd(), size).map(Result::unwrap).collect()
}

/// An empty file on each file system that tests can count on: the one for temporary files, and memory.
fn empty_files() -> Vec<File> {
    let mut files = vec![tempfile::tempfile().unwrap()];
    files.extend(tempfile::tempfile_in("/dev/shm"));
    files
}

fn sparse_file(mut file: File, size: u64, data: &[Extent]) -> File {
    file.set_len(size).unwrap();
    for extent in data {
        file.write_all_at(&vec![0xA5; extent.length as usize], extent.offset).unwrap();
    }
    file.flush().unwrap();
    file
}

#[test]
fn data_is_found_and_holes_are_left_out() {
    let data = [Extent { offset: 0, length: 10 }, Extent { offset: 8 * MIB, length: MIB }];
    for file in empty_files() {
        let file = sparse_file(file, 64 * MIB, &data);
        let found = extents(&file, 64 * MIB);
        let bytes: u64 = found.iter().map(|extent| extent.length).sum();
        // File systems allocate whole blocks, and tmpfs huge pages where it is told to.
        assert!((MIB + 10..=16 * MIB).contains(&bytes), "{found:?}");
        assert!(found.iter().any(|extent| extent.offset == 0));
        assert!(found.iter().any(|extent| extent.offset <= 8 * MIB && extent.end() >= 9 * MIB));
    }
}

#[test]
fn a_file_that_is_one_hole_has_no_extents_and_a_full_one_has_all_its_bytes() {
    for file in empty_files() {
        let hole = sparse_file(file, 64 * MIB, &[]);
        assert_eq!(extents(&hole, 64 * MIB), []);
        assert_eq!(extents(&hole, 0), []);
        let full = sparse_file(hole, MIB + 5, &[Extent { offset: 0, length: MIB + 5 }]);
        assert_eq!(extents(&full, MIB + 5), [Extent { offset: 0, length: MIB + 5 }]);
    }
}

#[test]
fn a_part_of_a_file_has_the_extents_of_the_whole_that_lie_in_it() {
    for file in empty_files() {
        let data = [Extent { offset: MIB, length: MIB }, Extent { offset: 8 * MIB, length: MIB }];
        let file = sparse_file(file, 16 * MIB, &data);
        let whole = extents(&file, 16 * MIB);
        for (from, end) in [(0, 16), (1, 2), (2, 9), (3, 3), (5, 4), (15, 20)].map(|(a, b)| (a * MIB + 7, b * MIB + 7))
        {
            let part: Vec<_> = DataExtents::within(file.as_fd(), from..end).map(Result::unwrap).collect();
            let cut = whole.iter().map(|extent| (extent.offset.max(from), extent.end().min(end)));
            let expected: Vec<_> = cut.filter(|(from, end)| from < end).collect();
            assert_eq!(part.iter().map(|extent| (extent.offset, extent.end())).collect::<Vec<_>>(), expected);
        }
    }
}

#[test]
fn extents_end_at_the_size_that_was_asked_for_and_at_the_end_of_the_file() {
    for file in empty_files() {
        let file = sparse_file(file, MIB, &[Extent { offset: 0, length: MIB }]);
        assert_eq!(extents(&file, 1000), [Extent { offset: 0, length: 1000 }]);
        assert_eq!(extents(&file, 2 * MIB), [Extent { offset: 0, length: MIB }]);
        let file = sparse_file(file, 16 * MIB, &[Extent { offset: 8 * MIB, length: MIB }]);
        let found = extents(&file, 8 * MIB);
        assert!(found.iter().all(|extent| extent.length > 0 && extent.end() < 8 * MIB), "{found:?}");
    }
}

#[test]
fn what_is_not_a_regular_file_is_all_data() {
    let device = File::open("/dev/zero").unwrap();
    assert_eq!(extents(&device, 12_345), [Extent { offset: 0, length: 12_345 }]);
    assert_eq!(extents(&device, 0), []);
}

#[test]
fn a_file_system_without_holes_gives_one_extent() {
    // Files of procfs are regular, of size 0, and know neither SEEK_DATA nor SEEK_HOLE.
    let file = File::open("/proc/self/status").unwrap();
    let error = seek(&file, SeekFrom::Data(0)).unwrap_err();
    assert!(has_no_holes(error), "procfs answers {error}");
    assert_eq!(extents(&file, 4096), [Extent { offset: 0, length: 4096 }]);
}

#[test]
fn a_descriptor_that_cannot_be_asked_is_an_error_and_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("volume");
    sparse_file(File::create(&path).unwrap(), MIB, &[Extent { offset: 0, length: 10 }]);
    // A descriptor that only names the file: fstat works on it, lseek is refused with EBADF.
    let flags = rustix::fs::OFlags::PATH.bits() as i32;
    let named = {
        use std::os::unix::fs::OpenOptionsExt;
        OpenOptions::new().read(true).custom_flags(flags).open(&path).unwrap()
    };
    let mut extents = DataExtents::new(named.as_fd(), MIB);
    assert!(matches!(extents.next(), Some(Err(Error::Seek { offset: 0, .. }))));
    assert!(extents.next().is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_byte_outside_the_extents_is_zero(
        data in prop::collection::vec((0..400u64, 1..20_000u64), 0..12), size in 0..MIB, in_memory in any::<bool>(),
    ) {
        let data: Vec<_> = data.iter().map(|&(block, length)| Extent { offset: block * 4096, length }).collect();
        let mut files = empty_files();
        let file = if in_memory { files.pop() } else { files.drain(..).next() }.unwrap();
        let file = sparse_file(file, 400 * 4096 + 20_000, &data);
        let mut bytes = vec![0; size as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        let mut position = 0;
        for extent in extents(&file, size) {
            prop_assert!(extent.length > 0 && extent.end() <= size);
            prop_assert!(position == 0 || extent.offset >= position, "{} overlaps", extent);
            prop_assert!(crate::is_zero(&bytes[position as usize..extent.offset as usize]));
            position = extent.end();
        }
        prop_assert!(crate::is_zero(&bytes[position as usize..]));
    }
}
