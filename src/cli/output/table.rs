//! Results as tables for people.

use comfy_table::Table;

use crate::text::printable;

/// A table in kubectl's style: columns apart by blanks, none at the end of a line.
pub(in crate::cli) fn table(
    headers: &[&str],
    rows: impl Iterator<Item = Vec<String>>,
    no_headers: bool,
) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    if !no_headers {
        table.set_header(headers.to_vec());
    }
    table.add_rows(rows.map(|row| row.iter().map(|cell| printable(cell)).collect::<Vec<_>>()));
    table.column_iter_mut().for_each(|column| {
        column.set_padding((0, 3));
    });
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// A cell of what may not be there.
pub(in crate::cli) fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".into())
}

/// The time since an RFC 3339 timestamp, in its largest unit.
pub(in crate::cli) fn age(since: &str) -> String {
    let Ok(then) = since.parse::<jiff::Timestamp>() else { return "-".into() };
    let seconds = (jiff::Timestamp::now().as_second() - then.as_second()).max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_no_blanks_at_the_end() {
        let rows = [vec!["a".to_owned(), "bb".into()], vec!["ccc".into(), String::new()]];
        assert_eq!(table(&["X", "Y"], rows.clone().into_iter(), false), "X     Y\na     bb\nccc\n");
        assert_eq!(table(&["X", "Y"], rows.into_iter(), true), "a     bb\nccc\n");
    }

    /// UAX #11 and #29: what a terminal gives two columns, or none.
    #[test]
    fn columns_are_as_wide_as_they_are_shown() {
        let rows = [["名前", "x"], ["e\u{301}a", "x"], ["🖥️", "x"], ["ab", "x"]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec()).into_iter();
        assert_eq!(table(&["A", "B"], rows, true), "名前   x\ne\u{301}a     x\n🖥️     x\nab     x\n");
    }
}
