//! Label selectors.

use std::collections::BTreeMap;
use std::str::FromStr;

/// A selection of VMs by label (kubectl's equality-based selectors).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Selector(Vec<Requirement>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Requirement {
    Is(String, String),
    IsNot(String, String),
    Exists(String),
    Lacks(String),
}

impl Selector {
    pub(crate) fn matches_labels(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|requirement| match requirement {
            Requirement::Is(key, value) => labels.get(key) == Some(value),
            Requirement::IsNot(key, value) => labels.get(key) != Some(value),
            Requirement::Exists(key) => labels.contains_key(key),
            Requirement::Lacks(key) => !labels.contains_key(key),
        })
    }
}

impl FromStr for Selector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let one = |part: &str| {
            let part = part.trim();
            let pair = |(key, value): (&str, &str)| (key.trim().to_owned(), value.trim().to_owned());
            let requirement = if let Some((key, value)) = part.split_once("!=").map(pair) {
                Requirement::IsNot(key, value)
            } else if let Some((key, value)) =
                part.split_once("==").or_else(|| part.split_once('=')).map(pair)
            {
                Requirement::Is(key, value)
            } else if let Some(key) = part.strip_prefix('!') {
                Requirement::Lacks(key.trim().to_owned())
            } else {
                Requirement::Exists(part.to_owned())
            };
            let (Requirement::Is(key, _)
            | Requirement::IsNot(key, _)
            | Requirement::Exists(key)
            | Requirement::Lacks(key)) = &requirement;
            if key.is_empty() {
                Err(format!("'{part}' has no label name"))
            } else if let Some((name, value)) = key.split_once(':') {
                Err(format!("'{key}' is not a label; write {name}={value}"))
            } else if !key.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c)) {
                Err(format!("'{key}' is not a label: use letters, digits, '-', '_', '.' and '/'"))
            } else {
                Ok(requirement)
            }
        };
        text.split(',').map(one).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_choose_by_label() {
        let labels: BTreeMap<String, String> =
            [("role", "web"), ("env", "prod")].map(|(k, v)| (k.into(), v.into())).into();
        for (selector, matches) in [
            ("role=web", true),
            ("role==web,env=prod", true),
            ("role=db", false),
            ("role!=db", true),
            ("role", true),
            ("x", false),
            ("!x", true),
            ("!role", false),
        ] {
            assert_eq!(selector.parse::<Selector>().unwrap().matches_labels(&labels), matches, "{selector}");
        }
        for (selector, said) in [
            ("=x", "has no label name"),
            ("role:node", "write role=node"),
            ("a b=c", "is not a label"),
            ("role in (a,b)", "is not a label"),
        ] {
            let refusal = selector.parse::<Selector>().unwrap_err();
            assert!(refusal.contains(said), "{selector}: {refusal}");
        }
    }
}
