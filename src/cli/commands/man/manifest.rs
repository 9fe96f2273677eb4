//! foundry(5): the manifest, made from its schema.

use roff::{Inline, Roff, bold, italic, roman};

use super::{ManPage, add_verbatim};
use crate::words::hints::MANIFEST_COMMANDS;
use foundry_core::manifest::{API_VERSION, KIND};
use foundry_core::schema::{self, Field};

const EXAMPLE: &str = include_str!("../../../../examples/simple-vm.yaml");

pub(super) fn manifest_page() -> ManPage {
    let schema = schema::document_schema();
    let mut page = Roff::new();
    page.control("SH", ["NAME"]);
    page.text([roman("foundry - manifest of a virtual machine")]);
    page.control("SH", ["DESCRIPTION"]);
    page.text([roman(format!(
        "A manifest is a YAML document of kind {KIND}, version {API_VERSION}. foundry(1) creates a VM from it. A file can \
         contain several documents, separated by ---."
    ))]);
    add_paragraph(
        &mut page,
        &format!(
            "An unknown field is an error. A field whose value is null is treated as omitted. {MANIFEST_COMMANDS}"
        ),
    );
    for field in Field::document_root(&schema).child_fields() {
        page.control("SH", [field.name().to_uppercase().as_str()]);
        describe_field(&mut page, &field);
        add_fields(&mut page, &field);
    }
    page.control("SH", ["EXAMPLES"]);
    // Without the comment above the document.
    let manifest = EXAMPLE.split_once("apiVersion").map_or(EXAMPLE, |(head, _)| &EXAMPLE[head.len()..]);
    add_verbatim(&mut page, manifest.trim_end());
    page.control("SH", ["SEE ALSO"]);
    page.text([bold("foundry"), roman("(1), "), bold("foundry-guide"), roman("(7)")]);
    ManPage { name: "foundry".into(), section: 5, body: page.render() }
}

/// All fields below one, each with its whole path.
fn add_fields(page: &mut Roff, parent: &Field<'_>) {
    for field in parent.child_fields() {
        page.control("TP", []);
        page.text([bold(field.path.as_str()), roman(" "), italic(field_kind(&field))]);
        page.text(field_texts(&field));
        add_fields(page, &field);
    }
}

fn describe_field(page: &mut Roff, field: &Field<'_>) {
    page.text([bold(field.path.as_str()), roman(" "), italic(field_kind(field))]);
    page.control("PP", []);
    page.text(field_texts(field));
}

/// The type, and whether the field is required. A status is never required: foundry ignores it on input.
fn field_kind(field: &Field<'_>) -> String {
    let is_status = field.path.split('.').next() == Some("status");
    let required = if field.required && !is_status { ", required" } else { "" };
    format!("{}{required}", field.type_text())
}

fn field_texts(field: &Field<'_>) -> Vec<Inline> {
    let facts = field
        .list_facts()
        .into_iter()
        .flat_map(|(name, fact)| [roman(format!(" {}: ", capitalize_word(name))), bold(fact), roman(".")]);
    [roman(field.description())].into_iter().chain(facts).collect()
}

fn add_paragraph(page: &mut Roff, text: &str) {
    page.control("PP", []);
    page.text([roman(text)]);
}

fn capitalize_word(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
