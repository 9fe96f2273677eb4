//! Reads the state of cloud-init from a VM's console, if there is no guest agent.

/// Returns whether cloud-init has started.
pub(crate) fn is_at_work(console: &str) -> bool {
    console.contains("Cloud-init v.") || console.contains("cloud-init[")
}

/// Returns whether cloud-init has printed its final message (its module `final_message`).
pub(crate) fn is_finished(console: &str) -> bool {
    console.lines().any(|line| line.contains("Cloud-init v.") && line.contains(" finished at "))
}

/// Finds the lines with which cloud-init or systemd reports a failed part. Output of the user's own commands is not
/// recognized, so an empty list does not prove success.
pub(crate) fn find_failures(console: &str) -> Vec<&str> {
    console.lines().filter(|line| is_failure(line)).map(str::trim).collect()
}

/// Recognizes warnings of cloud-init's `config/modules.py` and `cc_scripts_user.py`, and systemd's status lines.
fn is_failure(line: &str) -> bool {
    let by_cloud_init = line.contains("[WARNING]: ") || line.contains("[ERROR]: ");
    let module = (line.contains("Running module ") && line.contains(" failed"))
        || line.contains("Failed to run module ");
    let unit = line.contains("Failed to start ")
        && (line.contains("cloud-config.") || line.contains("cloud-final.") || line.contains("cloud-init"));
    (by_cloud_init && module) || unit
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
[   12.0] cloud-init[412]: Cloud-init v. 24.4 running 'modules:final' at Fri, 02 Jan 2026 03:04:05 +0000.
my command: Failed to run module of mine
[   13.0] cloud-init[412]: Cloud-init v. 24.4 finished at Fri, 02 Jan 2026 03:04:06 +0000. Datasource NoCloud
";

    #[test]
    fn a_whole_run_has_an_end_and_no_failures() {
        assert!(is_at_work(GOOD) && is_finished(GOOD));
        assert_eq!(find_failures(GOOD), [] as [&str; 0]);
        let begun = GOOD.lines().next().unwrap();
        assert!(is_at_work(begun) && !is_finished(begun));
        assert!(!is_at_work("[    0.0] Linux version 6.12"));
    }

    #[test]
    fn failures_are_told_by_cloud_init_and_systemd() {
        for line in [
            "[   12.9] cloud-init[412]: 2026-01-02 03:04:05,678 - cc_scripts_user.py[WARNING]: Failed to run module scripts_user (scripts in /var/lib/cloud/instance/scripts)",
            "2026-01-02 03:04:05,679 - util.py[WARNING]: Running module scripts_user (<module 'cc'>) failed",
            "[FAILED] Failed to start cloud-final.service - Cloud-init: Final Stage.",
        ] {
            assert_eq!(find_failures(&format!("{GOOD}  {line}\r\n")), [line]);
        }
    }
}
