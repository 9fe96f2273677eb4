//! Combines several errors into one.

use super::Code;

/// The codes of several errors that are reported together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErrorCodes(Vec<Code>);

impl ErrorCodes {
    /// Returns the code of the whole, which also gives the exit code: the first one of the worst kind.
    pub fn worst_code(&self) -> Option<Code> {
        let kind = self.0.iter().map(|code| code.kind()).max()?;
        self.0.iter().find(|code| code.kind() == kind).copied()
    }

    /// Returns the suffix for the line of one error: its code in brackets if the codes differ, otherwise nothing.
    pub fn suffix_for(&self, code: Code) -> String {
        let is_mixed = self.0.iter().any(|other| Some(other) != self.0.first());
        if is_mixed { format!(" [{code}]") } else { String::new() }
    }
}

impl FromIterator<Code> for ErrorCodes {
    fn from_iter<I: IntoIterator<Item = Code>>(codes: I) -> Self {
        Self(codes.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worst_code_is_the_first_of_the_worst_kind() {
        let mixed = ErrorCodes::from_iter([Code::NameTaken, Code::PoolMissing, Code::OutOfSpace]);
        assert_eq!(mixed.worst_code(), Some(Code::PoolMissing));
        assert_eq!(mixed.suffix_for(Code::NameTaken), " [FND-4001]");
        assert_eq!(ErrorCodes::default().worst_code(), None);
    }

    #[test]
    fn equal_codes_are_not_repeated_on_each_line() {
        let same = ErrorCodes::from_iter([Code::NameTaken, Code::NameTaken]);
        assert_eq!(same.suffix_for(Code::NameTaken), "");
    }
}
