//! Finds out how to log in to a guest over SSH: user, address, host keys, and the way through a remote host.

use std::net::{IpAddr, SocketAddr};

use uuid::Uuid;

use super::inspect::list_addresses;
use super::lookup::{find_vm_to_show, vm_not_found};
use super::ssh_greeting::{SshGreeting, read_greeting};
use crate::Context;
use crate::vm::handle::read_own_record;
use foundry_core::error::{Advice, Code, Error, Kind, Verb};
use foundry_core::manifest::VirtualMachine;
use foundry_core::record::{HostKey, Owner, Record};
use foundry_core::ssh::{SshAlias, SshLogin, SshUser};
use foundry_host::{Domain, DomainState, ssh_host_of};

/// A guest, and how to log in to it.
#[derive(Debug, Clone, PartialEq)]
pub struct GuestLogin {
    /// The VM's name.
    pub vm: String,
    /// The domain's UUID.
    pub uuid: Uuid,
    /// How to log in.
    pub ssh: SshLogin,
}

/// Finds out how to log in to a running guest, as `user` or as the user with the seed's keys. A domain that foundry did
/// not create has no recorded host keys.
///
/// # Errors
/// [`foundry_core::error::Kind::Vm`] if there is no such VM, it is not running, it has no known address, or its record
/// cannot be read: without it the host keys are not known.
pub fn find_guest_login(context: &Context, name: &str, user: Option<&str>) -> Result<GuestLogin, Error> {
    let domain = find_running(context, name)?;
    login_of(context, &domain, user)
}

impl GuestLogin {
    /// Whether an SSH server answers. Through another host this cannot be seen, and true is returned.
    pub fn answers_ssh(&self) -> bool {
        let at = SocketAddr::new(self.ssh.address, 22);
        self.ssh.jump.is_some() || matches!(read_greeting(at), SshGreeting::Ssh)
    }
}

/// Finds a VM whose guest is running.
///
/// # Errors
/// [`foundry_core::error::Kind::Vm`] if there is no such VM, it is off, or its guest is not executing.
pub(crate) fn find_running(context: &Context, name: &str) -> Result<Domain, Error> {
    let Some(domain) = find_vm_to_show(context, name)? else { return Err(vm_not_found(context, name)?) };
    let code = match domain.state {
        state if state.is_executing() => return Ok(domain),
        DomainState::ShutOff => Code::GuestOff,
        _ => Code::GuestPaused,
    };
    let error = Error::new(code, format!("the guest of VM '{}' is not running", domain.name));
    let error = match domain.why.to_sentence(domain.state) {
        Some(why) => error.because(why),
        None => error,
    };
    let vm = domain.command_name();
    Err(match code {
        Code::GuestOff => error.hint(Advice::from(Verb::Start { vm }).text(" starts it")),
        _ => error,
    })
}

/// Finds out how to log in to each of the named VMs, or to all VMs of foundry. Also returns, for all VMs, why some are
/// left out. A VM that is off is included if its address is fixed.
///
/// # Errors
/// As [`find_guest_login`] for a named VM, except that it need not be running.
pub fn list_guest_logins(
    context: &Context,
    names: &[String],
) -> Result<(Vec<GuestLogin>, Vec<Error>), Error> {
    if names.is_empty() {
        let mut domains = context.host.domains(false)?;
        domains.sort_by(|a, b| a.name.cmp(&b.name));
        domains.retain(|domain| matches!(domain.owner(), Owner::Foundry(_)));
        let (mut found, mut left_out) = (Vec::new(), Vec::new());
        for domain in &domains {
            match login_of(context, domain, None) {
                Ok(login) => found.push(login),
                Err(lost) if lost.kind() == Kind::Connection => return Err(lost),
                Err(reason) => left_out.push(reason),
            }
        }
        return Ok((found, left_out));
    }
    let login = |name: &String| match find_vm_to_show(context, name)? {
        Some(domain) => login_of(context, &domain, None),
        None => Err(vm_not_found(context, name)?),
    };
    Ok((names.iter().map(login).collect::<Result<_, _>>()?, Vec::new()))
}

fn login_of(context: &Context, domain: &Domain, user: Option<&str>) -> Result<GuestLogin, Error> {
    let record = match domain.owner() {
        Owner::Foreign | Owner::FirstFoundry(_) => None,
        _ => Some(read_own_record(domain)?),
    };
    let user = match user {
        Some(user) => SshUser::parse(user)?,
        None => SshUser::parse(&recorded_user(record.as_ref()))?,
    };
    let alias = SshAlias::parse(&domain.name).or_else(|| SshAlias::parse(&domain.uuid.to_string()));
    let alias = alias.ok_or_else(|| no_address_error(&domain.name))?;
    let ssh = SshLogin {
        alias,
        address: find_address(context, domain, record.as_ref())?,
        user,
        host_keys: recorded_host_keys(domain, record.as_ref())?,
        jump: ssh_host_of(context.host.uri())?,
    };
    Ok(GuestLogin { vm: domain.name.clone(), uuid: domain.uuid, ssh })
}

fn find_address(context: &Context, domain: &Domain, record: Option<&Record>) -> Result<IpAddr, Error> {
    let foreign = VirtualMachine::default();
    let manifest = record.map_or(&foreign, |record| &record.manifest);
    let known = list_addresses(context, domain, manifest, false)?;
    known.iter().find_map(|found| found.address.parse().ok()).ok_or_else(|| no_address_error(&domain.name))
}

fn no_address_error(vm: &str) -> Error {
    Error::new(Code::AddressUnknown, format!("no address of VM '{vm}' is known")).because(
        "its manifest has none, and neither a DHCP lease, its guest agent nor the ARP table shows one",
    )
}

/// The recorded host keys. A record with a damaged key is not treated like one without keys: ssh would then trust any.
fn recorded_host_keys(domain: &Domain, record: Option<&Record>) -> Result<Vec<HostKey>, Error> {
    let recorded = record.and_then(|record| record.ssh.as_ref()).map(|ssh| ssh.host_keys.as_slice());
    let parse = |text: &String| {
        HostKey::parse(text).ok_or_else(|| {
            let message = format!("the record of VM '{}' has an SSH host key that is none", domain.name);
            Error::new(Code::RecordUnreadable, message).because("somebody changed the domain's metadata")
        })
    };
    recorded.unwrap_or_default().iter().map(parse).collect()
}

/// The user with the seed's keys; else the image's own user, which the image's name tells; else root.
fn recorded_user(record: Option<&Record>) -> String {
    let Some(record) = record else { return "root".into() };
    match &record.ssh {
        Some(ssh) => match &ssh.user {
            Some(user) => user.clone(),
            None => user_of_image(record.image.as_deref().unwrap_or_default()).into(),
        },
        // Older records: the generated user-data has root.
        None => "root".into(),
    }
}

/// Default users of distributions' cloud images (`system_info.default_user` in their cloud.cfg), by the beginning of
/// the image's name.
const IMAGE_USERS: [(&str, &str); 12] = [
    ("debian", "debian"),
    ("ubuntu", "ubuntu"),
    ("fedora", "fedora"),
    ("almalinux", "almalinux"),
    ("rocky", "rocky"),
    ("centos-stream", "cloud-user"),
    ("centos", "centos"),
    ("rhel", "cloud-user"),
    ("opensuse", "opensuse"),
    ("archlinux", "arch"),
    ("arch-linux", "arch"),
    ("alpine", "alpine"),
];

fn user_of_image(image: &str) -> &'static str {
    let name = image.rsplit(['/', ':']).next().unwrap_or_default().to_ascii_lowercase();
    IMAGE_USERS.iter().find(|(begin, _)| name.starts_with(begin)).map_or("root", |(_, user)| user)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn image_name_tells_the_user() {
        for (image, user) in [
            ("foundry-images:debian-12.qcow2", "debian"),
            ("/srv/Rocky-9-GenericCloud.qcow2", "rocky"),
            ("centos-stream-9.qcow2", "cloud-user"),
            ("golden.qcow2", "root"),
            ("", "root"),
        ] {
            assert_eq!(user_of_image(image), user, "{image}");
        }
    }
}
