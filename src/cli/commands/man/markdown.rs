//! Markdown as roff(7): headings, paragraphs, lists, tables, code blocks, and `code`, **bold** and *italic* text.
//!
//! This is the part of Markdown that the guide uses. A table becomes a list, one entry for each row, because few
//! terminals are wide enough for its columns.

use roff::{Inline, Roff, bold, italic, roman};

use super::add_verbatim;

/// Appends a document without its title.
pub(super) fn add_markdown(page: &mut Roff, text: &str) {
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        if line.starts_with("```") {
            let code: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            add_code_block(page, &code.join("\n"));
        } else if line.starts_with('|') {
            let mut rows = vec![line];
            while let Some(row) = lines.next_if(|line| line.starts_with('|')) {
                rows.push(row);
            }
            add_table(page, &rows);
        } else if let Some(heading) = line.strip_prefix("## ") {
            page.control("SH", [heading.to_uppercase().as_str()]);
        } else if !line.is_empty() && !line.starts_with("# ") {
            let mut whole = line.to_owned();
            while let Some(more) = lines.next_if(|line| continues_paragraph(line)) {
                whole.push(' ');
                whole.push_str(more.trim_start());
            }
            add_paragraph(page, &whole);
        }
    }
}

/// Whether a line continues the paragraph above it.
fn continues_paragraph(line: &str) -> bool {
    !line.is_empty() && !["```", "|", "#", "* "].iter().any(|start| line.starts_with(start))
}

fn add_paragraph(page: &mut Roff, text: &str) {
    match text.strip_prefix("* ") {
        Some(item) => {
            page.control("IP", ["\\(bu", "2"]);
            page.text(parse_inlines(item));
        }
        None => {
            page.control("PP", []);
            page.text(parse_inlines(text));
        }
    }
}

fn add_code_block(page: &mut Roff, code: &str) {
    page.control("PP", []);
    page.control("RS", ["4"]);
    add_verbatim(page, code);
    page.control("RE", []);
}

/// The first cell of a row is the term; each other one follows with the heading of its column.
fn add_table(page: &mut Roff, rows: &[&str]) {
    let Some((heading, rows)) = rows.split_first() else { return };
    let headings = split_cells(heading);
    // Skip the line between the heading and the rows.
    for row in rows.iter().skip(1) {
        page.control("TP", []);
        for (number, (cell, heading)) in split_cells(row).iter().zip(&headings).enumerate() {
            let text = match number {
                0 => (*cell).to_owned(),
                1 if headings.len() == 2 => format!("{cell}."),
                _ => format!("{heading}: {cell}."),
            };
            page.text(parse_inlines(&text));
        }
    }
}

fn split_cells(row: &str) -> Vec<&str> {
    row.trim_matches('|').split(" | ").map(str::trim).collect()
}

/// How text between two marks is set.
type Setting = fn(String) -> Inline;

/// Marks that enclose a text, and how the text looks. The longer mark comes before its half.
const MARKS: [(&str, Setting); 3] = [("`", bold), ("**", bold), ("*", italic)];

fn parse_inlines(text: &str) -> Vec<Inline> {
    let mut found = Vec::new();
    let (mut plain, mut rest) = (String::new(), text);
    while let Some(next) = rest.chars().next() {
        let marked = MARKS.iter().find_map(|(mark, look)| {
            let (inner, after) = rest.strip_prefix(mark)?.split_once(mark)?;
            (!inner.is_empty()).then_some((look(inner.to_owned()), after))
        });
        match marked {
            Some((inline, after)) => {
                found.push(roman(std::mem::take(&mut plain)));
                found.push(inline);
                rest = after;
            }
            None => {
                plain.push(next);
                rest = &rest[next.len_utf8()..];
            }
        }
    }
    found.push(roman(plain));
    found
}
