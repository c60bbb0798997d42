//! Choosing small packs that are worth being one.

use crate::id::PackId;
use crate::pack::PACK_TARGET_BYTES;

/// Bytes below which a pack is small: an eighth of what a backup fills one with.
pub(super) const SMALL_BYTES: u64 = PACK_TARGET_BYTES as u64 / 8;

/// So many small packs are worth being copied together: fewer cost nobody much.
#[cfg(not(test))]
const GATHER_FROM: usize = 32;

/// A simulation has few packs, and is to see them gathered.
#[cfg(test)]
const GATHER_FROM: usize = 4;

/// Bytes that are copied together at most in one collection, since all of it is there twice until the old packs are deleted: 1 GiB.
const GATHER_BYTES: u64 = 1 << 30;

/// Of small packs of one kind, with their bytes: those to copy together. Each backup leaves a pack or two, however little is new in it, and each
/// is a request or two to every host that meets it first, to every collector, and to every verify.
///
/// The largest of them has at most as much as the others together, so that what is copied is, as a rule, in a pack of at least twice the size afterwards: a
/// byte is copied some ten times, from 4 KiB to 4 MiB, however often this is done.
pub(super) fn worth_gathering(mut small: Vec<(PackId, u64)>) -> Vec<PackId> {
    small.sort_unstable_by_key(|(id, bytes)| (*bytes, *id));
    let (mut all, mut count) = (0_u64, 0);
    for (number, (_, bytes)) in (1..).zip(&small) {
        if all.saturating_add(*bytes) > GATHER_BYTES {
            break;
        }
        if *bytes <= all {
            count = number;
        }
        all += *bytes;
    }
    if count < GATHER_FROM {
        return Vec::new();
    }
    small.into_iter().take(count).map(|(id, _)| id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gathered(sizes: &[u64]) -> Vec<u64> {
        let packs: Vec<_> =
            (0..).zip(sizes).map(|(number, bytes)| (PackId::from_bytes([number; 16]), *bytes)).collect();
        let chosen = worth_gathering(packs.clone());
        let mut sizes: Vec<_> =
            chosen.iter().filter_map(|id| Some(packs.iter().find(|(pack, _)| pack == id)?.1)).collect();
        sizes.sort_unstable();
        sizes
    }

    #[test]
    fn few_packs_stay_as_they_are() {
        assert!(gathered(&[]).is_empty());
        assert!(gathered(&[5, 5, 5]).is_empty());
        assert_eq!(gathered(&[5, 5, 5, 5]), [5, 5, 5, 5]);
    }

    #[test]
    fn a_pack_waits_until_there_is_as_much_as_it_has() {
        assert!(gathered(&[1, 1, 1, 100]).is_empty());
        assert_eq!(gathered(&[100, 1, 1, 1, 1]), [1, 1, 1, 1]);
        assert_eq!(gathered(&[1, 40, 100, 50, 60]), [1, 40, 50, 60, 100]);
        // No pair of the small ones is alike, but there is enough of them for the large one.
        assert_eq!(gathered(&[1, 3, 9, 20, 25, 30]), [1, 3, 9, 20, 25, 30]);
    }

    #[test]
    fn no_more_is_copied_at_once_than_there_is_room_for() {
        let chosen = gathered(&[150 << 20; 9]);
        assert_eq!(chosen.len(), 6, "{chosen:?}");
    }

    #[test]
    fn a_byte_is_copied_a_few_times_whatever_comes() {
        // One small pack a day for ten years, gathered each day.
        let (mut packs, mut copied, mut next) = (Vec::new(), 0_u64, 0_u128);
        for _ in 0..3650 {
            next += 1;
            packs.push((PackId::from_bytes(next.to_le_bytes()), 10 << 10));
            let candidates: Vec<_> = packs.iter().copied().filter(|(_, bytes)| *bytes < SMALL_BYTES).collect();
            let chosen = worth_gathering(candidates);
            let size = |id: &PackId| packs.iter().find(|(pack, _)| pack == id).map_or(0, |(_, bytes)| *bytes);
            let bytes: u64 = chosen.iter().map(size).sum();
            if bytes > 0 {
                packs.retain(|(id, _)| !chosen.contains(id));
                next += 1;
                packs.push((PackId::from_bytes(next.to_le_bytes()), bytes));
                copied += bytes;
            }
        }
        assert!(packs.len() < 40, "{}", packs.len());
        assert!(copied < 10 * 3650 * (10 << 10), "{}", copied / (10 << 10));
    }
}
