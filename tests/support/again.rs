//! This program once more, for one of its tests alone.

/// The name of a test as `--exact` takes it. `module` is `module_path!()`, which begins with the program.
pub(crate) fn exact(module: &str, test: &str) -> String {
    let within = module.split_once("::").map_or(module, |(_, within)| within);
    format!("{within}::{test}")
}

/// Whether a line of its output says that the test was there, and passed: without one of that name all is well, too.
pub(crate) fn has_passed(line: &str) -> bool {
    line.starts_with("test result: ok. 1 passed;")
}
