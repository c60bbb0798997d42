//! Colours and letters that all plots share.

use anyhow::Result;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// The ground.
pub const GROUND: RGBColor = RGBColor(0xfc, 0xfc, 0xfa);
/// Letters.
pub const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
/// Letters and lines in the background.
pub const FAINT: RGBColor = RGBColor(0x66, 0x66, 0x66);
/// The lines of a grid.
pub const GRID: RGBColor = RGBColor(0xe0, 0xe0, 0xdc);
/// This project.
pub const OURS: RGBColor = RGBColor(0xd5, 0x5e, 0x00);
/// The limit.
pub const LIMIT: RGBColor = RGBColor(0x55, 0x55, 0x55);
/// All others, where they need no colours of their own.
pub const OTHERS: RGBColor = RGBColor(0x8c, 0xa6, 0xc0);
/// The others, where they do.
pub const EACH: [RGBColor; 10] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0xb8, 0x96, 0x00),
    RGBColor(0x66, 0x50, 0xa4),
    RGBColor(0x8c, 0x56, 0x4b),
    RGBColor(0x2f, 0x4f, 0x4f),
    RGBColor(0x9a, 0xa8, 0x1c),
    RGBColor(0xb0, 0x30, 0x60),
];

/// An area of an SVG.
pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// A style of letters, `size` pixels high.
pub fn letters<'a>(size: u32, colour: RGBColor, across: HPos, down: VPos) -> TextStyle<'a> {
    ("sans-serif", size).into_font().color(&colour).pos(Pos::new(across, down))
}

/// Draws an SVG of `size` pixels with a title and a line below it; `draw` gets the rest.
pub fn svg(size: (u32, u32), title: &str, below: &str, draw: impl FnOnce(&Area<'_>) -> Result<()>) -> Result<String> {
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, size).into_drawing_area();
        root.fill(&GROUND)?;
        root.draw(&Text::new(title, (16, 12), letters(20, INK, HPos::Left, VPos::Top)))?;
        root.draw(&Text::new(below, (16, 38), letters(13, FAINT, HPos::Left, VPos::Top)))?;
        draw(&root.margin(64, 8, 12, 12))?;
        root.present()?;
    }
    Ok(text)
}
