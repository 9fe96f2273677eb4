//! Reads the explanation of each code from `codes.md`, for `foundry explain`.

use super::Code;

/// The document: for each code a heading with id and title, three paragraphs, and commands.
const TEXT: &str = include_str!("codes.md");

/// The explanation of a code. Its paragraphs contain the document's line breaks, so the caller has to wrap them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Explanation {
    /// Title, a few words.
    pub title: &'static str,
    /// Meaning of the code.
    pub meaning: &'static str,
    /// Common causes.
    pub causes: &'static str,
    /// What to do.
    pub remedy: &'static str,
    /// Commands for the remedy, one per line, indented. Words in capitals are placeholders.
    pub commands: &'static str,
}

impl Code {
    /// Returns the title of the code, a few words.
    pub fn title(self) -> &'static str {
        self.explanation().title
    }

    /// Returns the meaning of the code, its common causes and what to do.
    pub fn explanation(self) -> Explanation {
        // Each code has an entry; the test `every_code_is_explained` checks it.
        find_entry(self).and_then(parse).unwrap_or_default()
    }
}

/// Finds the entry of a code, from the title to the next heading.
fn find_entry(code: Code) -> Option<&'static str> {
    let (_, entry) = TEXT.split_once(&format!("\n### {code}: "))?;
    Some(entry.split("\n#").next().unwrap_or(entry))
}

fn parse(entry: &'static str) -> Option<Explanation> {
    let (title, rest) = entry.split_once('\n')?;
    let (meaning, rest) = rest.split_once("\n**Causes.** ")?;
    let (causes, rest) = rest.split_once("\n**Remedy.** ")?;
    let (remedy, commands) = rest.split_once("\n\n").unwrap_or((rest, ""));
    let [meaning, causes, remedy] = [meaning, causes, remedy].map(str::trim);
    Some(Explanation { title, meaning, causes, remedy, commands: commands.trim_end() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_explained() {
        for code in Code::ALL {
            let explanation = code.explanation();
            for part in [explanation.title, explanation.meaning, explanation.causes, explanation.remedy] {
                assert!(part.len() > 5 && !part.contains("\n\n"), "{code}: {explanation:?}");
            }
            let sentences = [explanation.meaning, explanation.causes, explanation.remedy];
            assert!(sentences.iter().all(|text| text.ends_with(['.', ':'])), "{code}: {explanation:?}");
            assert!(!explanation.title.ends_with('.'), "{code}: {}", explanation.title);
            assert!(
                explanation.commands.lines().all(|line| line.starts_with("    ")),
                "{code}: {explanation:?}"
            );
        }
    }

    /// The entries are in the order of the ids, and none occurs twice.
    #[test]
    fn every_explanation_belongs_to_a_code() {
        let headings = TEXT.lines().filter_map(|line| line.strip_prefix("### "));
        let ids: Vec<&str> = headings.filter_map(|heading| Some(heading.split_once(": ")?.0)).collect();
        assert_eq!(ids, Code::ALL.iter().map(ToString::to_string).collect::<Vec<_>>());
    }
}
