//! Sentences of the command line itself that name a command.
//!
//! Advice of the library is data ([`foundry_core::error::Advice`]). These sentences are about commands that only the
//! command line has, such as `explain` and `config`, so they are text.

use std::fmt::Display;

use foundry_core::ssh::SshLogin;
use foundry_core::text::quote_for_shell;
use foundry_engine::gc::LeftoverAction;

/// The last line of each command's help.
pub(crate) const GLOBAL_OPTIONS: &str = "Global options: foundry options";

/// For a context name that is unknown and similar to none.
pub(crate) const LIST_CONTEXTS: &str = "foundry config get-contexts lists all";

/// For a configuration without a current context.
pub(crate) const USE_CONTEXT: &str = "foundry config use-context NAME sets it";

/// For a list or a map, of which `set` only changes the elements that are there.
pub(crate) const EDIT_LISTS: &str = "foundry edit changes lists and maps";

/// For an error code that is unknown and similar to none.
pub(crate) const LIST_CODES: &str = "foundry explain --codes lists all";

/// For a field that is unknown and similar to none.
pub(crate) const LIST_FIELDS: &str = "foundry explain --recursive lists all fields";

/// For `get vms`, as in kubectl.
pub(crate) const LIST_OR_GET: &str = "foundry list --all lists the VMs; foundry get VM shows one";

/// For an image pool without images.
pub(crate) const NO_IMAGES: &str = "No images; foundry image import FILE adds one";

/// After a dry run of `gc` that found something to clean up.
pub(crate) fn run_gc() -> String {
    format!("foundry gc --yes deletes or completes what is marked '{}'.", LeftoverAction::CleanUp.as_str())
}

/// After a run of `gc` that found volumes or files of an unknown owner.
pub(crate) const NAME_LEFTOVERS: &str =
    "The owner of these leftovers is unknown. Delete them one by one with foundry gc NAME...";

/// SEE ALSO of foundry(1), after the names of the pages.
pub(crate) const EXPLAIN_IN_MAN: &str =
    "; foundry explain shows the fields of a manifest and the meaning of an error code.";

/// The commands that know the manifest, for foundry(5).
pub(crate) const MANIFEST_COMMANDS: &str = "foundry explain shows the same texts, foundry schema prints them as JSON \
                                            Schema, and foundry init writes a first manifest.";

/// The comment at the head of a manifest that `init` writes.
pub(crate) const MANIFEST_HEAD: &str =
    "# A VM for foundry. 'foundry create FILE' creates it; 'foundry explain' describes all fields.\n";

/// For `destroy --all`, which does not exist.
pub(crate) const DESTROY_ALL: &str = "foundry destroy '*'   # all VMs that foundry created";

/// For `get vm NAME`, as in kubectl.
pub(crate) fn get_vm(name: &str) -> String {
    format!("foundry get {}", quote_for_shell(name))
}

/// Below an error that has no hint of its own.
pub(crate) fn explain_error(code: impl Display) -> String {
    format!("foundry explain {code} says more")
}

/// For an unknown error code that is similar to a known one.
pub(crate) fn explain_similar_code(similar: &str) -> String {
    format!("did you mean {similar}? foundry explain {similar}")
}

/// For an unknown field that is similar to a known one.
pub(crate) fn explain_similar_field(path: &str) -> String {
    format!("did you mean {path}? foundry explain {}", quote_for_shell(path))
}

/// What to do with a manifest that was just written.
pub(crate) fn create_from(file: &str) -> String {
    format!("Next: foundry create {} --wait", quote_for_shell(file))
}

/// How to log in to a new VM, and how to delete it.
pub(crate) fn log_in(vm: &str) -> String {
    let vm = quote_for_shell(vm);
    format!("Log in: foundry ssh {vm}; delete it: foundry destroy {vm}")
}

/// The command that destroys the VMs of a manifest file.
pub(crate) fn destroy_file(file: &str) -> String {
    format!("foundry destroy -f {}", quote_for_shell(file))
}

/// After ssh or scp ended with 255, which is its own failure or the command's exit code.
pub(crate) fn ssh_failed(program: &str, vm: &str, login: &SshLogin) -> String {
    let (user, address) = (login.user.as_str(), login.address);
    let changed = if login.host_keys.is_empty() {
        "its host key is not in its record"
    } else {
        "its host key must be the recorded one"
    };
    format!(
        "{program} ended with 255, which is its own failure: logging in as {user} to {address}; {changed}. \
         foundry get {} shows whether the VM runs",
        quote_for_shell(vm)
    )
}
