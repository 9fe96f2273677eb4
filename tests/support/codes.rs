//! The codes in what foundry says on stderr, apart from its words.

/// The words without codes: `error[FND-4002]: …` is `error: …`, and a line's own ` [FND-4201]` is nothing.
pub(crate) fn without(said: &str) -> String {
    let mut words = String::new();
    let mut rest = said;
    while let Some((before, code, after)) = next(rest) {
        let is_head = before.ends_with("error");
        words.push_str(if is_head { before } else { before.strip_suffix(' ').unwrap_or(before) });
        assert!(code.bytes().all(|b| b.is_ascii_digit()) && code.len() == 4, "{code} in {said}");
        rest = after;
    }
    words + rest
}

/// The code of the last error, which gives the exit code: `FND-4002`.
pub(crate) fn of_error(said: &str) -> Option<String> {
    let (_, after) = said.rsplit_once("error[")?;
    after.split_once("]:").map(|(code, _)| code.to_owned())
}

fn next(text: &str) -> Option<(&str, &str, &str)> {
    let (before, after) = text.split_once("[FND-")?;
    let (code, after) = after.split_once(']')?;
    Some((before, code, after))
}
