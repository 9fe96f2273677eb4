//! `foundry cp`

use std::ffi::OsString;
use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::connect::connect_host;
use crate::guest_access::{LoginArgs, without_ssh};
use crate::ssh_client::run_client;
use crate::ui::Ui;
use crate::{Global, interrupt};
use foundry_core::error::{Code, Error};
use foundry_core::text::{describe_io_error, escape_unseen};
use foundry_engine::Context;
use foundry_engine::vm::guest_copy::{copy_from_guest, copy_to_guest};

/// Copy files to or from a VM, over SSH or through its guest agent
///
/// One side is VM:PATH. Over SSH it is scp, and a path that does not begin with / is below the user's home directory.
/// Without an SSH server, the agent copies a single file; its path must begin with /.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry cp site.conf web:/etc/nginx/conf.d/
  foundry cp -r web:/var/log/nginx logs
  foundry cp --agent web:/var/log/cloud-init.log .")]
pub(crate) struct CpArgs {
    /// What to copy: PATH or VM:PATH
    #[arg(value_name = "FROM")]
    from: String,
    /// Where to: PATH or VM:PATH
    #[arg(value_name = "TO")]
    to: String,
    /// Copy a directory with everything in it
    #[arg(short, long)]
    recursive: bool,
    #[command(flatten)]
    login: LoginArgs,
    /// Use the guest agent even if SSH answers
    #[arg(long, conflicts_with_all = ["user", "identity", "recursive"])]
    agent: bool,
}

/// One side of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Here(String),
    Guest { vm: String, path: String },
}

impl Place {
    /// As scp: what is before the first colon is a host, unless a slash comes earlier.
    fn parse(text: &str) -> Self {
        match text.split_once(':') {
            Some((vm, path)) if !vm.is_empty() && !vm.contains('/') => {
                Self::Guest { vm: vm.to_owned(), path: path.to_owned() }
            }
            _ => Self::Here(text.to_owned()),
        }
    }

    /// The side as scp takes it: a local name with a colon, or with a dash at its beginning, is a path.
    fn to_scp(&self, alias: &str) -> OsString {
        match self {
            Self::Guest { path, .. } => format!("{alias}:{path}").into(),
            Self::Here(path) if path.starts_with('/') => path.into(),
            Self::Here(path) => format!("./{path}").into(),
        }
    }
}

pub(super) fn run_cp(args: &CpArgs, global: &Global, ui: &Ui) -> Result<u8, Error> {
    let (from, to) = (Place::parse(&args.from), Place::parse(&args.to));
    let vm = match (&from, &to) {
        (Place::Guest { vm, .. }, Place::Here(_)) | (Place::Here(_), Place::Guest { vm, .. }) => vm,
        _ => {
            return Err(Error::new(Code::TextUnfit, "one side must be a path, and the other one VM:PATH")
                .hint("a local name with a colon is written ./NAME"));
        }
    };
    let context = connect_host(global, ui)?;
    if !args.agent
        && let Some(login) = args.login.find_answering(&context, vm)?
    {
        drop(context);
        let mut arguments = args.login.options(&login)?;
        arguments.extend(args.recursive.then(|| "-r".into()));
        let alias = login.ssh.alias.as_str();
        arguments.extend(["--".into(), from.to_scp(alias), to.to_scp(alias)]);
        return run_client("scp", &arguments, &login, ui);
    }
    if args.recursive {
        return Err(Error::new(Code::AgentRefuses, "the guest agent copies single files only")
            .because("an SSH server does not answer")
            .hint("pack the directory with tar, and copy that"));
    }
    interrupt::install_handler(&context.cancel)?;
    let copied = match (&from, &to) {
        (Place::Here(file), Place::Guest { vm, path }) => upload(&context, Path::new(file), vm, path),
        (Place::Guest { vm, path }, Place::Here(file)) => download(&context, vm, path, Path::new(file)),
        _ => Ok(()),
    };
    let copied = if args.agent { copied } else { copied.map_err(without_ssh) };
    copied.map(|()| 0)
}

fn upload(context: &Context, file: &Path, vm: &str, path: &str) -> Result<(), Error> {
    require_absolute(path)?;
    let failed = |e: &std::io::Error| {
        Error::new(Code::FileUnreadable, format!("cannot read {}", escape_unseen(&file.to_string_lossy())))
            .because(describe_io_error(e))
    };
    let mut content = File::open(file).map_err(|e| failed(&e))?;
    if content.metadata().is_ok_and(|found| found.is_dir()) {
        return Err(failed(&std::io::ErrorKind::IsADirectory.into()).hint("-r copies directories, over SSH"));
    }
    let path = if path.ends_with('/') { format!("{path}{}", base_name(file)) } else { path.to_owned() };
    copy_to_guest(context, vm, &mut content, &path).map(drop)
}

fn download(context: &Context, vm: &str, path: &str, target: &Path) -> Result<(), Error> {
    require_absolute(path)?;
    let target = if target.is_dir() { target.join(base_name(Path::new(path))) } else { target.to_owned() };
    let failed = |e: &std::io::Error| {
        Error::new(Code::FileUnwritable, format!("cannot write {}", escape_unseen(&target.to_string_lossy())))
            .because(describe_io_error(e))
    };
    if target.exists() && !target.is_file() {
        // A device or a pipe.
        let mut file = File::options().write(true).open(&target).map_err(|e| failed(&e))?;
        return copy_from_guest(context, vm, path, &mut file).map(drop);
    }
    // The target has the whole file, or is as it was.
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut new = tempfile::Builder::new();
    new.prefix(".foundry-").suffix(".new").permissions(Permissions::from_mode(0o666));
    let mut file = new.tempfile_in(folder).map_err(|e| failed(&e))?;
    copy_from_guest(context, vm, path, &mut file)?;
    file.persist(&target).map(drop).map_err(|e| failed(&e.error))
}

/// The agent has no home directory.
fn require_absolute(path: &str) -> Result<(), Error> {
    if path.starts_with('/') {
        return Ok(());
    }
    let message = format!("the guest agent needs a path that begins with /, not '{}'", escape_unseen(path));
    Err(Error::new(Code::TextUnfit, message))
}

fn base_name(path: &Path) -> String {
    path.file_name().map(PathBuf::from).unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_are_read_as_by_scp() {
        let guest = |vm: &str, path: &str| Place::Guest { vm: vm.into(), path: path.into() };
        for (text, place) in [
            ("web:/etc/motd", guest("web", "/etc/motd")),
            ("web:", guest("web", "")),
            ("web:a:b", guest("web", "a:b")),
            ("./web:x", Place::Here("./web:x".into())),
            ("/a:b", Place::Here("/a:b".into())),
            (":x", Place::Here(":x".into())),
            ("file", Place::Here("file".into())),
        ] {
            assert_eq!(Place::parse(text), place, "{text}");
        }
        assert_eq!(Place::parse("-oProxyCommand=x").to_scp("web"), "./-oProxyCommand=x");
        assert_eq!(Place::parse("/a:b").to_scp("web"), "/a:b");
        assert_eq!(Place::parse("other:/x").to_scp("web"), "web:/x");
    }
}
