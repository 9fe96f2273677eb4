//! Tables for people.

use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width};

use foundry_core::text::escape_unseen;

/// A table in kubectl's style: columns separated by spaces, no trailing spaces. If it is wider than `columns` (the
/// width of a terminal), cells wrap between words, and inside the longest words if necessary. If every cell would have
/// to wrap, the table stays unwrapped: the terminal does no worse.
pub(crate) fn render_table(
    headers: &[&str],
    rows: impl Iterator<Item = Vec<String>>,
    no_headers: bool,
    columns: Option<u16>,
) -> String {
    let rows: Vec<Vec<String>> =
        rows.map(|row| row.iter().map(|cell| escape_unseen(cell)).collect()).collect();
    // The last column needs no gap after it.
    let columns = columns.map(|columns| columns.saturating_add(GAP));
    let least = columns.and_then(|columns| least_widths(headers, &rows, columns));
    let mut table = new_table(columns.filter(|_| least.is_some()));
    if !no_headers {
        table.set_header(headers.to_vec());
    }
    table.add_rows(rows);
    table.column_iter_mut().for_each(|column| {
        column.set_padding((0, GAP));
    });
    for (column, least) in table.column_iter_mut().zip(least.unwrap_or_default()) {
        column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(least + GAP)));
    }
    table_lines(&table)
}

/// The spaces between two columns.
const GAP: u16 = 3;
/// The smallest width of a column that wraps inside words, so that short words, such as sizes and most names, stay
/// whole.
const NARROWEST: u16 = 12;

/// The minimum width of each column, so that all fit: its longest word, and for the first column, which names the row,
/// its longest cell. If that is too wide, the widest columns shrink; `None` if that is not enough.
fn least_widths(headers: &[&str], rows: &[Vec<String>], columns: u16) -> Option<Vec<u16>> {
    let header = |index: usize| headers.get(index).copied().unwrap_or_default();
    let cells = |index: usize| rows.iter().filter_map(move |row| row.get(index)).map(String::as_str);
    let mut least: Vec<u16> = (0..headers.len())
        .map(|index| {
            let texts = std::iter::once(header(index)).chain(cells(index));
            let parts =
                texts.flat_map(|text| if index == 0 { vec![text] } else { text.split(' ').collect() });
            parts.map(text_width).max().unwrap_or_default()
        })
        .collect();
    let room = columns.saturating_sub(GAP.saturating_mul(u16::try_from(least.len()).unwrap_or(u16::MAX)));
    // Shrink the widest column by one until all fit: that keeps the widths as equal as possible.
    while least.iter().copied().fold(0, u16::saturating_add) > room {
        let (first, others) = least.split_first_mut()?;
        let can_give = |column: &&mut u16| **column > NARROWEST;
        // The name column shrinks last.
        let widest = others.iter_mut().max().filter(can_give).or(Some(first).filter(can_give))?;
        *widest -= 1;
    }
    Some(least)
}

/// The width in columns, at most: other than ASCII counts double.
fn text_width(text: &str) -> u16 {
    let columns = text.chars().map(|c| if c.is_ascii() { 1 } else { 2 }).sum::<usize>();
    u16::try_from(columns).unwrap_or(u16::MAX)
}

/// The properties of one object, one line each: a label of fixed width and a value.
pub(crate) fn render_details(label: u16, rows: &[(String, String)], columns: Option<u16>) -> String {
    let mut table = new_table(columns);
    let labelled = |label: &str| if label.is_empty() { String::new() } else { format!("{label}:") };
    table.add_rows(rows.iter().map(|(label, value)| vec![labelled(label), escape_unseen(value)]));
    table.column_iter_mut().for_each(|column| {
        column.set_padding((0, 0));
    });
    if let Some(first) = table.column_mut(0) {
        first.set_constraint(ColumnConstraint::Absolute(Width::Fixed(label)));
    }
    table_lines(&table)
}

fn new_table(columns: Option<u16>) -> Table {
    let mut table = Table::new();
    if let Some(columns) = columns {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(columns);
    }
    table.load_style(comfy_table::presets::NOTHING);
    table
}

fn table_lines(table: &Table) -> String {
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// A cell for an optional value.
pub(crate) fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".into())
}

/// The time since an RFC 3339 timestamp, in its largest unit.
pub(crate) fn format_age(since: &str) -> String {
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
    fn tables_have_no_trailing_spaces() {
        let rows = [vec!["a".to_owned(), "bb".into()], vec!["ccc".into(), String::new()]];
        assert_eq!(
            render_table(&["X", "Y"], rows.clone().into_iter(), false, None),
            "X     Y\na     bb\nccc\n"
        );
        assert_eq!(render_table(&["X", "Y"], rows.into_iter(), true, None), "a     bb\nccc\n");
    }

    #[test]
    fn wide_tables_wrap_between_words() {
        let sentence = "libvirt then looks at QEMU anew at every call, which takes seconds";
        let rows = vec![vec!["kvm".to_owned(), "problem".into(), sentence.into()]];
        let shown = render_table(&["CHECK", "STATE", "FOUND"], rows.clone().into_iter(), false, Some(50));
        assert!(shown.lines().count() > 2 && shown.lines().all(|line| line.chars().count() <= 50), "{shown}");
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        for word in words(sentence) {
            assert!(words(&shown).contains(&word), "{word} is broken in {shown}");
        }
        assert_eq!(render_table(&["X"], rows.into_iter(), true, None).lines().count(), 1);
    }

    /// Short words, such as sizes and addresses, stay whole.
    #[test]
    fn only_the_longest_words_are_broken() {
        let (name, path) = ("a-name-of-twenty-one", "/var/lib/libvirt/images/of/many/more/columns");
        let cells = [name, "running", "192.168.122.3", "2", "two words", path];
        let rows = vec![cells.map(str::to_owned).to_vec()];
        let headers = ["NAME", "STATE", "IP ADDRESS", "VCPUS", "WHAT", "PATH"];
        for columns in [80, 90, 100, 120] {
            let shown = render_table(&headers, rows.clone().into_iter(), false, Some(columns));
            assert!(shown.lines().all(|line| line.chars().count() <= usize::from(columns)), "{shown}");
            for whole in [name, "running", "192.168.122.3", "2", "words"] {
                assert!(shown.split_whitespace().any(|word| word == whole), "{whole}: {shown}");
            }
        }
        // Every cell would have to wrap.
        assert_eq!(render_table(&headers, rows.into_iter(), true, Some(50)).lines().count(), 1);
    }

    #[test]
    fn details_wrap_beside_their_label() {
        let rows = [("Name", "web"), ("Ready", "False (VM is off: it shut down)"), ("", "more")];
        let rows = rows.map(|(label, value)| (label.to_owned(), value.to_owned()));
        let whole = "Name:   web\nReady:  False (VM is off: it shut down)\n        more\n";
        assert_eq!(render_details(8, &rows, None), whole);
        assert_eq!(render_details(8, &rows, Some(80)), whole);
        let fit = "Name:   web\nReady:  False (VM is\n        off: it shut\n        down)\n        more\n";
        assert_eq!(render_details(8, &rows, Some(22)), fit);
    }

    /// UAX #11 and #29: characters that take two columns, or none.
    #[test]
    fn columns_have_display_width() {
        let rows = [["名前", "x"], ["e\u{301}a", "x"], ["🖥️", "x"], ["ab", "x"]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec()).into_iter();
        assert_eq!(
            render_table(&["A", "B"], rows, true, None),
            "名前   x\ne\u{301}a     x\n🖥️     x\nab     x\n"
        );
    }
}
