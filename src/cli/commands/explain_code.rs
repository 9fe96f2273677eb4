//! Explains an error code.

use std::fmt::Write as _;

use crate::ui::Ui;
use crate::words::hints;
use foundry_core::error::{Code, Error};
use foundry_core::text::wrap_words;

/// The width of a terminal by default.
pub(super) const WIDTH: usize = 80;
pub(super) const INDENT: &str = "    ";

/// Whether the text is an error code rather than a field: `FND-4201`, `fnd-4201`, `4201`.
pub(super) fn looks_like_code(text: &str) -> bool {
    let text = text.trim();
    let begins = text.get(..4).is_some_and(|begin| begin.eq_ignore_ascii_case("fnd-"));
    begins || (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()))
}

pub(super) fn explain_code(text: &str, ui: &Ui) -> Result<(), Error> {
    ui.write_text(&render_code(Code::parse(text).ok_or_else(|| unknown_code(text))?))
}

/// All codes with their titles.
pub(super) fn list_codes(ui: &Ui) -> Result<(), Error> {
    ui.write_text(&Code::ALL.iter().map(|code| format!("{code}  {}\n", code.title())).collect::<String>())
}

fn unknown_code(text: &str) -> Error {
    let known: Vec<String> = Code::ALL.iter().map(ToString::to_string).collect();
    let digits = text.trim_start_matches(|c: char| !c.is_ascii_digit());
    // A code with two wrong digits is not similar.
    let near = known.iter().find(|id| strsim::osa_distance(&format!("FND-{digits}"), id) == 1);
    let hint = match near {
        Some(near) => hints::explain_similar_code(near),
        None => hints::LIST_CODES.to_owned(),
    };
    Error::new(Code::CodeMissing, format!("there is no code {text:?}")).hint(hint)
}

fn render_code(code: Code) -> String {
    let told = code.explanation();
    let mut text = format!("CODE:       {code}\nTITLE:      {}\n", told.title);
    // An interruption exits with 128 plus the signal; this is the code for SIGINT.
    let _ = writeln!(text, "EXIT CODE:  {}", code.kind().exit_code());
    for (heading, prose) in [("MEANING", told.meaning), ("CAUSES", told.causes), ("REMEDY", told.remedy)] {
        let _ = writeln!(text, "\n{heading}:");
        for line in wrap_words(&prose.replace('`', ""), WIDTH - INDENT.len()) {
            let _ = writeln!(text, "{INDENT}{line}");
        }
    }
    if !told.commands.is_empty() {
        let _ = writeln!(text, "\n{}", told.commands);
    }
    text
}
