//! Waits for cloud-init: from its result file through the guest agent, otherwise from the console log.

use serde_json::Value;

use super::cloud_init_log;
use super::goal::Goal;
use super::guest_file::read_guest_file;
use super::wait::{AGENT_WITHIN, CLOUD_INIT_AT_WORK, GuestWatch, RESULT_WITHIN};
use foundry_core::error::{Code, Error};
use foundry_core::text::strip_terminal_sequences;

impl GuestWatch<'_> {
    /// Asks the agent for cloud-init's result file; without an agent, reads the console log.
    pub(super) fn cloud_init_done(&mut self) -> Result<bool, Error> {
        if let Some(result) =
            read_guest_file(self.context, self.vm.uuid, "/run/cloud-init/result.json", AGENT_WITHIN)?
        {
            return self.judge_result(&result);
        }
        let log = self.read_console();
        if cloud_init_log::is_at_work(&log) {
            self.seen = CLOUD_INIT_AT_WORK;
        }
        if !cloud_init_log::is_finished(&log) || self.result_is_due()? {
            return Ok(false);
        }
        let failures = cloud_init_log::find_failures(&log);
        if !failures.is_empty() {
            return Err(self.cloud_init_failed(&failures));
        }
        self.context.warn(format!(
            "cloud-init in VM '{}' is done; its console does not reliably show errors, and there is no guest agent to ask",
            self.name
        ));
        Ok(true)
    }

    /// Returns whether the result file may still come. cloud-init writes it just after its final message on the
    /// console. An agent without permission to read files never returns it.
    fn result_is_due(&mut self) -> Result<bool, Error> {
        let now = self.context.clock.elapsed();
        let since = *self.finished.get_or_insert(now);
        Ok(now.saturating_sub(since) < RESULT_WITHIN && self.ping_agent()?)
    }

    /// Warns before the wait if it can only time out.
    pub(super) fn warn_of_silence(&self, goal: Goal) {
        let readable = self.context.host.is_local() && self.vm.record.console_log.is_some();
        if goal == Goal::CloudInit && !readable {
            self.context.warn(format!(
                "the console of VM '{}' cannot be read from here: without a guest agent in the VM, waiting for cloud-init can only time out",
                self.name
            ));
        }
    }

    /// cloud-init's page "CLI commands / status": `result.json` appears when the last stage is done.
    fn judge_result(&self, result: &str) -> Result<bool, Error> {
        let parsed: Value = serde_json::from_str(result).unwrap_or_default();
        let Some(errors) = parsed.pointer("/v1/errors").and_then(Value::as_array) else { return Ok(false) };
        if errors.is_empty() {
            return Ok(true);
        }
        let list: Vec<String> =
            errors.iter().map(|e| e.as_str().map_or_else(|| e.to_string(), str::to_owned)).collect();
        Err(self.cloud_init_failed(&list))
    }

    fn cloud_init_failed<S: AsRef<str>>(&self, errors: &[S]) -> Error {
        let told: Vec<String> = errors.iter().map(|e| strip_terminal_sequences(e.as_ref())).collect();
        Error::new(Code::CloudInitFailed, format!("cloud-init in VM '{}' ended with errors", self.name))
            .because(told.join("; "))
            .hint("in the guest: cloud-init status --long, /var/log/cloud-init.log")
            .outcome(self.vm_kept_advice())
    }
}
