//! Panels of lines.

use anyhow::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::canvas::{self, Area, EACH, FAINT, GRID, INK, OURS, letters};
use super::scale::{Scale, short};

/// A named line.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Its name in the legend.
    pub name: String,
    /// Its points, from left to right.
    pub points: Vec<(f64, f64)>,
    /// Its colour: 0 is this project's, others are told apart.
    pub colour: usize,
}

/// Lines on the same axes.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    /// What goes up, with its unit: the panel's title.
    pub title: String,
    /// What goes right, with its unit.
    pub across: String,
    /// Whether the axis to the right is logarithmic.
    pub log_across: bool,
    /// Whether the axis upwards is logarithmic.
    pub log_up: bool,
    /// The lines. The legend has them by their height at the right end.
    pub lines: Vec<Line>,
}

/// Pixels of a panel's width and height, and of its legend's width.
const PANEL: (u32, u32) = (480, 330);
const LEGEND: u32 = 112;

/// An SVG of `panels`, beside each other.
///
/// # Errors
/// It cannot be drawn.
pub fn svg(title: &str, below: &str, panels: &[Panel]) -> Result<String> {
    let count = panels.len().max(1);
    let width = PANEL.0 * if count == 1 { 2 } else { count as u32 };
    canvas::svg((width, 72 + PANEL.1), title, below, |area| {
        for (panel, area) in panels.iter().zip(area.split_evenly((1, count))) {
            draw(&area, panel)?;
        }
        Ok(())
    })
}

fn colour(number: usize) -> RGBColor {
    number.checked_sub(1).map_or(OURS, |peer| EACH[peer % EACH.len()])
}

fn draw(area: &Area<'_>, panel: &Panel) -> Result<()> {
    let points = || panel.lines.iter().flat_map(|line| &line.points);
    let scale = |log: bool, values: Vec<f64>| if log { Scale::log(values) } else { Scale::linear(values) };
    let across = scale(panel.log_across, points().map(|point| point.0).collect());
    let up = scale(panel.log_up, points().map(|point| point.1).collect());

    area.draw(&Text::new(panel.title.clone(), (6, 4), letters(15, INK, HPos::Left, VPos::Top)))?;
    let mut chart = ChartBuilder::on(area)
        .margin_top(30)
        .margin_right(LEGEND)
        .x_label_area_size(44)
        .y_label_area_size(58)
        .build_cartesian_2d(across, up)?;
    chart
        .configure_mesh()
        .axis_style(FAINT)
        .bold_line_style(GRID)
        .light_line_style(GRID)
        .x_desc(panel.across.clone())
        .axis_desc_style(letters(12, FAINT, HPos::Center, VPos::Bottom))
        .x_label_style(letters(11, FAINT, HPos::Center, VPos::Top))
        .y_label_style(letters(11, FAINT, HPos::Right, VPos::Center))
        .x_label_formatter(&|value| short(*value))
        .y_label_formatter(&|value| short(*value))
        .draw()?;
    // The first line comes last, on top.
    for line in panel.lines.iter().rev() {
        let style = colour(line.colour).stroke_width(if line.colour == 0 { 3 } else { 2 });
        chart.draw_series(LineSeries::new(line.points.iter().copied(), style))?;
        chart.draw_series(line.points.iter().map(|point| Circle::new(*point, 3, colour(line.colour).filled())))?;
    }
    legend(area, panel)
}

fn legend(area: &Area<'_>, panel: &Panel) -> Result<()> {
    let mut lines: Vec<&Line> = panel.lines.iter().collect();
    let height = |line: &Line| line.points.last().map_or(0.0, |point| point.1);
    lines.sort_by(|a, b| height(b).total_cmp(&height(a)));
    let left = area.dim_in_pixel().0 as i32 - LEGEND as i32 + 10;
    for (number, line) in lines.into_iter().enumerate() {
        let middle = 38 + 18 * number as i32;
        let stroke = colour(line.colour).stroke_width(3);
        area.draw(&PathElement::new([(left, middle), (left + 14, middle)], stroke))?;
        area.draw(&Text::new(line.name.clone(), (left + 19, middle), letters(12, INK, HPos::Left, VPos::Center)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel(log: bool) -> Panel {
        let line = |name: &str, factor, colour| {
            let points = [1.0, 10.0, 100.0].map(|x| (x, factor * x)).to_vec();
            Line { name: name.into(), points, colour }
        };
        Panel {
            title: "up".into(),
            across: "across".into(),
            log_across: log,
            log_up: log,
            lines: vec![line("ours", 1.0, 0), line("theirs", 10.0, 1)],
        }
    }

    /// The points of the line with that colour and width.
    fn places(svg: &str, colour: RGBColor, width: &str) -> Vec<(f64, f64)> {
        let document = roxmltree::Document::parse(svg).unwrap();
        let colour = format!("#{:02X}{:02X}{:02X}", colour.0, colour.1, colour.2);
        let mut lines = document.descendants().filter(|node| node.has_tag_name("polyline"));
        let has = |node: &roxmltree::Node<'_, '_>| {
            node.attribute("stroke") == Some(&colour) && node.attribute("stroke-width") == Some(width)
        };
        let points = lines.find(has).unwrap().attribute("points").unwrap();
        let pair = |pair: &str| {
            let (x, y) = pair.split_once(',').unwrap();
            (x.parse().unwrap(), y.parse().unwrap())
        };
        points.split_whitespace().map(pair).collect()
    }

    #[test]
    fn on_logarithmic_axes_each_factor_of_ten_is_the_same_step() {
        let svg = svg("t", "b", &[panel(true), panel(true)]).unwrap();
        let (ours, theirs) = (places(&svg, OURS, "3"), places(&svg, EACH[0], "2"));
        let near = |a: f64, b: f64| (a - b).abs() <= 2.0;
        assert!(near(ours[1].0 - ours[0].0, ours[2].0 - ours[1].0) && ours[1].0 > ours[0].0 + 50.0, "{ours:?}");
        assert!(near(ours[0].1 - ours[1].1, ours[1].1 - ours[2].1), "{ours:?}");
        // Ten times as much is one step up.
        assert!(near(theirs[0].1, ours[1].1) && near(theirs[1].1, ours[2].1), "{ours:?} {theirs:?}");
    }

    #[test]
    fn on_linear_axes_ten_times_as_much_is_ten_times_as_far() {
        let svg = svg("t", "b", &[panel(false)]).unwrap();
        let ours = places(&svg, OURS, "3");
        let (near, far) = (ours[1].0 - ours[0].0, ours[2].0 - ours[1].0);
        assert!((far - 10.0 * near).abs() < 20.0, "{ours:?}");
    }

    #[test]
    fn the_legend_and_the_axes_are_in_the_text() {
        let svg = svg("the title", "below it", &[panel(true)]).unwrap();
        let document = roxmltree::Document::parse(&svg).unwrap();
        let texts: Vec<_> = document.descendants().filter(|node| node.has_tag_name("text")).collect();
        let texts: Vec<_> = texts.iter().filter_map(|node| node.text()).map(str::trim).collect();
        for wanted in ["the title", "below it", "up", "across", "ours", "theirs", "100", "1000"] {
            assert!(texts.contains(&wanted), "{wanted} is missing in {texts:?}");
        }
        let place = |name| texts.iter().position(|text| *text == name);
        assert!(place("theirs") < place("ours"), "the highest comes first");
    }
}
