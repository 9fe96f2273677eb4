//! The `foundry` command itself, in an empty environment: exit codes, stdout and stderr.
//! Its output on a terminal is tested in `cli_terminal.rs`.

mod exit_codes;
mod hints;
mod manifests;
mod test_driver;

use crate::support::command::Ran;
use crate::support::deadline::ChildInTime as _;

/// One error, once, on stderr; nothing on stdout.
fn assert_fails(ran: &Ran, code: i32, sentence: &str) {
    assert_eq!(ran.code, code, "{}", ran.stderr);
    assert_eq!(ran.stdout, "", "an error is no result");
    assert!(ran.stderr.contains(sentence), "{sentence}\nis not in\n{}", ran.stderr);
    assert_eq!(ran.stderr.matches("error:").count(), 1, "it is told once:\n{}", ran.stderr);
}

fn assert_says(ran: &Ran, result: &str) {
    assert_eq!((ran.code, ran.stdout.as_str()), (0, result), "{}", ran.stderr);
}

fn piped(command: &mut std::process::Command, stdin: &str) -> Ran {
    use std::io::Write;
    use std::process::Stdio;
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    Ran::from(child.wait_with_output_in_time().unwrap())
}
