//! Plots as SVG: [`bars`] and [`lines`], and those of the benchmarks' [`results`].
//!
//! They have a light ground of their own, so that they can be read on any page, name no font but "sans-serif", and
//! are the same bytes for the same numbers.

pub mod bars;
mod canvas;
pub mod lines;
pub mod results;
pub mod scale;
