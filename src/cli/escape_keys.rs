//! The keys that leave a console: `^]`, as in virsh(1), and `~.` at the beginning of a line, as in ssh(1).

/// Ctrl-].
const LEAVE: u8 = 0x1d;

/// Finds the keys in what is typed.
pub(crate) struct EscapeKeys {
    at_line_start: bool,
    /// Whether a `~` at the beginning of a line waits for what follows it.
    holds_tilde: bool,
}

/// What was typed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Typed {
    /// The bytes for the guest.
    pub(crate) for_guest: Vec<u8>,
    /// Whether a key that leaves was among them; what follows it is dropped.
    pub(crate) leaves: bool,
}

impl EscapeKeys {
    /// The keys of a new session, which is at the beginning of a line.
    pub(crate) fn new() -> Self {
        Self { at_line_start: true, holds_tilde: false }
    }

    /// Takes the next bytes. `~~` at the beginning of a line is one `~`; a `~` before anything but a dot goes to the
    /// guest with it.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Typed {
        let mut for_guest = Vec::with_capacity(bytes.len() + 1);
        for &byte in bytes {
            let after_tilde = std::mem::take(&mut self.holds_tilde);
            match byte {
                LEAVE => return Typed { for_guest, leaves: true },
                b'.' if after_tilde => return Typed { for_guest, leaves: true },
                b'~' if self.at_line_start && !after_tilde => {
                    self.holds_tilde = true;
                    continue;
                }
                b'~' if after_tilde => for_guest.push(byte),
                _ => {
                    if after_tilde {
                        for_guest.push(b'~');
                    }
                    for_guest.push(byte);
                }
            }
            self.at_line_start = matches!(byte, b'\r' | b'\n');
        }
        Typed { for_guest, leaves: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(parts: &[&str]) -> (String, bool) {
        let (mut keys, mut sent) = (EscapeKeys::new(), String::new());
        for part in parts {
            let typed = keys.take(part.as_bytes());
            sent.push_str(&String::from_utf8(typed.for_guest).unwrap());
            if typed.leaves {
                return (sent, true);
            }
        }
        (sent, false)
    }

    #[test]
    fn the_keys_leave_at_their_places_only() {
        for (parts, sent, leaves) in [
            (&["ls\r"][..], "ls\r", false),
            (&["ls\u{1d}x"], "ls", true),
            (&["~."], "", true),
            (&["ls\r", "~", "."], "ls\r", true),
            (&["ls\n~.x"], "ls\n", true),
            (&["ls ~.\r"], "ls ~.\r", false),
            (&["cd ~\r"], "cd ~\r", false),
            (&["~", "~.\r"], "~.\r", false),
            (&["~/bin/x\r"], "~/bin/x\r", false),
            (&["~\r~."], "~\r", true),
            (&["~\u{1d}"], "", true),
        ] {
            assert_eq!(typed(parts), (sent.to_owned(), leaves), "{parts:?}");
        }
    }
}
