//! The input that OpenSSH needs for a login to a guest: options, blocks of ssh_config(5), lines of known_hosts.
//!
//! Names, users and addresses come from hosts, records and command lines. Each is checked before it becomes an option:
//! none begins with `-`, and none contains what ssh or a shell would interpret.

use std::net::IpAddr;

use crate::error::{Code, Error, Kind};
use crate::record::HostKey;
use crate::text::escape_unseen;

/// How to log in to a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshLogin {
    /// The name of the guest for ssh, and its name in known_hosts.
    pub alias: SshAlias,
    /// The guest's address.
    pub address: IpAddr,
    /// The user in the guest.
    pub user: SshUser,
    /// The guest's public host keys. Without any, ssh notes the key of the first login.
    pub host_keys: Vec<HostKey>,
    /// The host of libvirt, if the guest is reached through it.
    pub jump: Option<JumpHost>,
}

impl SshLogin {
    /// Returns the options of ssh_config(5), in order. `known_hosts` is a file with [`SshLogin::known_hosts`].
    ///
    /// # Errors
    /// If the path of the file cannot be written in an option.
    pub fn options(&self, known_hosts: &str) -> Result<Vec<(&'static str, String)>, Error> {
        let checking = if self.host_keys.is_empty() { "accept-new" } else { "yes" };
        let mut options = vec![
            ("HostName", self.address.to_string()),
            ("User", self.user.0.clone()),
            ("HostKeyAlias", self.alias.0.clone()),
            ("UserKnownHostsFile", quote_path(known_hosts)?),
            // A key that the system's file has for the same name is another machine's.
            ("GlobalKnownHostsFile", "/dev/null".into()),
            ("StrictHostKeyChecking", checking.into()),
            // Otherwise a guest could add keys to the file.
            ("UpdateHostKeys", "no".into()),
            ("CheckHostIP", "no".into()),
        ];
        options.extend(self.jump.as_ref().map(JumpHost::option));
        Ok(options)
    }

    /// Returns the lines of known_hosts for this guest (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT").
    pub fn known_hosts(&self) -> String {
        self.host_keys.iter().map(|key| format!("{} {key}\n", self.alias.0)).collect()
    }

    /// Returns a block of ssh_config(5).
    ///
    /// # Errors
    /// As [`SshLogin::options`].
    pub fn config_block(&self, known_hosts: &str) -> Result<String, Error> {
        let options = self.options(known_hosts)?;
        let lines: String = options.iter().map(|(name, value)| format!("  {name} {value}\n")).collect();
        Ok(format!("Host {}\n{lines}", self.alias.0))
    }
}

/// A name that ssh takes for a host, and that is no pattern of ssh_config(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshAlias(String);

impl SshAlias {
    /// Accepts letters, digits, `.`, `_` and `-`, beginning with a letter or digit.
    pub fn parse(name: &str) -> Option<Self> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let is_fit = name.len() <= 255
            && name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.chars().all(is_plain);
        is_fit.then(|| Self(name.to_owned()))
    }

    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A user name that is no option and that no shell interprets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshUser(String);

impl SshUser {
    /// Accepts letters, digits, `.`, `_`, `-`, `+` and `@`, beginning with a letter, a digit or `_`.
    ///
    /// # Errors
    /// [`Kind::Validation`] for another name.
    pub fn parse(name: &str) -> Result<Self, Error> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-+@".contains(c);
        let is_fit = name.len() <= 255
            && name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            && name.chars().all(is_plain);
        if is_fit {
            return Ok(Self(name.to_owned()));
        }
        Err(Error::new(Code::TextUnfit, format!("'{}' is no user name for SSH", escape_unseen(name)))
            .because("it must be letters, digits and ._-+@, beginning with a letter, a digit or _"))
    }

    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A host that ssh connects through.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JumpHost {
    /// The user there, if the URI names one.
    pub user: Option<String>,
    /// Its name or address; an IPv6 address without brackets.
    pub host: String,
    /// Its port, if it is not ssh's default.
    pub port: Option<u16>,
    /// A file with the private key for it.
    pub key_file: Option<String>,
    /// Whether the URI asks not to check its host key. An unknown key is then noted, but a changed one is refused.
    pub is_unverified: bool,
}

impl JumpHost {
    /// Checks the parts: host and user must be no option, and contain nothing that a shell interprets.
    ///
    /// # Errors
    /// [`Kind::Configuration`] otherwise.
    pub fn check(self) -> Result<Self, Error> {
        let is_name = |text: &str, others: &str| {
            text.starts_with(|c: char| c.is_ascii_alphanumeric() || "_:".contains(c))
                && text.chars().all(|c| c.is_ascii_alphanumeric() || others.contains(c))
        };
        let is_fit = is_name(&self.host, "._-:")
            && self.user.as_ref().is_none_or(|user| SshUser::parse(user).is_ok())
            && self.key_file.as_ref().is_none_or(|file| !file.chars().any(char::is_control));
        if is_fit {
            return Ok(self);
        }
        let message = "the guest cannot be reached through the host of the connection";
        Err(Error::new(Kind::Configuration, message)
            .because("its user, name or key file contains characters that ssh would interpret"))
    }

    /// `ProxyJump` has no place for a key file, so such a host becomes a `ProxyCommand`, which a shell runs.
    fn option(&self) -> (&'static str, String) {
        if self.key_file.is_none() && !self.is_unverified {
            let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
            let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
            return ("ProxyJump", format!("{}{host}{port}", self.user_prefix()));
        }
        let words = quote_command(&self.ssh_arguments()).replace('%', "%%");
        ("ProxyCommand", format!("ssh -W '[%h]:%p' {words}"))
    }

    /// The arguments of ssh(1) that name this host, and how to log in to it. A command may follow.
    pub fn ssh_arguments(&self) -> Vec<String> {
        let mut words = Vec::new();
        if let Some(file) = &self.key_file {
            words.extend(["-i".to_owned(), file.clone()]);
        }
        if let Some(port) = self.port {
            words.extend(["-p".to_owned(), port.to_string()]);
        }
        if self.is_unverified {
            words.extend(["-o".to_owned(), "StrictHostKeyChecking=accept-new".to_owned()]);
        }
        words.extend(["--".to_owned(), format!("{}{}", self.user_prefix(), self.host)]);
        words
    }

    /// `USER@`, if the URI names a user.
    fn user_prefix(&self) -> String {
        self.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default()
    }
}

/// Quotes the words of a command for a POSIX shell, which sshd runs: each stays one word, whatever it contains.
pub fn quote_command(words: &[String]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./_-".contains(c);
    let quoted = words.iter().map(|word| match word.is_empty() || !word.chars().all(plain) {
        true => format!("'{}'", word.replace('\'', r"'\''")),
        false => word.clone(),
    });
    quoted.collect::<Vec<_>>().join(" ")
}

/// Quotes a path for a value of ssh_config(5), which interprets `%`, `${` and quotes.
fn quote_path(path: &str) -> Result<String, Error> {
    if path.is_empty() || path.chars().any(|c| c.is_control() || "\"$\\'".contains(c)) {
        let message = format!("ssh cannot be told the path {}", escape_unseen(path));
        return Err(Error::new(Kind::Configuration, message)
            .because("it contains a quote, a backslash or a $")
            .hint("set XDG_STATE_HOME to a directory without these"));
    }
    let path = path.replace('%', "%%");
    Ok(if path.contains([' ', '#', '=']) { format!("\"{path}\"") } else { path })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEscSspP1mQ9axbaNwKeA7IUiQVnqhBeWjqy42RO5udD";

    fn login() -> SshLogin {
        SshLogin {
            alias: SshAlias::parse("web").unwrap(),
            address: "10.20.30.40".parse().unwrap(),
            user: SshUser::parse("root").unwrap(),
            host_keys: vec![HostKey::parse(KEY).unwrap()],
            jump: None,
        }
    }

    fn option(login: &SshLogin, name: &str) -> Option<String> {
        login.options("/s/k").unwrap().into_iter().find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    #[test]
    fn known_key_is_required_and_an_unknown_one_is_noted_once() {
        let login = login();
        assert_eq!(login.known_hosts(), format!("web {KEY}\n"));
        assert_eq!(option(&login, "StrictHostKeyChecking").as_deref(), Some("yes"));
        let unknown = SshLogin { host_keys: Vec::new(), ..login };
        assert_eq!(unknown.known_hosts(), "");
        assert_eq!(option(&unknown, "StrictHostKeyChecking").as_deref(), Some("accept-new"));
    }

    #[test]
    fn names_that_ssh_would_interpret_are_refused() {
        for name in
            ["-oProxyCommand=reboot", "", "a b", "a*", "!a", "a,b", "a;b", "$(a)", "a\nb", "a`b`", "ä"]
        {
            assert!(SshAlias::parse(name).is_none(), "{name:?}");
            assert!(SshUser::parse(name).is_err(), "{name:?}");
            let jump = JumpHost { host: name.into(), ..JumpHost::default() };
            assert!(jump.check().is_err(), "{name:?}");
            let jump = JumpHost { host: "hv1".into(), user: Some(name.into()), ..JumpHost::default() };
            assert!(jump.check().is_err(), "{name:?}");
        }
        assert!(SshUser::parse("cloud-user").is_ok() && SshAlias::parse("web-1.example_x").is_some());
    }

    #[test]
    fn remote_host_is_jumped_through() {
        let through = |jump: JumpHost| {
            let login = SshLogin { jump: Some(jump.check().unwrap()), ..login() };
            login.options("/s/k").unwrap().pop().unwrap()
        };
        let plain = JumpHost { user: Some("root".into()), host: "hv1".into(), ..JumpHost::default() };
        assert_eq!(through(plain.clone()), ("ProxyJump", "root@hv1".into()));
        let v6 = JumpHost { host: "fd00::1".into(), port: Some(2222), ..JumpHost::default() };
        assert_eq!(through(v6), ("ProxyJump", "[fd00::1]:2222".into()));
        let keyed =
            JumpHost { key_file: Some("/k/it's 5%".into()), is_unverified: true, port: Some(2), ..plain };
        let command =
            r"ssh -W '[%h]:%p' -i '/k/it'\''s 5%%' -p 2 -o StrictHostKeyChecking=accept-new -- root@hv1";
        assert_eq!(through(keyed), ("ProxyCommand", command.into()));
    }

    #[test]
    fn words_of_a_command_stay_words() {
        let words = ["printf", "%s|", "", "a b", "it's", "$HOME", "a\nb", "-n"].map(str::to_owned);
        let command = quote_command(&words);
        let ran = std::process::Command::new("sh").args(["-c", &command]).output().unwrap();
        assert_eq!(String::from_utf8(ran.stdout).unwrap(), "|a b|it's|$HOME|a\nb|-n|", "{command}");
    }

    #[test]
    fn block_has_one_line_for_each_option() {
        let block = login().config_block("/home/a b/100%").unwrap();
        assert!(block.starts_with("Host web\n  HostName 10.20.30.40\n  User root\n"), "{block}");
        assert!(block.contains("  UserKnownHostsFile \"/home/a b/100%%\"\n"), "{block}");
        for path in ["", "/a\"b", "/a$b", "/a\nb", "/a\\b"] {
            assert!(login().config_block(path).is_err(), "{path:?}");
        }
    }
}
