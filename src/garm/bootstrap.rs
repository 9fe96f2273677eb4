//! What GARM writes to the standard input of CreateInstance.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use foundry_core::error::{Code, Error};
use foundry_core::text::escape_unseen;

/// A runner that GARM asks for (`params.BootstrapInstance` of garm-provider-common). GARM writes `null` for a list that
/// is empty, and newer versions write more fields; both are accepted.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct BootstrapInstance {
    /// Name of the runner.
    #[serde(default, deserialize_with = "or_default")]
    pub name: String,
    /// The programs of the runner that can be downloaded.
    #[serde(default, deserialize_with = "or_default")]
    pub tools: Vec<RunnerTool>,
    /// URL of the repository, organization or enterprise that the runner serves.
    #[serde(default, deserialize_with = "or_default")]
    pub repo_url: String,
    /// Where the guest reports its progress.
    #[serde(default, rename = "callback-url", deserialize_with = "or_default")]
    pub callback_url: String,
    /// Where the guest fetches what it needs to set itself up.
    #[serde(default, rename = "metadata-url", deserialize_with = "or_default")]
    pub metadata_url: String,
    /// Token for both, a secret.
    #[serde(default, rename = "instance-token", deserialize_with = "or_default")]
    pub instance_token: String,
    /// Public keys of the runner's user.
    #[serde(default, rename = "ssh-keys", deserialize_with = "or_default")]
    pub ssh_keys: Vec<String>,
    /// The pool's settings for its provider.
    #[serde(default)]
    pub extra_specs: Value,
    /// Group of the runner at GitHub.
    #[serde(default, rename = "github-runner-group", deserialize_with = "or_default")]
    pub runner_group: String,
    /// Certificates (PEM in base64) that the guest trusts.
    #[serde(default, rename = "ca-cert-bundle", deserialize_with = "or_default")]
    pub ca_bundle: String,
    /// Architecture, in Go's words.
    #[serde(default, deserialize_with = "or_default")]
    pub arch: String,
    /// Operating system.
    #[serde(default, deserialize_with = "or_default")]
    pub os_type: String,
    /// Size of the VM: a name of the configuration, or `2c4g20d`.
    #[serde(default, deserialize_with = "or_default")]
    pub flavor: String,
    /// Image: a name of the configuration, or of the image pool.
    #[serde(default, deserialize_with = "or_default")]
    pub image: String,
    /// Labels of the runner, without a JIT configuration.
    #[serde(default, deserialize_with = "or_default")]
    pub labels: Vec<String>,
    /// The pool, or the number of the scale set.
    #[serde(default, deserialize_with = "or_default")]
    pub pool_id: String,
    /// Wishes for the user-data.
    #[serde(default, deserialize_with = "or_default")]
    pub user_data_options: UserDataOptions,
    /// Whether the runner gets its credentials from the metadata service (just-in-time configuration).
    #[serde(default, deserialize_with = "or_default")]
    pub jit_config_enabled: bool,
    /// Proxies of the guest.
    #[serde(default, deserialize_with = "or_default")]
    pub proxy_config: ProxyConfig,
}

/// A program of the runner that can be downloaded.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct RunnerTool {
    /// Operating system, in GitHub's words: `linux`, `win`, `osx`.
    #[serde(default, deserialize_with = "or_default")]
    pub os: String,
    /// Architecture, in GitHub's words: `x64`, `arm64`, `arm`.
    #[serde(default, deserialize_with = "or_default")]
    pub architecture: String,
    /// Where it is.
    #[serde(default, deserialize_with = "or_default")]
    pub download_url: String,
    /// Name of the file.
    #[serde(default, deserialize_with = "or_default")]
    pub filename: String,
    /// Its digest, if GitHub says it.
    #[serde(default, deserialize_with = "or_default")]
    pub sha256_checksum: String,
    /// Token for the download, a secret.
    #[serde(default, deserialize_with = "or_default")]
    pub temp_download_token: String,
}

/// Wishes for the user-data.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct UserDataOptions {
    /// Whether the packages of the image stay as they are.
    #[serde(default, deserialize_with = "or_default")]
    pub disable_updates_on_boot: bool,
    /// Packages to install.
    #[serde(default, deserialize_with = "or_default")]
    pub extra_packages: Vec<String>,
    /// Whether the install script prints its commands.
    #[serde(default, deserialize_with = "or_default")]
    pub enable_boot_debug: bool,
}

/// Proxies of the guest; empty texts are none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct ProxyConfig {
    /// For HTTP.
    #[serde(default, deserialize_with = "or_default")]
    pub http_proxy: String,
    /// For HTTPS.
    #[serde(default, deserialize_with = "or_default")]
    pub https_proxy: String,
    /// Hosts that are reached without one.
    #[serde(default, deserialize_with = "or_default")]
    pub no_proxy: String,
}

impl BootstrapInstance {
    /// Reads what GARM wrote.
    ///
    /// # Errors
    /// [`Code::ProviderCallUnfit`] if it is not JSON, or lacks the name. Its text is not shown: it has a token.
    pub fn from_json(text: &[u8]) -> Result<Self, Error> {
        let unfit = |why: String| {
            Error::new(Code::ProviderCallUnfit, "what GARM wrote to standard input is no instance")
                .because(why)
                .unchanged()
        };
        let read: Self = serde_json::from_slice(text).map_err(|e| {
            // serde's message could quote a value.
            unfit(format!("line {}, column {}: {}", e.line(), e.column(), category(&e)))
        })?;
        if read.name.is_empty() { Err(unfit("'name' is missing".into())) } else { Ok(read) }
    }

    /// The certificates that the guest trusts, as PEM.
    ///
    /// # Errors
    /// [`Code::ProviderCallUnfit`] if they are not base64 of PEM.
    pub fn ca_certificates(&self) -> Result<Option<String>, Error> {
        if self.ca_bundle.is_empty() {
            return Ok(None);
        }
        let decoded = STANDARD.decode(&self.ca_bundle).ok().and_then(|pem| String::from_utf8(pem).ok());
        match decoded.filter(|pem| pem.contains("-----BEGIN CERTIFICATE-----")) {
            Some(pem) => Ok(Some(pem)),
            None => {
                let what = "'ca-cert-bundle' of GARM is not base64 of certificates";
                Err(Error::new(Code::ProviderCallUnfit, what).unchanged())
            }
        }
    }

    /// The runner for this guest among those that can be downloaded.
    ///
    /// # Errors
    /// [`Code::ProviderCallUnfit`] if there is none.
    pub fn find_tool(&self) -> Result<&RunnerTool, Error> {
        let github_arch = if self.arch == "amd64" { "x64" } else { &self.arch };
        let fits = |tool: &&RunnerTool| tool.os == "linux" && tool.architecture == github_arch;
        self.tools.iter().find(fits).filter(|tool| !tool.download_url.is_empty()).ok_or_else(|| {
            let what = format!("GARM names no runner to download for linux on {}", escape_unseen(&self.arch));
            Error::new(Code::ProviderCallUnfit, what).unchanged()
        })
    }
}

fn category(error: &serde_json::Error) -> &'static str {
    match error.classify() {
        serde_json::error::Category::Eof => "it ends too early",
        serde_json::error::Category::Data => "a value has the wrong type",
        serde_json::error::Category::Syntax | serde_json::error::Category::Io => "not JSON",
    }
}

/// Reads a value that may be `null`.
fn or_default<'de, T: Deserialize<'de> + Default, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_lists_and_unknown_keys_are_accepted() {
        let text = br#"{"name": "garm-1", "tools": null, "ssh-keys": null, "labels": null, "ca-cert-bundle": null,
            "user_data_options": {"extra_packages": null}, "new_in_2027": {"x": [1]}, "extra_specs": {"vcpus": 2}}"#;
        let read = BootstrapInstance::from_json(text).unwrap();
        assert_eq!((read.name.as_str(), read.tools.len(), read.labels.len()), ("garm-1", 0, 0));
        assert_eq!(read.extra_specs["vcpus"], 2);
        assert_eq!(read.ca_certificates().unwrap(), None);
    }

    #[test]
    fn faults_are_said_without_the_token() {
        for (text, said) in [
            (&b""[..], "ends too early"),
            (b"{\"name\": \"x\"", "ends too early"),
            (b"[]", "'name' is missing"),
            (b"{\"instance-token\": [\"SECRET\"], \"name\": \"x\"}", "wrong type"),
            (b"nope SECRET", "not JSON"),
            (b"{\"instance-token\": \"SECRET\"}", "'name' is missing"),
        ] {
            let error = BootstrapInstance::from_json(text).unwrap_err().to_string();
            assert!(error.contains(said) && !error.contains("SECRET"), "{error}");
        }
    }

    #[test]
    fn tool_is_the_one_for_the_guest() {
        let tool = |os: &str, architecture: &str, url: &str| RunnerTool {
            os: os.into(),
            architecture: architecture.into(),
            download_url: url.into(),
            ..Default::default()
        };
        let tools = vec![tool("win", "x64", "w"), tool("linux", "arm64", "a"), tool("linux", "x64", "l")];
        let mut asked = BootstrapInstance { arch: "amd64".into(), tools, ..Default::default() };
        assert_eq!(asked.find_tool().unwrap().download_url, "l");
        asked.arch = "arm64".into();
        assert_eq!(asked.find_tool().unwrap().download_url, "a");
        asked.arch = "arm".into();
        assert!(asked.find_tool().is_err());
    }
}
