//! OpenStack Cinder's real backup driver beside ours, on the same containers.

// Every file of tests uses a part of this.
#![allow(dead_code)]

pub mod case;
pub mod golden;
pub mod layer;
pub mod pair;
pub mod process;
pub mod volume;

/// Arguments.
pub fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
