//! One run of foundry, with a limit.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::commands::{IMAGE_POOL, STORAGE, VM_POOL};
use super::proxy::Proxy;

/// No run takes this long, or it hangs.
const LIMIT: Duration = Duration::from_secs(40);

/// How a run ended.
#[derive(Debug, Clone)]
pub(crate) struct Ran {
    /// 128 and the signal's number where one ended it.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// It was killed for it.
    pub(crate) hung: bool,
}

/// foundry, in this directory with the files that commands name.
pub(crate) struct Foundry {
    pub(crate) directory: PathBuf,
    /// What commands call URL.
    pub(crate) url: String,
}

impl Foundry {
    /// Runs it to its end; the proxy is told whom to kill.
    pub(crate) fn run(&self, uri: &str, arguments: &[&str], input: &str, proxy: Option<&Proxy>) -> Ran {
        let arguments = arguments.iter().map(|a| a.replace("URL", &self.url));
        let mut command = Command::new(env!("CARGO_BIN_EXE_foundry"));
        command.args(arguments).current_dir(&self.directory).env_clear();
        for kept in ["PATH", "HOME", "TMPDIR"] {
            command.env(kept, std::env::var_os(kept).unwrap_or_default());
        }
        command
            .env("LC_ALL", "C")
            .env("FOUNDRY_CONNECT", uri)
            .env("FOUNDRY_VM_POOL", VM_POOL)
            .env("FOUNDRY_IMAGE_POOL", IMAGE_POOL)
            .env("FOUNDRY_STORAGE_PATH", STORAGE)
            .env("FOUNDRY_VIRT_TYPE", "qemu");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // It may end without reading.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let (stdout, stderr) = (reader(child.stdout.take()), reader(child.stderr.take()));
        let child = Arc::new(Mutex::new(child));
        if let Some(proxy) = proxy {
            proxy.victim(Arc::clone(&child));
        }
        let (code, hung) = end(&child);
        Ran { code, hung, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
    }
}

fn reader(from: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut text = Vec::new();
        from.unwrap().read_to_end(&mut text).unwrap();
        String::from_utf8_lossy(&text).into_owned()
    })
}

/// Looks for its end now and then: who waited would keep the proxy from killing it.
fn end(child: &Mutex<Child>) -> (i32, bool) {
    use std::os::unix::process::ExitStatusExt;
    let begun = Instant::now();
    let mut hung = false;
    loop {
        let mut held = child.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(status) = held.try_wait().unwrap() {
            return (status.code().or(status.signal().map(|s| 128 + s)).unwrap(), hung);
        }
        if begun.elapsed() > LIMIT {
            hung = true;
            held.kill().unwrap();
        }
        drop(held);
        thread::sleep(Duration::from_millis(3));
    }
}
