//! The cloud-config of a runner's VM: its user, and the script that installs the runner.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use foundry_core::error::{Code, Error};
use foundry_core::text::quote_for_shell;
use foundry_core::yaml;

use crate::bootstrap::{BootstrapInstance, ProxyConfig};
use crate::extra_specs::ExtraSpecs;
use crate::install_script::write_install_script;

/// The user of the runner, as GARM's metadata service expects it.
const USER: &str = "runner";
/// The groups of that user, as GARM's own providers give them. cloud-init makes those that are missing.
const GROUPS: [&str; 10] =
    ["sudo", "adm", "cdrom", "dialout", "dip", "video", "plugdev", "netdev", "docker", "lxd"];
/// Directory of the scripts that run first.
const SCRIPTS: &str = "/garm-pre-install";
/// The script that installs the runner.
const INSTALL: &str = "/install_runner.sh";

/// Writes the cloud-config, as YAML.
///
/// # Errors
/// [`Code::ProviderCallUnfit`] for a script or a certificate that cannot be read.
pub(crate) fn write_user_data(asked: &BootstrapInstance, specs: &ExtraSpecs) -> Result<String, Error> {
    let install = match specs.install_script()? {
        Some(script) => script,
        None => write_install_script(asked)?,
    };
    let scripts = specs.pre_install_scripts()?;
    let options = &asked.user_data_options;
    let own_packages: &[&str] = if options.disable_updates_on_boot { &[] } else { &["curl", "tar"] };
    let mut packages: Vec<&str> = own_packages.to_vec();
    packages.extend(options.extra_packages.iter().map(String::as_str));
    let mut files: Vec<Value> =
        scripts.iter().map(|(name, text)| script_file(&format!("{SCRIPTS}/{name}"), text)).collect();
    files.push(script_file(INSTALL, &install));
    let mut commands: Vec<Value> =
        scripts.iter().map(|(name, _)| json!([format!("{SCRIPTS}/{name}")])).collect();
    commands.extend([
        json!(["rm", "-rf", SCRIPTS]),
        json!(["su", "-l", "-c", INSTALL, USER]),
        json!(["rm", "-f", INSTALL]),
    ]);
    let mut config = json!({
        "package_upgrade": !options.disable_updates_on_boot,
        "users": [runner_user(&asked.ssh_keys)],
        "write_files": files,
        "runcmd": commands,
    });
    let mut add = |key: &str, value: Value| config[key] = value;
    if !packages.is_empty() {
        add("packages", json!(packages));
    }
    if let Some(pem) = asked.ca_certificates()? {
        add("ca_certs", json!({ "trusted": [pem] }));
    }
    if let Some(command) = set_proxies(&asked.proxy_config) {
        add("bootcmd", json!([["sh", "-c", command]]));
    }
    yaml::write(&config).map_err(|why| {
        Error::new(Code::ProviderCallUnfit, "the user-data cannot be written").because(why).unchanged()
    })
}

/// The user of the runner. An image that has it keeps it.
fn runner_user(ssh_keys: &[String]) -> Value {
    let mut user = json!({
        "name": USER,
        "homedir": format!("/home/{USER}"),
        "shell": "/bin/bash",
        "groups": GROUPS,
        "sudo": "ALL=(ALL) NOPASSWD:ALL",
    });
    if !ssh_keys.is_empty() {
        user["ssh_authorized_keys"] = json!(ssh_keys);
    }
    user
}

fn script_file(path: &str, text: &str) -> Value {
    json!({
        "path": path,
        "owner": "root:root",
        "permissions": "0755",
        "encoding": "b64",
        "content": STANDARD.encode(text),
    })
}

/// A shell command that sets the proxies for all programs, before cloud-init installs packages. It runs at each boot, so
/// it replaces its own lines.
fn set_proxies(proxies: &ProxyConfig) -> Option<String> {
    let ProxyConfig { http_proxy, https_proxy, no_proxy } = proxies;
    if http_proxy.is_empty() && https_proxy.is_empty() {
        return None;
    }
    let named = [("http_proxy", http_proxy), ("https_proxy", https_proxy), ("no_proxy", no_proxy)];
    let lines = named.iter().filter(|(_, value)| !value.is_empty()).flat_map(|(name, value)| {
        [name.to_string(), name.to_uppercase()]
            .map(|name| quote_for_shell(&format!("{name}={value}")).into_owned())
    });
    let lines = lines.collect::<Vec<_>>().join(" ");
    Some(format!(
        "sed -i -E '/^(https?|no)_proxy=/Id' /etc/environment && printf '%s\\n' {lines} >> /etc/environment"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> BootstrapInstance {
        serde_json::from_value(json!({
            "name": "garm-1", "arch": "amd64", "instance-token": "TOKEN",
            "tools": [{"os": "linux", "architecture": "x64", "download_url": "https://x/r.tgz"}],
        }))
        .unwrap()
    }

    fn read(text: &str) -> Value {
        let documents = yaml::read_manifests(text).unwrap();
        yaml::read(&documents.nodes[0]).unwrap()
    }

    fn decoded(file: &Value) -> String {
        String::from_utf8(STANDARD.decode(file["content"].as_str().unwrap()).unwrap()).unwrap()
    }

    #[test]
    fn scripts_run_in_the_order_of_their_names() {
        let specs: ExtraSpecs = serde_json::from_value(json!({
            "pre_install_scripts": {"20-b": STANDARD.encode("echo b"), "10-a": STANDARD.encode("echo a")},
            "runner_install_template": STANDARD.encode("#!/bin/bash\necho install\n"),
        }))
        .unwrap();
        let config = read(&write_user_data(&asked(), &specs).unwrap());
        let paths: Vec<&str> =
            config["write_files"].as_array().unwrap().iter().map(|f| f["path"].as_str().unwrap()).collect();
        assert_eq!(paths, ["/garm-pre-install/10-a", "/garm-pre-install/20-b", "/install_runner.sh"]);
        assert_eq!(decoded(&config["write_files"][2]), "#!/bin/bash\necho install\n");
        assert_eq!(config["runcmd"][0], json!(["/garm-pre-install/10-a"]));
        assert_eq!(config["runcmd"][3], json!(["su", "-l", "-c", "/install_runner.sh", "runner"]));
        assert_eq!(config["packages"], json!(["curl", "tar"]));
    }

    #[test]
    fn without_a_script_of_garm_there_is_one() {
        let config = read(&write_user_data(&asked(), &ExtraSpecs::default()).unwrap());
        let script = decoded(&config["write_files"][0]);
        assert!(script.starts_with("#!/bin/bash\n") && script.contains("TOKEN=TOKEN\n"), "{script}");
    }

    #[test]
    fn wishes_of_garm_are_obeyed() {
        let mut wanted = asked();
        wanted.user_data_options.disable_updates_on_boot = true;
        wanted.user_data_options.extra_packages = vec!["git".into()];
        wanted.ssh_keys = vec!["ssh-ed25519 AAAA".into()];
        wanted.ca_bundle = STANDARD.encode("-----BEGIN CERTIFICATE-----\nx\n");
        wanted.proxy_config.https_proxy = "http://proxy:3128/$(x)".into();
        let config = read(&write_user_data(&wanted, &ExtraSpecs::default()).unwrap());
        assert_eq!(config["package_upgrade"], json!(false));
        assert_eq!(config["packages"], json!(["git"]));
        assert_eq!(config["users"][0]["ssh_authorized_keys"], json!(["ssh-ed25519 AAAA"]));
        assert_eq!(config["ca_certs"]["trusted"][0], json!("-----BEGIN CERTIFICATE-----\nx\n"));
        let command = config["bootcmd"][0][2].as_str().unwrap();
        assert!(command.contains("'https_proxy=http://proxy:3128/$(x)'"), "{command}");
        assert!(!command.contains(" http_proxy="), "{command}");
    }
}
