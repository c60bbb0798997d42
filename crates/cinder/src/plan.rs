//! [`RestorePlan`]: which object of which layer each byte of a volume comes from.

use std::ops::Range;

use crate::layer::{Layer, LayerObject};

/// What to read of one object: it is the newest that has these parts of the volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// Its layer's place in the chain; 0 is the oldest.
    pub layer: usize,
    /// Its place among the layer's objects.
    pub object: usize,
    /// Parts of the volume, in bytes: in order, never empty, within the object.
    pub ranges: Vec<Range<u64>>,
}

/// How to restore a chain so that each byte of the volume is written once, from the newest layer that has it. Objects that newer
/// layers hide altogether are not read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestorePlan {
    /// The reads, layer by layer from the oldest, in the order of the volume.
    pub reads: Vec<Read>,
    /// The first byte behind all objects of all layers: that much of the volume is written.
    pub volume_bytes: u64,
}

impl RestorePlan {
    /// Plans the restore of `layers`, oldest first.
    pub fn new(layers: &[Layer]) -> Self {
        let objects: Vec<&[LayerObject]> = layers.iter().map(|layer| layer.objects.as_slice()).collect();
        Self::of_objects(&objects)
    }

    fn of_objects(layers: &[&[LayerObject]]) -> Self {
        // What newer layers have: in order, apart from each other.
        let mut covered: Vec<Range<u64>> = Vec::new();
        let mut reads: Vec<Read> = Vec::new();
        for (layer, objects) in layers.iter().enumerate().rev() {
            let mut first = 0;
            for (object, extent) in objects.iter().enumerate() {
                while covered.get(first).is_some_and(|range| range.end <= extent.offset) {
                    first += 1;
                }
                let ranges = visible(extent.offset..extent.end(), covered.get(first..).unwrap_or_default());
                if !ranges.is_empty() {
                    reads.push(Read { layer, object, ranges });
                }
            }
            covered = union(&covered, objects);
        }
        reads.sort_by_key(|read| (read.layer, read.object));
        Self { reads, volume_bytes: covered.last().map_or(0, |range| range.end) }
    }
}

/// The parts of an extent that are in none of the ranges, which are in order and end behind its start.
fn visible(extent: Range<u64>, covered: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut parts = Vec::new();
    let mut at = extent.start;
    for range in covered {
        if range.start >= extent.end {
            break;
        }
        if range.start > at {
            parts.push(at..range.start);
        }
        at = at.max(range.end);
    }
    if at < extent.end {
        parts.push(at..extent.end);
    }
    parts
}

fn union(covered: &[Range<u64>], objects: &[LayerObject]) -> Vec<Range<u64>> {
    let mut joined: Vec<Range<u64>> = Vec::with_capacity(covered.len());
    let mut old = covered.iter().cloned().peekable();
    let mut new = objects.iter().map(|object| object.offset..object.end()).peekable();
    loop {
        let next = match (old.peek(), new.peek()) {
            (Some(a), Some(b)) if a.start <= b.start => old.next(),
            (_, Some(_)) => new.next(),
            (_, None) => old.next(),
        };
        let Some(next) = next else { return joined };
        match joined.last_mut() {
            Some(last) if last.end >= next.start => last.end = last.end.max(next.end),
            _ => joined.push(next),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::compression::Algorithm;

    fn layer(extents: &[(u64, u64)]) -> Vec<LayerObject> {
        let objects = (1..).zip(extents);
        objects
            .map(|(number, (offset, length))| LayerObject {
                number,
                offset: *offset,
                length: *length,
                md5: [0; 16],
                algorithm: Algorithm::None,
            })
            .collect()
    }

    fn plan(layers: &[Vec<LayerObject>]) -> RestorePlan {
        let layers: Vec<&[LayerObject]> = layers.iter().map(Vec::as_slice).collect();
        RestorePlan::of_objects(&layers)
    }

    #[test]
    fn what_a_newer_layer_has_is_not_read_from_an_older_one() {
        let layers = [layer(&[(0, 10), (10, 10), (20, 5)]), layer(&[(2, 3), (10, 10)])];
        let plan = plan(&layers);
        let read = |layer, object, ranges: &[(u64, u64)]| {
            let ranges = ranges.iter().map(|(start, end)| *start..*end).collect();
            Read { layer, object, ranges }
        };
        let expected =
            [read(0, 0, &[(0, 2), (5, 10)]), read(0, 2, &[(20, 25)]), read(1, 0, &[(2, 5)]), read(1, 1, &[(10, 20)])];
        assert_eq!(plan.reads, expected);
        assert_eq!(plan.volume_bytes, 25);
    }

    #[test]
    fn nothing_makes_an_empty_plan() {
        assert_eq!(plan(&[]), RestorePlan::default());
        assert_eq!(plan(&[layer(&[])]), RestorePlan::default());
    }

    /// Objects from gaps and lengths, so that they ascend and don't overlap.
    fn extents() -> impl Strategy<Value = Vec<(u64, u64)>> {
        proptest::collection::vec((0_u64..5, 1_u64..8), 0..12).prop_map(|steps| {
            let mut at = 0;
            let place = |(gap, length): (u64, u64)| {
                let extent = (at + gap, length);
                at += gap + length;
                extent
            };
            steps.into_iter().map(place).collect()
        })
    }

    proptest! {
        #[test]
        fn each_byte_comes_once_from_the_newest_layer_that_has_it(chain in proptest::collection::vec(extents(), 0..5)) {
            let layers: Vec<Vec<LayerObject>> = chain.iter().map(|extents| layer(extents)).collect();
            let mut expected = std::collections::BTreeMap::new();
            for (number, objects) in layers.iter().enumerate() {
                for (place, object) in objects.iter().enumerate() {
                    expected.extend((object.offset..object.end()).map(|byte| (byte, (number, place))));
                }
            }
            let plan = plan(&layers);
            prop_assert_eq!(plan.volume_bytes, expected.keys().last().map_or(0, |last| last + 1));
            let mut found = std::collections::BTreeMap::new();
            for read in plan.reads {
                prop_assert!(!read.ranges.is_empty());
                for byte in read.ranges.into_iter().flatten() {
                    prop_assert_eq!(found.insert(byte, (read.layer, read.object)), None);
                }
            }
            prop_assert_eq!(found, expected);
        }
    }
}
