//! The exit codes that GitLab Runner expects.
//!
//! It says in the environment which code means that the job's script failed, and which that the system did. A system
//! failure is retried. Any other code is an unknown failure.

use std::num::NonZeroU8;
use std::path::PathBuf;

use foundry_core::error::{Code, Error};

/// The codes of GitLab Runner's source (`executors/custom/api/const.go`), used if the environment names none.
const BUILD_FAILURE: u8 = 1;
const SYSTEM_FAILURE: u8 = 2;

/// How to end a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExitCodes {
    build_failure: u8,
    system_failure: u8,
    /// The file for the script's own exit code, which `allow_failure:exit_codes` compares.
    pub script_code_file: Option<PathBuf>,
}

impl ExitCodes {
    /// Reads the codes from the environment. It never fails, because each failure needs one of them.
    pub fn read(variable: &dyn Fn(&str) -> Option<String>) -> Self {
        let code = |name, default| {
            let given = variable(name).and_then(|text| text.trim().parse::<NonZeroU8>().ok());
            given.map_or(default, NonZeroU8::get)
        };
        Self {
            build_failure: code("BUILD_FAILURE_EXIT_CODE", BUILD_FAILURE),
            system_failure: code("SYSTEM_FAILURE_EXIT_CODE", SYSTEM_FAILURE),
            script_code_file: variable("BUILD_EXIT_CODE_FILE")
                .filter(|file| !file.is_empty())
                .map(PathBuf::from),
        }
    }

    /// The exit code for a failure of the executor. A job that may not have the image it names fails itself: another
    /// try would end in the same way.
    pub fn of_error(&self, error: &Error) -> u8 {
        match error.code() {
            Code::JobImageRefused => self.build_failure,
            _ => self.system_failure,
        }
    }

    /// The exit code for a script that ended with `code`.
    pub fn of_script(&self, code: u8) -> u8 {
        if code == 0 { 0 } else { self.build_failure }
    }
}
