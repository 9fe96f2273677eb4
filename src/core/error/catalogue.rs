//! Reads the explanation of each code from `codes.md`, for `foundry explain`.

use super::Code;

/// The document: a heading with id and title for each code, three paragraphs, and commands.
const TEXT: &str = include_str!("codes.md");

/// What a code means. Paragraphs are lines of a document, to be wrapped by who shows them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Explanation {
    /// In a few words.
    pub title: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// How it commonly comes about.
    pub causes: &'static str,
    /// What to do.
    pub remedy: &'static str,
    /// The commands for that, a line each, indented; capitals are the user's to fill in.
    pub commands: &'static str,
}

impl Code {
    /// What it stands for, in a few words.
    pub fn title(self) -> &'static str {
        self.explanation().title
    }

    /// What it means, how it comes about, and what to do.
    pub fn explanation(self) -> Explanation {
        // Each code has an entry: `every_code_is_explained`.
        find_entry(self).and_then(parse).unwrap_or_default()
    }
}

/// From the title to the next heading.
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
            let told = code.explanation();
            for part in [told.title, told.meaning, told.causes, told.remedy] {
                assert!(part.len() > 5 && !part.contains("\n\n"), "{code}: {told:?}");
            }
            let sentences = [told.meaning, told.causes, told.remedy];
            assert!(sentences.iter().all(|text| text.ends_with(['.', ':'])), "{code}: {told:?}");
            assert!(!told.title.ends_with('.'), "{code}: {}", told.title);
            assert!(told.commands.lines().all(|line| line.starts_with("    ")), "{code}: {told:?}");
        }
    }

    /// In the order of the ids, and none twice.
    #[test]
    fn every_explanation_is_of_a_code() {
        let headings = TEXT.lines().filter_map(|line| line.strip_prefix("### "));
        let ids: Vec<&str> = headings.filter_map(|heading| Some(heading.split_once(": ")?.0)).collect();
        assert_eq!(ids, Code::ALL.iter().map(ToString::to_string).collect::<Vec<_>>());
    }
}
