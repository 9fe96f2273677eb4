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
