//! Collects the issues that prevent a VM's creation, grouped by what was checked.

use foundry_core::error::{Error, Issue};

/// One check, and its issues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PreflightCheck {
    pub(crate) what: String,
    /// The sentence that is true if there are no issues.
    pub(crate) ok_text: String,
    pub(crate) issues: Vec<Issue>,
}

/// All checks, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PreflightReport(Vec<PreflightCheck>);

impl PreflightReport {
    /// Begins a check; issues that are pushed from now on belong to it.
    pub(crate) fn begin_check(&mut self, what: &str, ok_text: impl Into<String>) {
        self.0.push(PreflightCheck { what: what.to_owned(), ok_text: ok_text.into(), issues: Vec::new() });
    }

    pub(crate) fn push(&mut self, issue: Issue) {
        match self.0.last_mut() {
            Some(check) => check.issues.push(issue),
            None => {
                let (what, ok_text) = (String::new(), String::new());
                self.0.push(PreflightCheck { what, ok_text, issues: vec![issue] });
            }
        }
    }

    pub(crate) fn extend(&mut self, issues: impl IntoIterator<Item = Issue>) {
        issues.into_iter().for_each(|issue| self.push(issue));
    }

    pub(crate) fn issues(&self) -> impl Iterator<Item = &Issue> {
        self.0.iter().flat_map(|check| &check.issues)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.issues().next().is_none()
    }

    pub(crate) fn checks(&self) -> &[PreflightCheck] {
        &self.0
    }

    /// Combines all issues in one error.
    pub(crate) fn to_error(&self, vm: &str) -> Error {
        let issues = self.issues().cloned().collect();
        Error::of_issues(format!("cannot create VM '{vm}' on this host"), issues).unchanged()
    }
}
