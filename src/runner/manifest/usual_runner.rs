//! The runner of a forge in the guest, if the manifest does not describe it.

use super::ForgeSpec;

/// GitHub's runner takes its configuration as one variable.
const GITHUB_RUN: &str = "export ACTIONS_RUNNER_INPUT_JITCONFIG=\"$RUNNER_CONFIGURATION\"; \
    unset RUNNER_CONFIGURATION; exec ./run.sh";

/// Forgejo's takes a file. Here, it reads that from a pipe, so that no job finds it on the disk.
const FORGEJO_RUN: &str = "configuration=$RUNNER_CONFIGURATION; unset RUNNER_CONFIGURATION
exec forgejo-runner one-job --config /dev/stdin --wait <<END
$configuration
END";

/// Gitea's takes a file `.runner` in its directory, which it must be able to write. Its program had another name before
/// version 1.
const GITEA_RUN: &str =
    "(umask 077; printf '%s\\n' \"$RUNNER_CONFIGURATION\" >.runner); unset RUNNER_CONFIGURATION
exec \"$(command -v gitea-runner || command -v act_runner)\" daemon";

/// Forgejo's runner and Gitea's run the steps of a job as their own children, or in containers, so no process
/// tells of a job. But they say that they have one, in their log, which only root can write to.
const TASK_IN_LOG: &str = "grep -q 'task [0-9]* repo is' /run/foundry-runner/log && \
    kill -0 \"$(cat /run/foundry-runner/pid)\"";

/// What a pool's manifest can leave out.
#[derive(Debug, Clone, Copy)]
pub(super) struct UsualRunner {
    pub(super) directory: &'static str,
    pub(super) run: &'static str,
    pub(super) busy: &'static str,
}

impl UsualRunner {
    pub(super) fn of(forge: &ForgeSpec) -> Self {
        if forge.forgejo.is_some() {
            return Self { directory: "/home/runner", run: FORGEJO_RUN, busy: TASK_IN_LOG };
        }
        if forge.gitea.is_some() {
            return Self { directory: "/home/runner", run: GITEA_RUN, busy: TASK_IN_LOG };
        }
        Self {
            directory: "/home/runner/actions-runner",
            run: GITHUB_RUN,
            busy: "pgrep -x Runner.Worker >/dev/null",
        }
    }
}
