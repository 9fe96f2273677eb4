//! Reads the fenced blocks of the project's documents.

use std::path::Path;

/// The documents whose blocks are tested.
pub(crate) const FILES: [&str; 5] =
    ["README.md", "src/cli/guide.md", "CLOUDINIT.md", "DESIGN.md", "src/core/error/codes.md"];

/// A fenced block.
pub(crate) struct Block {
    pub(crate) file: &'static str,
    /// The line of its fence, from 1.
    pub(crate) line: usize,
    /// What stands behind the opening fence.
    pub(crate) info: String,
    pub(crate) text: String,
}

impl Block {
    /// The commands of a `console` block for a user's shell: lines after `$ `. Those after `# ` are for the guest.
    pub(crate) fn commands(&self) -> impl Iterator<Item = &str> {
        self.text.lines().filter_map(|line| line.strip_prefix("$ "))
    }
}

/// All blocks of all documents, in their order.
pub(crate) fn blocks() -> Vec<Block> {
    let mut found = Vec::new();
    for file in FILES {
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap();
        let mut open: Option<Block> = None;
        for (index, line) in text.lines().enumerate() {
            match (line.strip_prefix("```"), open.take()) {
                (Some(_), Some(block)) => found.push(block),
                (Some(info), None) => {
                    open = Some(Block {
                        file,
                        line: index + 1,
                        info: info.trim().to_owned(),
                        text: String::new(),
                    });
                }
                (None, Some(mut block)) => {
                    block.text.push_str(line);
                    block.text.push('\n');
                    open = Some(block);
                }
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{file}: a block is never closed");
    }
    found
}
