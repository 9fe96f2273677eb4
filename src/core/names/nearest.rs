//! Suggests a known word for a misspelt one.

/// Returns the known word that is most similar to `word`, if it is similar enough to have been meant.
pub fn find_nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|k| (similarity(&word.to_lowercase(), &k.to_lowercase()), k))
        .filter(|(score, _)| *score > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, k)| k)
}

/// Compares two words: 0 means nothing in common, 1 means equal.
fn similarity(word: &str, known: &str) -> f64 {
    // Jaro-Winkler rates short words that differ in one letter too low to pass the threshold of 0.8.
    let one_letter = word.chars().count() > 2 && strsim::osa_distance(word, known) == 1;
    strsim::jaro_winkler(word, known).max(if one_letter { 0.81 } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_word_is_found_only_if_it_is_near() {
        let known = ["foundry-images", "br0", "networkInterfaces"];
        assert_eq!(find_nearest("networkInterface", known), Some("networkInterfaces"));
        assert_eq!(find_nearest("zzz", known), None);
    }
}
