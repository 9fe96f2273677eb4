//! Runs qemu-img so that it can open only itself and two given files.
//!
//! Programs that read disk images are large and act on what an image contains. Landlock (landlock(7)) limits the damage
//! that a malicious image can do: the child process can open its own program and libraries, and the image and the
//! result by their inodes. If the kernel does not support it (before 5.13, or disabled), the child runs without this
//! protection; the format is fixed and backing chains are refused in any case.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetError, Scope,
};

/// The newest Landlock version whose rights are known here. On an older kernel, a part of them is used.
const NEWEST: ABI = ABI::V6;
/// Directories with programs and libraries, which contain no secrets.
const PROGRAMS: [&str; 9] =
    ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store", "/gnu/store", "/etc/ld.so.cache"];

/// A child process that can use only these two files, its standard input and output.
pub(super) struct Sandbox<'a> {
    /// Readable.
    pub(super) input: &'a File,
    /// Readable and writable.
    pub(super) output: &'a File,
}

impl Sandbox<'_> {
    /// Starts a program from the PATH; `prepare` sets its arguments, environment and standard streams.
    ///
    /// # Errors
    /// Errors of the operating system; [`ErrorKind::NotFound`] if there is no such program.
    pub(super) fn spawn(
        &self,
        program: &str,
        prepare: impl FnOnce(&mut Command) + Send,
    ) -> io::Result<Child> {
        let program = find_on_path(program).ok_or(ErrorKind::NotFound)?;
        // The restriction applies to the calling thread and its children, so a separate thread is used.
        std::thread::scope(|scope| {
            let child = scope.spawn(|| {
                self.restrict_thread(&program).map_err(io::Error::other)?;
                let mut command = Command::new(&program);
                prepare(&mut command);
                command.spawn()
            });
            child
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("the thread that starts the program has ended")))
        })
    }

    /// Restricts this thread, as far as the kernel supports it.
    fn restrict_thread(&self, program: &Path) -> Result<(), RulesetError> {
        let look = BitFlags::from(AccessFs::ReadFile) | AccessFs::ReadDir | AccessFs::Execute;
        let write = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::Truncate;
        let rules = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(NEWEST))?
            .handle_access(AccessNet::from_all(NEWEST))?
            .scope(Scope::from_all(NEWEST))?
            .create()?
            .add_rule(PathBeneath::new(self.input, AccessFs::ReadFile))?
            .add_rule(PathBeneath::new(self.output, write))?;
        let readable = PROGRAMS.iter().map(Path::new).chain([program]);
        // No distribution has all of these directories.
        let readable = readable.filter_map(|path| PathFd::new(path).ok());
        let rules =
            rules.add_rules(readable.map(|place| Ok::<_, RulesetError>(PathBeneath::new(place, look))))?;
        let nothing = PathFd::new("/dev/null").ok().map(|place| Ok(PathBeneath::new(place, write)));
        let rules = rules.add_rules(nothing.into_iter().collect::<Vec<Result<_, RulesetError>>>())?;
        rules.restrict_self().map(drop)
    }
}

/// Finds a program on the PATH, because the restricted child process cannot search for it.
fn find_on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| OsStr::new("/usr/bin:/bin").to_owned());
    let is_program = |path: &PathBuf| {
        path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(is_program)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

    use super::*;
    use std::io::{Read, Seek};
    use std::process::Stdio;

    fn run_script(script: &str) -> String {
        let (input, mut output) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let sandbox = Sandbox { input: &input, output: &output };
        let (stdin, stdout) = (input.try_clone().unwrap(), output.try_clone().unwrap());
        let mut child = sandbox
            .spawn("sh", |command| {
                command.args(["-c", script]).stdin(Stdio::from(stdin)).stdout(Stdio::from(stdout));
            })
            .unwrap();
        child.wait().unwrap();
        output.rewind().unwrap();
        let mut output_text = String::new();
        output.read_to_string(&mut output_text).unwrap();
        output_text
    }

    /// Detects whether the kernel has Landlock: a restricted thread cannot open other files.
    #[test]
    fn only_the_two_files_can_be_opened() {
        let has_landlock = std::thread::spawn(|| {
            let file = tempfile::tempfile().unwrap();
            Sandbox { input: &file, output: &file }.restrict_thread(Path::new("/nonexistent")).unwrap();
            File::open("/etc/passwd").is_err()
        });
        if !has_landlock.join().unwrap() {
            return;
        }
        let secret = tempfile::NamedTempFile::new().unwrap();
        let secret = secret.path().display();
        assert_eq!(
            run_script("echo from the program; : </proc/self/fd/0 && echo the image"),
            "from the program\nthe image\n"
        );
        for forbidden in [
            format!(": <{secret}"),
            format!(": >{secret}"),
            format!(": >{secret}.new"),
            "ls /root".to_owned(),
            ": </etc/passwd".to_owned(),
            ": >/proc/self/fd/0".to_owned(),
        ] {
            let output_text = run_script(&format!("({forbidden}) >/dev/null 2>&1 || echo refused"));
            assert_eq!(output_text, "refused\n", "{forbidden}");
        }
        assert!(File::open("/etc/passwd").is_ok(), "the caller is as free as before");
    }

    #[test]
    fn missing_program_is_not_found() {
        let file = tempfile::tempfile().unwrap();
        let refused = Sandbox { input: &file, output: &file }.spawn("foundry-test-nowhere", |_| {});
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::NotFound);
    }
}
