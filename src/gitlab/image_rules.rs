//! Which images a job may name.

use wildmatch::WildMatch;

use foundry_core::error::{Code, Error};
use foundry_core::text::escape_unseen;

/// Allowed images: names and patterns with `*` and `?`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageRules(Vec<String>);

impl ImageRules {
    /// Makes the rules of these patterns, or returns the first wrong one.
    ///
    /// # Errors
    /// The index of a pattern that no name of an image can match.
    pub fn new(patterns: Vec<String>) -> Result<Self, usize> {
        let is_fit = |pattern: &String| is_plain_name(&pattern.replace(['*', '?'], "x"));
        match patterns.iter().position(|pattern| !is_fit(pattern)) {
            Some(wrong) => Err(wrong),
            None => Ok(Self(patterns)),
        }
    }

    /// Chooses the image of a job: the one that it names, or else the template's.
    ///
    /// A name is never a path or a pool and a volume: even if all images are allowed, a job must not read other files
    /// or disks of the host.
    ///
    /// # Errors
    /// [`Code::JobImageRefused`] for an image that the rules do not allow.
    pub fn choose<'a>(
        &self,
        named: Option<&'a str>,
        template: Option<&'a str>,
    ) -> Result<Option<&'a str>, Error> {
        let Some(name) = named else { return Ok(template) };
        if Some(name) == template {
            return Ok(template);
        }
        let refused = Error::new(
            Code::JobImageRefused,
            format!("the job may not have the image '{}'", escape_unseen(name)),
        );
        if !is_plain_name(name) {
            return Err(refused
                .because("it is not the name of an image in the image pool")
                .hint("'image:' of the job names an image of foundry, not a container's"));
        }
        if self.0.iter().any(|pattern| WildMatch::new(pattern).matches(name)) {
            return Ok(Some(name));
        }
        let allowed =
            if self.0.is_empty() { "none but the template's".to_owned() } else { self.0.join(", ") };
        Err(refused.because(format!("allowed images: {allowed}")))
    }
}

/// Whether it is a file name without anything that a path, an option or a pool could begin with.
fn is_plain_name(name: &str) -> bool {
    name.len() <= 255
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "._+-".contains(c))
}
