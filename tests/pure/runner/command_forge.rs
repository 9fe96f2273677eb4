//! A forge behind three programs.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use foundry_forge::CommandForge;
use foundry_runner::{CommandSpec, Forge, ForgeFailure, Removal};
use tempfile::TempDir;

/// A forge whose three programs are one script that gets its verb.
fn forge(script: &str) -> (TempDir, CommandForge) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("forge");
    write_program(&file, script);
    let words = |verb: &str| vec![file.display().to_string(), verb.to_owned()];
    let programs =
        CommandSpec { register: words("register"), list: words("list"), unregister: words("unregister") };
    let labels = ["linux".to_owned(), "foundry-here".to_owned()];
    (directory, CommandForge::new(programs, "ci", &labels))
}

fn write_program(file: &Path, text: &str) {
    std::fs::write(file, format!("#!/bin/sh\n{text}")).unwrap();
    std::fs::set_permissions(file, PermissionsExt::from_mode(0o755)).unwrap();
}

#[test]
fn the_programs_get_what_they_need_and_no_more() {
    let (directory, forge) = forge(
        r#"
env | grep -v '^_=\|^PWD=\|^SHLVL=\|^PATH=' | sort >"${0%/*}/env-$1"
case $1 in
register) echo '{"id": 7, "configuration": "secret"}' ;;
list) echo '[{"id": "7", "name": "ci-1", "online": true, "busy": false, "labels": ["a"]}]' ;;
esac"#,
    );
    let registered = forge.register_runner("ci-1").unwrap();
    assert_eq!((registered.id.as_str(), registered.configuration.as_str()), ("7", "secret"));
    assert!(!format!("{registered:?}").contains("secret"));
    let listed = forge.list_registrations().unwrap();
    assert_eq!((listed[0].id.as_str(), listed[0].online, listed[0].busy), ("7", true, false));
    assert_eq!(forge.remove_registration("7").unwrap(), Removal::Removed);
    let env = |verb: &str| std::fs::read_to_string(directory.path().join(format!("env-{verb}"))).unwrap();
    let common = "FOUNDRY_RUNNER_LABELS=linux,foundry-here\n";
    assert_eq!(env("register"), format!("{common}FOUNDRY_RUNNER_NAME=ci-1\nFOUNDRY_RUNNER_POOL=ci\n"));
    assert_eq!(env("unregister"), format!("FOUNDRY_RUNNER_ID=7\n{common}FOUNDRY_RUNNER_POOL=ci\n"));
}

#[test]
fn exit_codes_say_taken_and_busy() {
    let (_directory, forge) =
        forge("case $1 in register) exit 3 ;; unregister) exit 4 ;; *) echo lost >&2; exit 9 ;; esac");
    assert_eq!(forge.register_runner("ci-1").unwrap_err().failure, ForgeFailure::NameTaken);
    assert_eq!(forge.remove_registration("7").unwrap(), Removal::Busy);
    let error = forge.list_registrations().unwrap_err();
    assert_eq!(error.failure, ForgeFailure::Unreachable);
    assert!(error.message.contains("ended with 9: lost"), "{error}");
}

#[test]
fn what_cannot_be_read_is_no_list_and_no_registration() {
    for printed in ["", "{", "null", "{}", r#"[{"name": "x"}]"#, r#"[{"id": "../x", "name": "x"}]"#, "[1]"] {
        let (_directory, forge) = forge(&format!("cat <<'E'\n{printed}\nE"));
        assert!(forge.list_registrations().is_err(), "{printed}");
        let error = forge.register_runner("ci-1").unwrap_err();
        assert_eq!(error.failure, ForgeFailure::Unreachable, "{printed}");
    }
    // What a failed program printed may be a secret.
    let (_directory, forge) = forge("echo '{\"configuration\": \"secret\"}'; exit 1");
    assert!(!forge.register_runner("ci-1").unwrap_err().message.contains("secret"));
    let missing = CommandSpec { list: vec!["/nonexistent/forge".into()], ..CommandSpec::default() };
    let error = CommandForge::new(missing, "ci", &[]).list_registrations().unwrap_err();
    assert!(error.message.contains("/nonexistent/forge cannot be started"), "{error}");
}
