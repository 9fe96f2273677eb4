//! What GARM asks for, in its environment variables.

use std::fmt;
use std::path::PathBuf;

use foundry_core::error::{Code, Error};
use foundry_core::names::find_nearest;
use foundry_core::text::escape_unseen;

use crate::INTERFACE_VERSIONS;

/// Declares the commands of GARM, each with its name on the wire.
macro_rules! commands {
    ($($(#[$doc:meta])* $name:ident)*) => {
        /// A command of GARM's interface, `GARM_COMMAND`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum GarmCommand {
            $($(#[$doc])* $name,)*
        }

        impl GarmCommand {
            /// All commands.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Returns the name of the command on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }
        }
    };
}

commands! {
    /// Make a runner's VM and start it.
    CreateInstance
    /// Delete a runner's VM with its disks. One that does not exist is no error.
    DeleteInstance
    /// Show a runner's VM.
    GetInstance
    /// List the VMs of a pool.
    ListInstances
    /// Delete all VMs of the controller.
    RemoveAllInstances
    /// Start a VM that was stopped.
    StartInstance
    /// Stop a VM by force.
    StopInstance
    /// Print the version of the provider.
    GetVersion
    /// Print the versions of the interface, since v0.1.1 of it.
    GetSupportedInterfaceVersions
    /// Check the settings of a pool, since v0.1.1.
    ValidatePoolInfo
    /// Print the schema of the configuration, since v0.1.1.
    GetConfigJSONSchema
    /// Print the schema of a pool's `extra_specs`, since v0.1.1.
    GetExtraSpecsJSONSchema
}

impl fmt::Display for GarmCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One call of GARM, as its environment describes it. What the command needs is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderCall {
    /// What to do.
    pub command: GarmCommand,
    /// The controller that calls, a UUID. Empty only for commands that touch no VM.
    pub controller: String,
    /// The pool, a UUID, or the number of a scale set. In v0.1.0 only creating and listing have one.
    pub pool: Option<String>,
    /// The instance: the UUID of its domain or the runner's name. Empty if the command has none.
    pub instance: String,
    /// The configuration file. Its absence is an error where it is read.
    config: Option<PathBuf>,
    /// The pool's `extra_specs` as they came, since v0.1.1.
    pub extra_specs: String,
}

impl ProviderCall {
    /// Reads a call from the environment.
    ///
    /// # Errors
    /// [`Code::ProviderCallUnfit`] if a variable that the command needs is missing, or says what foundry does not know.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let filled = |name: &str| variable(name).filter(|value| !value.is_empty());
        let version = filled("GARM_INTERFACE_VERSION");
        if let Some(unknown) = version.as_deref().filter(|version| !INTERFACE_VERSIONS.contains(version)) {
            let what = format!("GARM's interface {} is unknown", escape_unseen(unknown));
            return Err(Error::new(Code::ProviderCallUnfit, what)
                .hint(format!(
                    "set interface_version to \"{}\" in GARM's configuration",
                    INTERFACE_VERSIONS[0]
                ))
                .unchanged());
        }
        let needed = |name: &str| filled(name).ok_or_else(|| missing_variable(name));
        let command = parse_command(&needed("GARM_COMMAND")?)?;
        let call = Self {
            command,
            controller: if command.touches_vms() { needed("GARM_CONTROLLER_ID")? } else { String::new() },
            pool: if command.needs_pool() { Some(needed("GARM_POOL_ID")?) } else { filled("GARM_POOL_ID") },
            instance: if command.needs_instance() { needed("GARM_INSTANCE_ID")? } else { String::new() },
            config: filled("GARM_PROVIDER_CONFIG_FILE").map(PathBuf::from),
            extra_specs: filled("GARM_POOL_EXTRASPECS").unwrap_or_default(),
        };
        Ok(call)
    }

    /// The configuration file.
    ///
    /// # Errors
    /// [`Code::ProviderCallUnfit`] if GARM named none.
    pub fn config_file(&self) -> Result<&PathBuf, Error> {
        self.config.as_ref().ok_or_else(|| {
            missing_variable("GARM_PROVIDER_CONFIG_FILE")
                .hint("set config_file in [provider.external] of GARM's configuration")
        })
    }
}

impl GarmCommand {
    /// Whether it shows or changes VMs.
    pub fn touches_vms(self) -> bool {
        self.needs_instance()
            || matches!(self, Self::CreateInstance | Self::ListInstances | Self::RemoveAllInstances)
    }

    fn needs_pool(self) -> bool {
        matches!(self, Self::CreateInstance | Self::ListInstances)
    }

    fn needs_instance(self) -> bool {
        matches!(self, Self::GetInstance | Self::DeleteInstance | Self::StartInstance | Self::StopInstance)
    }
}

fn parse_command(name: &str) -> Result<GarmCommand, Error> {
    let known = GarmCommand::ALL.iter();
    known.clone().find(|command| command.as_str() == name).copied().ok_or_else(|| {
        let error =
            Error::new(Code::ProviderCallUnfit, format!("GARM_COMMAND '{}' is unknown", escape_unseen(name)));
        let error = error.unchanged();
        match find_nearest(name, known.map(|command| command.as_str())) {
            Some(near) => error.hint(format!("did you mean {near}?")),
            None => error,
        }
    })
}

fn missing_variable(name: &str) -> Error {
    Error::new(Code::ProviderCallUnfit, format!("{name} is not set"))
        .because("GARM sets it when it calls its provider")
        .unchanged()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<ProviderCall, Error> {
        ProviderCall::from_environment(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn each_command_needs_what_garm_gives_it() {
        let all = [("GARM_CONTROLLER_ID", "c"), ("GARM_POOL_ID", "p"), ("GARM_INSTANCE_ID", "i")];
        for command in GarmCommand::ALL {
            let command_variable = [("GARM_COMMAND", command.as_str())];
            assert_eq!(read(&[&command_variable[..], &all].concat()).unwrap().command, *command);
            for (missing, _) in all {
                let given: Vec<_> = all.iter().copied().filter(|(name, _)| *name != missing).collect();
                let is_needed = match missing {
                    "GARM_CONTROLLER_ID" => command.touches_vms(),
                    "GARM_POOL_ID" => ["CreateInstance", "ListInstances"].contains(&command.as_str()),
                    _ => ["Get", "Delete", "Start", "Stop"]
                        .iter()
                        .any(|verb| command.as_str() == format!("{verb}Instance")),
                };
                let outcome = read(&[&command_variable[..], &given].concat());
                assert_eq!(outcome.is_err(), is_needed, "{command} without {missing}: {outcome:?}");
                if let Err(error) = outcome {
                    assert!(error.to_string().contains(missing), "{error}");
                }
            }
        }
    }

    #[test]
    fn unknown_words_are_named() {
        let error = read(&[("GARM_COMMAND", "CreateInstances")]).unwrap_err();
        assert!(error.to_string().contains("'CreateInstances' is unknown"), "{error}");
        assert!(format!("{:?}", error.advice()).contains("CreateInstance"), "{error:?}");
        let error = read(&[("GARM_COMMAND", "GetVersion"), ("GARM_INTERFACE_VERSION", "v9\u{1b}[2J")]);
        assert!(!error.unwrap_err().to_string().contains('\u{1b}'));
        assert!(read(&[]).unwrap_err().to_string().contains("GARM_COMMAND is not set"));
        assert!(read(&[("GARM_COMMAND", "")]).unwrap_err().to_string().contains("GARM_COMMAND is not set"));
    }

    #[test]
    fn configuration_is_missed_only_where_it_is_read() {
        let call = read(&[("GARM_COMMAND", "GetVersion"), ("GARM_INTERFACE_VERSION", "v0.1.1")]).unwrap();
        assert!(call.config_file().unwrap_err().to_string().contains("GARM_PROVIDER_CONFIG_FILE"));
    }
}
