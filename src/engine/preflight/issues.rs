//! What stands in the way of something, gathered by what was looked at.

use foundry_core::error::{Code, Error, Kind, Several};
use foundry_core::text::printable;

/// Something that stands in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is; of [`Kind::Storage`] for pools, volumes and images, else of [`Kind::Vm`].
    pub code: Code,
    /// A sentence that names the object.
    pub message: String,
    /// What to do about it, a sentence each.
    pub hints: Vec<String>,
}

impl Finding {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: printable(&message.into()), hints: Vec::new() }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(printable(&hint.into()));
        self
    }
}

/// One thing that was looked at, and what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Look {
    pub(crate) what: String,
    /// What is true where nothing is found.
    pub(crate) well: String,
    pub(crate) findings: Vec<Finding>,
}

/// Everything that was looked at, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Findings(Vec<Look>);

impl Findings {
    /// What is found from now on is about this.
    pub(crate) fn begin(&mut self, what: &str, well: impl Into<String>) {
        self.0.push(Look { what: what.to_owned(), well: well.into(), findings: Vec::new() });
    }

    pub(crate) fn push(&mut self, finding: Finding) {
        match self.0.last_mut() {
            Some(look) => look.findings.push(finding),
            None => self.0.push(Look { what: String::new(), well: String::new(), findings: vec![finding] }),
        }
    }

    pub(crate) fn extend(&mut self, findings: impl IntoIterator<Item = Finding>) {
        findings.into_iter().for_each(|finding| self.push(finding));
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Finding> {
        self.0.iter().flat_map(|look| &look.findings)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all().next().is_none()
    }

    pub(crate) fn looks(&self) -> &[Look] {
        &self.0
    }
}

/// One error for all findings.
pub(crate) fn report(vm: &str, findings: &Findings) -> Error {
    let codes: Several = findings.all().map(|finding| finding.code).collect();
    let mut message = format!("cannot create VM '{vm}' on this host");
    for finding in findings.all() {
        message.push_str(&format!("\n  {}{}", finding.message, codes.mark(finding.code)));
        for hint in &finding.hints {
            message.push_str(&format!("\n    {hint}"));
        }
    }
    Error::of_text(codes.worst().unwrap_or(Kind::Vm.into()), message).outcome("nothing was changed")
}
