//! Finds the programs that show a VM's console. libvirt does not say who has it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::accounts::Accounts;
use foundry_core::text::escape_unseen;

/// Programs with a command `console`.
const CLIENTS: [&str; 2] = ["virsh", "foundry"];

/// The most clients that are named.
const MOST: usize = 4;

/// The running commands `virsh console VM` and `foundry console VM` of this machine, other than this process, as
/// "virsh (process 123 of root)". Others may run on other machines, and one of these may be for another libvirt.
///
/// `names` are the VM's name and its UUID: either can be typed.
pub fn find_console_clients(root: &Path, names: &[&str]) -> Vec<String> {
    let accounts = Accounts::load(root);
    let processes = fs::read_dir(root.join("proc")).into_iter().flatten().flatten();
    let own = std::process::id();
    let mut pids: Vec<u32> = processes
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != own)
        .collect();
    pids.sort_unstable();
    let client = |pid: u32| {
        let process = root.join(format!("proc/{pid}"));
        let line = fs::read_to_string(process.join("cmdline")).ok()?;
        let program = console_program(&line, names)?;
        let user = fs::metadata(&process).map(|found| accounts.name_of(found.uid())).unwrap_or_default();
        Some(format!("{program} (process {pid} of {})", escape_unseen(&user)))
    };
    pids.into_iter().filter_map(client).take(MOST).collect()
}

/// The program of a command line, its words separated by NUL, if it shows the console of one of these VMs.
fn console_program(line: &str, names: &[&str]) -> Option<&'static str> {
    let mut words = line.split('\0');
    let file = Path::new(words.next()?).file_name()?.to_str()?;
    let program = CLIENTS.into_iter().find(|client| *client == file)?;
    let mut after = words.skip_while(|word| *word != "console").skip(1);
    after.any(|word| names.contains(&word)).then_some(program)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::tests::make_root;

    #[test]
    fn console_commands_of_that_vm_are_found() {
        let root = make_root(&[
            ("proc/11/cmdline", "/usr/bin/virsh\0-c\0qemu:///system\0console\0--force\0web\0"),
            ("proc/12/cmdline", "foundry\0console\0web\0"),
            ("proc/13/cmdline", "foundry\0console\0other\0"),
            ("proc/14/cmdline", "foundry\0get\0web\0"),
            ("proc/15/cmdline", "vi\0console\0web\0"),
            ("proc/16/cmdline", ""),
            ("proc/self/cmdline", "foundry\0console\0web\0"),
        ]);
        let user = fs::metadata(root.path()).unwrap().uid();
        fs::create_dir_all(root.path().join("etc")).unwrap();
        fs::write(root.path().join("etc/passwd"), format!("mallory:x:{user}:1::/:/bin/sh\n")).unwrap();
        let found = find_console_clients(root.path(), &["web", "b6f2"]);
        assert_eq!(found, ["virsh (process 11 of mallory)", "foundry (process 12 of mallory)"]);
        assert_eq!(find_console_clients(root.path(), &["we"]), [] as [String; 0]);
    }
}
