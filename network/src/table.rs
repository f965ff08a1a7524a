//! Aligned columns for people.

/// Rows under a header, each column as wide as its widest cell.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns; with no names it has no header.
    pub(crate) fn new(header: &[&str]) -> Self {
        let header: Vec<String> = header.iter().map(|cell| (*cell).to_owned()).collect();
        Self { rows: if header.is_empty() { Vec::new() } else { vec![header] } }
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, row: impl IntoIterator<Item = String>) {
        self.rows.push(row.into_iter().collect());
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|cell| shown_width(cell)).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            let padded = |(cell, width): (&String, &usize)| cell.clone() + &" ".repeat(width - shown_width(cell));
            let cells = row.iter().zip(&widths).map(padded);
            let line = cells.collect::<Vec<_>>().join("  ");
            writeln!(formatter, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Characters that take room; a colour (`ESC [ … m`) takes none.
fn shown_width(cell: &str) -> usize {
    let mut characters = cell.chars();
    let mut width = 0;
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            characters.by_ref().find(|it| *it == 'm');
        } else {
            width += 1;
        }
    }
    width
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_do_not_trail() {
        let mut table = Table::new(&["NAME", "STATE"]);
        table.push(["peer0.org1".to_owned(), "up".to_owned()]);
        assert_eq!(table.to_string(), "NAME        STATE\npeer0.org1  up\n");
    }

    #[test]
    fn colours_take_no_room() {
        let mut table = Table::new(&["STATE", "PID"]);
        table.push(["\u{1b}[32mup\u{1b}[0m".to_owned(), "7".to_owned()]);
        assert_eq!(table.to_string(), "STATE  PID\n\u{1b}[32mup\u{1b}[0m     7\n");
    }
}
