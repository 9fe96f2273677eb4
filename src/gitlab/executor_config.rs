//! The executor's configuration file: the VMs that jobs get, and how scripts run in them.

use std::time::Duration;

use serde::Deserialize;

use crate::image_rules::ImageRules;
use foundry_core::domain_xml::check_patch;
use foundry_core::error::{Code, Error};
use foundry_core::manifest::{API_VERSION, KIND, Metadata, Spec, VirtualMachine, load_with_spec};
use foundry_core::plan::{Defaults, Problem, Problems, VmPlan};
use foundry_core::ssh::SshUser;
use foundry_core::units::parse_duration;
use foundry_engine::vm::wait::Goal;

/// The longest prefix of names: a number of up to 20 digits follows, and a VM's name has at most 63 characters.
const LONGEST_PREFIX: usize = 40;

/// The file as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct ExecutorFields {
    template: Option<Spec>,
    images: Vec<String>,
    name_prefix: Option<String>,
    user: Option<String>,
    shell: Option<String>,
    builds_dir: Option<String>,
    cache_dir: Option<String>,
    wait_for: Option<String>,
    start_timeout: Option<String>,
    job_timeout: Option<String>,
}

/// The executor's configuration, validated.
#[derive(Debug, Clone, PartialEq)]
pub struct ExecutorConfig {
    /// The VM of a job, without the image that the job names.
    pub template: Spec,
    /// The images that a job may name.
    pub images: ImageRules,
    /// The beginning of the names of VMs. It also tells the VMs of one executor from those of another.
    pub name_prefix: String,
    /// The user in the guest that runs the scripts.
    pub user: String,
    /// The shell that runs them, for which GitLab Runner writes them.
    pub shell: ScriptShell,
    /// The directory in the guest for the project.
    pub builds_dir: String,
    /// The directory in the guest for the cache.
    pub cache_dir: String,
    /// What to wait for before the guest's shell is tried.
    pub wait_for: Goal,
    /// How long a VM may take until its shell answers.
    pub start_timeout: Duration,
    /// How long a job may take if GitLab does not say it.
    pub job_timeout: Duration,
}

/// A shell that runs a job's scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScriptShell {
    /// GNU Bash.
    Bash,
    /// The POSIX shell.
    Sh,
}

impl ScriptShell {
    /// Its name for GitLab Runner, and that of its program.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bash => "bash",
            Self::Sh => "sh",
        }
    }
}

impl ExecutorConfig {
    /// Reads a configuration. `file` is its name in messages; `defaults` are those of all VMs.
    ///
    /// # Errors
    /// All problems at once: unknown fields and wrong types, or else wrong and missing values.
    pub fn parse(text: &str, file: &str, defaults: &Defaults) -> Result<Self, Error> {
        let fields: ExecutorFields = load_with_spec(text, file, "template").map_err(Error::from)?;
        let mut judge = ConfigJudge::default();
        let config = judge.check_fields(fields, defaults);
        match judge.problems.is_empty() {
            true => Ok(config),
            false => Err(Problems { subject: file.to_owned(), list: judge.problems }.into()),
        }
    }
}

/// Collects problems. A wrong value is replaced by its default, so that all are found.
#[derive(Default)]
struct ConfigJudge {
    problems: Vec<Problem>,
}

impl ConfigJudge {
    fn check_fields(&mut self, fields: ExecutorFields, defaults: &Defaults) -> ExecutorConfig {
        let template = fields.template.unwrap_or_else(|| {
            self.add("template", None, Code::ValueMissing, "is required: a VM as in 'spec' of a manifest");
            Spec::default()
        });
        if !self.problems.iter().any(|problem| problem.path == "template") {
            self.check_template(&template, defaults);
        }
        ExecutorConfig {
            template,
            images: self.check_images(fields.images),
            name_prefix: self.check_prefix(fields.name_prefix),
            user: self.check_user(fields.user),
            shell: self.check_shell(fields.shell.as_deref()),
            builds_dir: self.check_directory("buildsDir", fields.builds_dir, "/builds"),
            cache_dir: self.check_directory("cacheDir", fields.cache_dir, "/cache"),
            wait_for: self.check_goal(fields.wait_for.as_deref()),
            start_timeout: self.check_duration("startTimeout", fields.start_timeout, "5m"),
            job_timeout: self.check_duration("jobTimeout", fields.job_timeout, "1h"),
        }
    }

    fn add(&mut self, path: &str, value: Option<&str>, code: Code, message: &str) {
        self.problems.push(Problem {
            path: path.to_owned(),
            value: value.map(str::to_owned),
            message: message.to_owned(),
            code,
            advice: None,
        });
    }

    /// Plans a VM of the template, and refuses what several VMs cannot have at once.
    fn check_template(&mut self, template: &Spec, defaults: &Defaults) {
        for (index, interface) in template.network_interfaces.iter().enumerate() {
            let fixed = [("ip", interface.ip.as_ref()), ("macAddress", interface.mac_address.as_ref())];
            let first = interface.addresses.first();
            for (field, value) in fixed.into_iter().chain([("addresses", first)]) {
                if let Some(value) = value {
                    let path = format!("template.networkInterfaces[{index}].{field}");
                    let message =
                        "would be the same for each job's VM; leave it out, and the guest uses DHCP";
                    self.add(&path, Some(value), Code::AddressTwice, message);
                }
            }
        }
        if template.cloud_init.as_ref().is_some_and(|seed| seed.raw_user_data.is_some()) {
            let message = "would replace the job's key; write it as userData";
            self.add("template.cloudInit.rawUserData", None, Code::Contradiction, message);
        }
        let specimen = VirtualMachine {
            api_version: API_VERSION.to_owned(),
            kind: KIND.to_owned(),
            metadata: Metadata { name: Some("template".to_owned()), ..Metadata::default() },
            spec: template.clone(),
            status: None,
        };
        let plan =
            VmPlan::from_manifest(&specimen, defaults).and_then(|plan| check_patch(&plan).map(|()| plan));
        if let Err(found) = plan {
            let renamed = |problem: Problem| Problem {
                path: match problem.path.strip_prefix("spec") {
                    Some(rest) => format!("template{rest}"),
                    None => problem.path,
                },
                ..problem
            };
            self.problems.extend(found.list.into_iter().map(renamed));
        }
    }

    fn check_images(&mut self, patterns: Vec<String>) -> ImageRules {
        ImageRules::new(patterns.clone()).unwrap_or_else(|index| {
            let message = "is not the name of an image, nor a pattern with * and ?";
            let value = patterns.get(index).map(String::as_str);
            self.add(&format!("images[{index}]"), value, Code::ImageNameUnfit, message);
            ImageRules::default()
        })
    }

    fn check_prefix(&mut self, prefix: Option<String>) -> String {
        let Some(prefix) = prefix else { return "gitlab".to_owned() };
        let is_edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let is_fit = prefix.len() <= LONGEST_PREFIX
            && prefix.starts_with(is_edge)
            && prefix.chars().all(|c| is_edge(c) || c == '-' || c == '_');
        if !is_fit {
            let message =
                "must be 1 to 40 characters of a-z, 0-9, '-' and '_', beginning with a letter or digit";
            self.add("namePrefix", Some(&prefix), Code::NameUnfit, message);
        }
        prefix
    }

    fn check_user(&mut self, user: Option<String>) -> String {
        let Some(user) = user else { return "root".to_owned() };
        if SshUser::parse(&user).is_err() {
            self.add("user", Some(&user), Code::TextUnfit, "is not a user name");
        }
        user
    }

    fn check_shell(&mut self, shell: Option<&str>) -> ScriptShell {
        match shell {
            None | Some("bash") => ScriptShell::Bash,
            Some("sh") => ScriptShell::Sh,
            Some(other) => {
                self.add("shell", Some(other), Code::WordUnknown, "is unknown; use bash or sh");
                ScriptShell::Bash
            }
        }
    }

    fn check_goal(&mut self, goal: Option<&str>) -> Goal {
        match goal {
            None | Some("ssh") => Goal::Ssh,
            Some("cloud-init") => Goal::CloudInit,
            Some(other) => {
                self.add("waitFor", Some(other), Code::WordUnknown, "is unknown; use ssh or cloud-init");
                Goal::Ssh
            }
        }
    }

    fn check_directory(&mut self, path: &str, directory: Option<String>, default: &str) -> String {
        let directory = directory.unwrap_or_else(|| default.to_owned());
        let parts: Vec<&str> = directory.split('/').skip(1).collect();
        let is_fit = directory.starts_with('/')
            && parts.iter().all(|part| !["", ".", ".."].contains(part))
            && !directory.chars().any(char::is_control);
        if !is_fit {
            let message = "must be a directory in the guest: an absolute path without '.', '..' and '//'";
            self.add(path, Some(&directory), Code::TextUnfit, message);
        }
        directory
    }

    fn check_duration(&mut self, path: &str, text: Option<String>, default: &str) -> Duration {
        let text = text.unwrap_or_else(|| default.to_owned());
        match parse_duration(&text) {
            Ok(time) if !time.is_zero() => time,
            _ => {
                let message = "is not a duration; write 90s, 5m or 1h30m, at most 30 days";
                self.add(path, Some(&text), Code::TextUnfit, message);
                Duration::ZERO
            }
        }
    }
}
