//! Results as tables for people.

use comfy_table::Table;

use crate::text::printable;

/// A table in kubectl's style: columns apart by blanks, none at the end of a line.
pub(in crate::cli) fn table(
    headers: &[&str],
    rows: impl Iterator<Item = Vec<String>>,
    no_headers: bool,
) -> String {
    fitting_table(headers, rows, no_headers, None)
}

/// As [`table`], with cells of several lines where it would be wider than so many columns: broken between words.
pub(in crate::cli) fn fitting_table(
    headers: &[&str],
    rows: impl Iterator<Item = Vec<String>>,
    no_headers: bool,
    columns: Option<u16>,
) -> String {
    let mut table = Table::new();
    if let Some(columns) = columns {
        table.set_content_arrangement(comfy_table::ContentArrangement::Dynamic).set_width(columns);
    }
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

    #[test]
    fn a_table_that_is_too_wide_is_broken_between_words() {
        let sentence = "libvirt then looks at QEMU anew at every call, which takes seconds";
        let rows = vec![vec!["kvm".to_owned(), "problem".into(), sentence.into()]];
        let shown = fitting_table(&["CHECK", "STATE", "FOUND"], rows.clone().into_iter(), false, Some(50));
        assert!(shown.lines().count() > 2 && shown.lines().all(|line| line.chars().count() <= 50), "{shown}");
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        for word in words(sentence) {
            assert!(words(&shown).contains(&word), "{word} is broken in {shown}");
        }
        assert_eq!(fitting_table(&["X"], rows.into_iter(), true, None).lines().count(), 1);
    }

    /// UAX #11 and #29: what a terminal gives two columns, or none.
    #[test]
    fn columns_are_as_wide_as_they_are_shown() {
        let rows = [["名前", "x"], ["e\u{301}a", "x"], ["🖥️", "x"], ["ab", "x"]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec()).into_iter();
        assert_eq!(table(&["A", "B"], rows, true), "名前   x\ne\u{301}a     x\n🖥️     x\nab     x\n");
    }
}
