//! Collects what stands in the way of a VM, by the object that was checked.

use foundry_core::error::{Error, Issue};

/// One thing that was checked, and what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PreflightCheck {
    pub(crate) what: String,
    /// What is true if nothing is found.
    pub(crate) ok_text: String,
    pub(crate) issues: Vec<Issue>,
}

/// Everything that was checked, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PreflightReport(Vec<PreflightCheck>);

impl PreflightReport {
    /// Begins a check: issues that are pushed from now on are about this.
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

    /// One error for all issues.
    pub(crate) fn to_error(&self, vm: &str) -> Error {
        let issues = self.issues().cloned().collect();
        Error::of_issues(format!("cannot create VM '{vm}' on this host"), issues).unchanged()
    }
}
