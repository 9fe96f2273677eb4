//! Asks for confirmation before something is deleted.

use super::ui::Ui;
use foundry_core::error::{Code, Error};
use foundry_core::text::escape_unseen;
use foundry_engine::vm::destroy::VolumeToDelete;

/// Asks the question; an error if the user declines. `otherwise` says what was not done.
pub(super) fn require_consent(question: &str, otherwise: &str, ui: &Ui) -> Result<(), Error> {
    match ui.ask_yes_no(question) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::new(Code::VmDeclined, otherwise)),
        Err(unasked) => Err(unasked.hint("use --yes to skip the question").outcome(otherwise)),
    }
}

/// As [`require_consent`], for what no script should do by accident: without a terminal it needs `--yes`. `action` is the
/// subject of the refusal.
pub(super) fn require_answer(question: &str, action: &str, ui: &Ui) -> Result<(), Error> {
    if !ui.can_ask() {
        let message = format!("{action} needs confirmation, and stdin is not a terminal");
        return Err(Error::new(Code::NobodyToAsk, message)
            .hint("--yes deletes without asking, --dry-run lists what would be deleted")
            .outcome("nothing was deleted"));
    }
    match ui.ask_yes_no(question)? {
        true => Ok(()),
        false => Err(Error::new(Code::StorageDeclined, "nothing was deleted")),
    }
}

/// Lists volumes below a title, if there are any.
pub(super) fn list_volumes(text: &mut String, title: &str, volumes: &[VolumeToDelete]) {
    if volumes.is_empty() {
        return;
    }
    text.push_str(&format!("  {title}\n"));
    for volume in volumes {
        let snapshot = if volume.role.is_none() { ", made by a snapshot" } else { "" };
        text.push_str(&format!(
            "    {}/{}  {}{snapshot}\n",
            escape_unseen(&volume.pool),
            escape_unseen(&volume.name),
            volume.capacity
        ));
    }
}

/// Lists what is kept, and why, if there is anything.
pub(super) fn list_kept_back(text: &mut String, kept_back: &[(String, String)]) {
    if kept_back.is_empty() {
        return;
    }
    text.push_str("  and keep:\n");
    for (what, why) in kept_back {
        text.push_str(&format!("    {}: {}\n", escape_unseen(what), escape_unseen(why)));
    }
}
