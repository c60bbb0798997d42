//! Panels of horizontal bars, all on one logarithmic scale.

use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::canvas::{self, Area, FAINT, GRID, INK, letters};
use super::scale::{Scale, short};

/// Whose bar it is, which decides its colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The limit's.
    Limit,
    /// cinderblock's.
    Ours,
    /// A peer's.
    Peer,
}

/// A bar; without a value, a name with a dash.
#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    /// What stands at its left.
    pub name: String,
    /// Its length, which is written at its right.
    pub value: Option<f64>,
    /// Whose it is.
    pub whose: Whose,
}

/// Bars under a title.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// The title.
    pub title: String,
    /// From top to bottom.
    pub bars: Vec<Bar>,
}

/// Pixels of a plot's width, a bar with the space around it, and a panel without its bars.
const WIDTH: u32 = 960;
const BAR: u32 = 16;
const PANEL: u32 = 58;
/// Pixels for the names at the left and for the values at the right of the longest bar.
const NAMES: u32 = 96;
const VALUES: u32 = 52;

/// An SVG of `panels`, two beside each other, in whatever `unit` the values are.
///
/// # Errors
/// It cannot be drawn.
pub fn svg(title: &str, below: &str, unit: &str, panels: &[Panel]) -> Result<String> {
    let bars = panels.iter().flat_map(|panel| &panel.bars);
    let scale = Scale::log(bars.filter_map(|bar| bar.value));
    let heights: Vec<u32> = panels.chunks(2).map(|pair| pair.iter().map(height).max().unwrap_or_default()).collect();
    canvas::svg((WIDTH, 72 + heights.iter().sum::<u32>()), title, below, |area| {
        let mut rest = area.clone();
        for (pair, height) in panels.chunks(2).zip(heights) {
            let (row, below) = rest.split_vertically(height);
            let (left, right) = row.split_horizontally(WIDTH as i32 / 2 - 12);
            for (panel, area) in pair.iter().zip([left, right]) {
                draw(&area, panel, unit, &scale)?;
            }
            rest = below;
        }
        Ok(())
    })
}

fn height(panel: &Panel) -> u32 {
    PANEL + BAR * panel.bars.len() as u32
}

fn draw(area: &Area<'_>, panel: &Panel, unit: &str, scale: &Scale) -> Result<()> {
    let (area, _) = area.split_vertically(height(panel));
    area.draw(&Text::new(panel.title.clone(), (6, 4), letters(15, INK, HPos::Left, VPos::Top)))?;
    let (first, _) = scale.ends();
    let count = panel.bars.len() as f64;
    let mut chart = ChartBuilder::on(&area)
        .margin_top(24)
        .margin_right(VALUES)
        .x_label_area_size(22)
        .y_label_area_size(NAMES)
        .build_cartesian_2d(scale.clone(), count..0.0)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .axis_style(GRID)
        .bold_line_style(GRID)
        .light_line_style(GRID)
        .label_style(letters(11, FAINT, HPos::Center, VPos::Top))
        .x_label_formatter(&|value| format!("{} {unit}", short(*value)))
        .y_labels(0)
        .draw()?;
    for (number, bar) in panel.bars.iter().enumerate() {
        let top = number as f64;
        let colour = match bar.whose {
            Whose::Limit => canvas::LIMIT,
            Whose::Ours => canvas::OURS,
            Whose::Peer => canvas::OTHERS,
        };
        let name = letters(12, INK, HPos::Right, VPos::Center);
        let at =
            |value, dx, text: String, style| EmptyElement::at((value, top + 0.5)) + Text::new(text, (dx, 0), style);
        let value = letters(12, INK, HPos::Left, VPos::Center);
        if let Some(length) = bar.value {
            chart
                .plotting_area()
                .draw(&Rectangle::new([(first, top + 0.15), (length, top + 0.85)], colour.filled()))?;
            chart.plotting_area().draw(&at(length, 5, short(length), value))?;
        } else {
            chart.plotting_area().draw(&at(first, 5, "–".into(), value))?;
        }
        chart.plotting_area().draw(&at(first, -6, bar.name.clone(), name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panels() -> Vec<Panel> {
        let bar = |name: &str, value, whose| Bar { name: name.into(), value, whose };
        let bars = vec![
            bar("limit", Some(0.1), Whose::Limit),
            bar("ours & <all>", Some(1.0), Whose::Ours),
            bar("peer", Some(10.0), Whose::Peer),
            bar("lazy", None, Whose::Peer),
        ];
        ["first", "verify", "third"].map(|title| Panel { title: title.into(), bars: bars.clone() }).to_vec()
    }

    /// The widths of the filled rectangles of that colour.
    fn widths(document: &roxmltree::Document<'_>, colour: RGBColor) -> Vec<f64> {
        let colour = format!("#{:02X}{:02X}{:02X}", colour.0, colour.1, colour.2);
        let rectangles = document.descendants().filter(|node| node.has_tag_name("rect"));
        let filled = rectangles.filter(|node| node.attribute("fill") == Some(&colour));
        filled.map(|node| node.attribute("width").unwrap().parse().unwrap()).collect()
    }

    #[test]
    fn bars_are_as_long_as_the_logarithms_of_their_values() {
        let svg = svg("Time", "medians", "s", &panels()).unwrap();
        let document = roxmltree::Document::parse(&svg).unwrap();
        let [limit, ours, peer] = [canvas::LIMIT, canvas::OURS, canvas::OTHERS].map(|colour| widths(&document, colour));
        assert_eq!([limit.len(), ours.len(), peer.len()], [3, 3, 3]);
        // The axis goes from 0.1 to 10: nothing, half of it, and all of it.
        assert!(limit[0] <= 1.0, "{limit:?}");
        assert!(ours[0] > 100.0 && (peer[0] - 2.0 * ours[0]).abs() <= 2.0, "{ours:?} {peer:?}");
    }

    #[test]
    fn names_titles_and_values_are_in_the_text_escaped() {
        let svg = svg("Time of all", "medians", "s", &panels()).unwrap();
        let document = roxmltree::Document::parse(&svg).unwrap();
        let texts: Vec<_> = document.descendants().filter(|node| node.has_tag_name("text")).collect();
        let texts: Vec<_> = texts.iter().filter_map(|node| node.text()).map(str::trim).collect();
        for wanted in ["Time of all", "medians", "first", "verify", "third", "ours & <all>", "lazy", "–", "0.1", "10 s"]
        {
            assert!(texts.contains(&wanted), "{wanted} is missing in {texts:?}");
        }
    }

    #[test]
    fn the_same_numbers_give_the_same_bytes() {
        assert_eq!(svg("t", "b", "s", &panels()).unwrap(), svg("t", "b", "s", &panels()).unwrap());
    }
}
