//! Tables of text.

use super::printable;

/// How the cells of a column stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

/// Columns with a heading each; as wide as their widest cell.
pub fn columns<const N: usize>(headings: [(&str, Align); N], rows: &[[String; N]]) -> String {
    let headed = headings.map(|(heading, _)| heading.to_owned());
    let rows: Vec<[String; N]> =
        std::iter::once(&headed).chain(rows).map(|row| row.each_ref().map(|cell| printable(cell))).collect();
    lines(headings.map(|(_, align)| align), &rows)
}

/// Facts, one a line, each behind its name.
pub fn facts(rows: &[(&str, String)]) -> String {
    let rows: Vec<[String; 2]> = rows.iter().map(|(name, value)| [(*name).to_owned(), printable(value)]).collect();
    lines([Align::Left, Align::Left], &rows)
}

fn lines<const N: usize>(aligns: [Align; N], rows: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for ((cell, width), align) in row.iter().zip(widths).zip(aligns) {
            let gap = " ".repeat(width - cell.chars().count());
            match align {
                Align::Left => line.extend([cell, &gap, "  "]),
                Align::Right => line.extend([&gap, cell.as_str(), "  "]),
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["vm-1".to_owned(), "9 B".to_owned()], ["ä\n".to_owned(), "10 B".to_owned()]];
        let table = columns([("VOLUME", Align::Left), ("SIZE", Align::Right)], &rows);
        assert_eq!(table, "VOLUME  SIZE\nvm-1     9 B\nä\\n     10 B\n");
    }

    #[test]
    fn facts_stand_behind_their_names() {
        assert_eq!(facts(&[("id", "1".to_owned()), ("name", String::new())]), "id    1\nname\n");
    }
}
