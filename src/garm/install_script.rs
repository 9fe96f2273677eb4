//! The script that installs a runner, for a GARM that gives none (before v0.2).

use foundry_core::error::Error;
use foundry_core::text::quote_for_shell;

use crate::bootstrap::BootstrapInstance;

/// Sets the variables of [`BODY`], one line each.
fn write_variables(asked: &BootstrapInstance) -> Result<String, Error> {
    let tool = asked.find_tool()?;
    // Older and newer versions of GARM write the URL with and without the last part.
    let callback = asked.callback_url.trim_end_matches('/').trim_end_matches("/status");
    let values = [
        ("CALLBACK", callback),
        ("METADATA", asked.metadata_url.trim_end_matches('/')),
        ("TOKEN", &asked.instance_token),
        ("TOOL_URL", &tool.download_url),
        ("TOOL_TOKEN", &tool.temp_download_token),
        ("TOOL_SHA256", &tool.sha256_checksum),
        ("JIT", if asked.jit_config_enabled { "yes" } else { "" }),
        ("URL", &asked.repo_url),
        ("NAME", &asked.name),
        ("LABELS", &asked.labels.join(",")),
        ("GROUP", &asked.runner_group),
        ("DEBUG", if asked.user_data_options.enable_boot_debug { "yes" } else { "" }),
    ];
    Ok(values.map(|(name, value)| format!("{name}={}\n", quote_for_shell(value))).concat())
}

/// The script after its variables. It runs as the runner's user, who may use sudo. GARM's token is dead once the status
/// is idle, so the system's information is sent before.
const BODY: &str = r##"
[ -z "$DEBUG" ] || set -x

ask() {
  curl -fsS --retry 5 --retry-delay 5 --retry-connrefused \
    -H 'Accept: application/json' -H "Authorization: Bearer $TOKEN" "$@"
}
report() {
  ask -o /dev/null -d "{\"status\": \"$1\", \"message\": \"$2\", \"agent_id\": ${3:-null}}" "$CALLBACK/status" || true
}
trap 'report failed "the installation of the runner failed in line $LINENO"' ERR

RUNNER=$HOME/actions-runner
if [ ! -d "$RUNNER" ]; then
  report installing 'downloading the runner'
  ARCHIVE=$(mktemp)
  curl -fsSL --retry 5 --retry-delay 5 --retry-connrefused \
    ${TOOL_TOKEN:+-H "Authorization: Bearer $TOOL_TOKEN"} -o "$ARCHIVE" "$TOOL_URL"
  [ -z "$TOOL_SHA256" ] || echo "$TOOL_SHA256  $ARCHIVE" | sha256sum --check --quiet
  mkdir "$RUNNER"
  tar -xf "$ARCHIVE" -C "$RUNNER"
  rm -f "$ARCHIVE"
  report installing 'installing what the runner needs'
  sudo "$RUNNER/bin/installdependencies.sh"
fi
cd "$RUNNER"

report installing 'configuring the runner'
AGENT=null
if [ -n "$JIT" ]; then
  ask -o .runner "$METADATA/credentials/runner"
  ask -o .credentials "$METADATA/credentials/credentials"
  ask -o .credentials_rsaparams "$METADATA/credentials/credentials_rsaparams"
  SERVICE=$(ask "$METADATA/system/service-name").service
  printf %s "$SERVICE" > .service
  ask -o unit "$METADATA/systemd/unit-file?runAsUser=$USER"
  sudo install -m 0644 -o root -g root unit "/etc/systemd/system/$SERVICE"
  rm unit
  cp bin/runsvc.sh .
  [ ! -e /sys/fs/selinux/enforce ] || sudo chcon -t bin_t runsvc.sh bin/*
  sudo systemctl daemon-reload
  sudo systemctl enable --now "$SERVICE"
else
  REGISTRATION=$(ask "$METADATA/runner-registration-token/")
  ./config.sh --unattended --ephemeral --url "$URL" --token "$REGISTRATION" --name "$NAME" \
    --labels "$LABELS" --no-default-labels ${GROUP:+--runnergroup "$GROUP"}
  [ ! -e /sys/fs/selinux/enforce ] || sudo chcon -t bin_t runsvc.sh bin/*
  sudo ./svc.sh install "$USER"
  sudo ./svc.sh start
  AGENT=$(sed -n 's/.*"agentId": *\([0-9]*\).*/\1/p' .runner)
fi

# Its NAME is that of the system.
. /etc/os-release
ask -o /dev/null -d "{\"os_name\": \"$NAME\", \"os_version\": \"${VERSION_ID:-}\", \"agent_id\": ${AGENT:-null}}" \
  "$CALLBACK/system-info/" || true
report idle 'the runner is installed' "$AGENT"
"##;

/// Writes the script that installs the runner.
///
/// # Errors
/// [`foundry_core::error::Code::ProviderCallUnfit`] if GARM names no runner for this guest.
pub(crate) fn write_install_script(asked: &BootstrapInstance) -> Result<String, Error> {
    let head = "#!/bin/bash\n# Installs the runner and tells GARM how it goes.\nset -Eeuo pipefail\n";
    Ok(format!("{head}{}{BODY}", write_variables(asked)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bootstrap::RunnerTool;

    #[test]
    fn values_cannot_leave_their_quotes() {
        let tool = RunnerTool {
            os: "linux".into(),
            architecture: "x64".into(),
            download_url: "https://x/$(touch a)".into(),
            ..RunnerTool::default()
        };
        let asked = BootstrapInstance {
            name: "it's; rm -rf /".into(),
            arch: "amd64".into(),
            tools: vec![tool],
            callback_url: "https://g/callbacks/status/".into(),
            ..BootstrapInstance::default()
        };
        let script = write_install_script(&asked).unwrap();
        let line =
            |name: &str| script.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
        assert_eq!(line("CALLBACK="), "CALLBACK=https://g/callbacks");
        assert_eq!(line("TOOL_URL="), "TOOL_URL='https://x/$(touch a)'");
        assert!(line("NAME=").starts_with("NAME='it'"), "{script}");
        let error = write_install_script(&BootstrapInstance::default()).unwrap_err().to_string();
        assert!(error.contains("no runner to download"), "{error}");
    }
}
