//! Writing a backup's objects: many at once, in Cinder's order and naming.
//!
//! ```text
//! plan (or scan, for an increment) ──► works ──► groups of lanes (workers) ──► ledger ──► _sha256file, _metadata
//! ```
//! A *work* is one data object. Up to eight works are done side by side in one *group*: a piece of each is read, its blocks
//! are hashed, its MD5 goes on in a lane of a SIMD register beside the others', and it is compressed into the object's
//! writer. So memory is bounded by pieces, not by objects, and nothing is read twice but what compressing does not shrink. Results come in any order; the *ledger*
//! puts them into the documents in the order of the volume.

mod group;
mod ledger;
mod own;
mod piece;
mod report;
mod run;
mod scan;
mod sink;
mod zeros;

pub(crate) use self::own::Own;
pub(crate) use self::run::{Facts, Run};
