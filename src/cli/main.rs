//! The `foundry` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(foundry::run())
}
