//! What the benches share: a libvirtd of their own, programs that take turns, and a table.
//!
//! The machine's own libvirtd is not touched. A bench starts itself anew inside namespaces
//! (unshare(1)) with a private libvirtd, a bridge and empty pools; the end of the first process in
//! there, however it comes, is the end of every process, guest and interface in there.
#![allow(dead_code, reason = "each bench uses its part")]

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

#[path = "../../tests/support/private_host.rs"]
mod private_host;

/// The binary that is measured.
pub(crate) const FOUNDRY: &str = env!("CARGO_BIN_EXE_foundry");
/// Where all of libvirt is reached inside.
pub(crate) const URI: &str = "qemu:///system";
/// Prefix of all that a bench makes.
pub(crate) const PREFIX: &str = "foundry-test-bench";

const INSIDE: &str = "FOUNDRY_BENCH_INSIDE";

/// Runs a bench inside a private host; `cargo test --benches` runs nothing.
pub(crate) fn main(bench: fn() -> Result<()>) -> ExitCode {
    let outcome = if std::env::var_os(INSIDE).is_some() {
        bench().map(|()| ExitCode::SUCCESS)
    } else if std::env::args().any(|a| a == "--bench") {
        enter()
    } else {
        println!("benches are run by cargo bench");
        Ok(ExitCode::SUCCESS)
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:?}");
        ExitCode::FAILURE
    })
}

/// Starts this program again inside; what is on disk goes with `directory`.
fn enter() -> Result<ExitCode> {
    ensure!(fs::metadata("/proc/self")?.uid() == 0, "a private libvirtd needs root");
    let directory = private_host::directory(PREFIX)?;
    let mut inside = private_host::command(directory.path(), &std::env::current_exe()?)
        .env(INSIDE, directory.path())
        .env("FOUNDRY_CONNECT", URI)
        .env("FOUNDRY_VIRT_TYPE", std::env::var("FOUNDRY_VIRT_TYPE").unwrap_or_else(|_| "qemu".into()))
        .env("FOUNDRY_VM_POOL", VM_POOL)
        .env("FOUNDRY_IMAGE_POOL", IMAGE_POOL)
        .env("FOUNDRY_STORAGE_PATH", STORAGE)
        .spawn()
        .context("unshare")?;
    // Held until it has ended: where this process is killed, it closes, and all inside is ended.
    let _held = inside.stdin.take();
    let status = inside.wait()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Pool of the VMs' disks.
pub(crate) const VM_POOL: &str = "foundry-test-bench-vms";
/// Pool of the images.
pub(crate) const IMAGE_POOL: &str = "foundry-test-bench-images";
/// Where both are.
pub(crate) const STORAGE: &str = "/var/lib/libvirt/images/foundry-test-bench";

/// A directory for files of the bench's own, inside.
pub(crate) fn work_directory() -> Result<PathBuf> {
    let path = PathBuf::from(std::env::var_os(INSIDE).context("not inside")?).join("work");
    fs::create_dir_all(&path)?;
    Ok(path)
}

/// How often each program has its turn.
pub(crate) fn rounds(default: usize) -> Result<usize> {
    std::env::var("FOUNDRY_BENCH_ROUNDS")
        .map_or(Ok(default), |n| n.parse().context("FOUNDRY_BENCH_ROUNDS is no number"))
}

/// Runs a command to its end and gives its standard output; on failure, all that it said.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// A program that is measured.
pub(crate) struct Program {
    /// Its name in the table.
    pub(crate) name: &'static str,
    /// Program and arguments.
    pub(crate) argv: Vec<String>,
}

impl Program {
    /// A program by name and arguments.
    pub(crate) fn new(name: &'static str, argv: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { name, argv: argv.into_iter().map(Into::into).collect() }
    }

    fn spawn(&self, argv: &[String], log: &Path, libvirt_log: Option<&Path>) -> Result<Child> {
        let mut command = Command::new(&argv[0]);
        command.args(&argv[1..]).stdin(Stdio::null()).stdout(File::create(log.with_extension("out"))?);
        command.stderr(File::create(log)?);
        if let Some(path) = libvirt_log {
            command
                .env("LIBVIRT_LOG_FILTERS", "2:rpc.netclient")
                .env("LIBVIRT_LOG_OUTPUTS", format!("1:file:{}", path.display()));
        }
        command.spawn().with_context(|| self.name.to_owned())
    }

    fn end(&self, mut child: Child, log: &Path) -> Result<()> {
        let status = child.wait()?;
        ensure!(status.success(), "{}: {status}\n{}", self.name, fs::read_to_string(log)?);
        Ok(())
    }

    /// From before it is started until it has ended, and what of it was spent in libvirt's start, if it
    /// said so as `foundry -vv` does. Milliseconds.
    fn time(&self, log: &Path) -> Result<(f64, Option<f64>)> {
        let begun = Instant::now();
        self.end(self.spawn(&self.argv, log, None)?, log)?;
        let took = begun.elapsed().as_secs_f64() * 1000.0;
        let said = fs::read_to_string(log)?;
        let start = said.lines().find(|line| line.contains(" virDomainCreate "));
        let start = start.and_then(|line| line.split_whitespace().nth(1)).and_then(|n| n.parse().ok());
        Ok((took, start))
    }

    /// What it costs besides time, in a turn that is not timed.
    fn look(&self, work: &Path) -> Result<Cost> {
        let (log, calls, traced) = (work.join("log"), work.join("calls"), work.join("traced"));
        let _ = fs::remove_file(&calls);
        let has_strace = Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_ok();
        let mut argv = self.argv.clone();
        if has_strace {
            // With the filter in the kernel, what is not traced runs as fast as without.
            let strace =
                ["strace", "-f", "--seccomp-bpf", "-qq", "-e", "trace=execve", "-e", "signal=none", "-o"];
            let path = traced.display().to_string();
            argv = strace.into_iter().map(String::from).chain([path]).chain(argv).collect();
        }
        let before = taken()?;
        let mut child = self.spawn(&argv, &log, Some(&calls))?;
        let mut peak = 0;
        while child.try_wait()?.is_none() {
            peak = peak.max(largest(child.id(), has_strace));
            std::thread::sleep(Duration::from_millis(1));
        }
        self.end(child, &log)?;
        let processes = has_strace
            .then(|| fs::read_to_string(&traced))
            .transpose()?
            .map(|text| text.lines().filter(|line| line.ends_with(" = 0")).count());
        Ok(Cost {
            calls: sent(&calls)?,
            processes,
            memory_kib: peak,
            disk_kib: taken()?.saturating_sub(before) / 1024,
        })
    }
}

/// How many calls libvirt's client log has; none where the program does not use libvirt, and writes none. The
/// log of a long upload is large.
fn sent(log: &Path) -> Result<usize> {
    if !log.exists() {
        return Ok(0);
    }
    let is_call = |line: &String| line.contains("RPC_CLIENT_MSG_TX_QUEUE") && line.contains("type=0");
    Ok(BufReader::new(File::open(log)?).lines().map_while(std::io::Result::ok).filter(is_call).count())
}

/// Peak resident memory, in KiB, of the largest process of a program.
fn largest(pid: u32, only_children: bool) -> u64 {
    let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let children = read(&format!("task/{pid}/children"));
    let children = children.split_whitespace().filter_map(|c| c.parse().ok()).map(|c| largest(c, false));
    let status = read("status");
    let own = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).filter(|_| !only_children);
    let own = own.and_then(|l| l.split_whitespace().next()).and_then(|n| n.parse().ok()).unwrap_or(0);
    children.fold(own, u64::max)
}

/// Bytes on disk below libvirt's directories and the home directory.
fn taken() -> Result<u64> {
    fn below(path: &Path) -> std::io::Result<u64> {
        let mut sum = 0;
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let Ok(meta) = entry.metadata() else { continue };
            sum += if meta.is_dir() { below(&entry.path())? } else { meta.blocks() * 512 };
        }
        Ok(sum)
    }
    let home = std::env::var("HOME")?;
    let directories = ["/var/lib/libvirt", "/etc/libvirt", &home];
    Ok(directories.into_iter().map(|d| below(Path::new(d))).sum::<std::io::Result<u64>>()?)
}

/// What a program costs besides time.
#[derive(Clone, Copy)]
struct Cost {
    calls: usize,
    processes: Option<usize>,
    memory_kib: u64,
    disk_kib: u64,
}

/// A program with all that was measured of it.
pub(crate) struct Measured {
    name: &'static str,
    cost: Cost,
    times: Vec<f64>,
    starts: Vec<f64>,
}

/// Programs take turns, each round in another order, and `tidy` follows each turn. The first turn of
/// each is not timed: it warms caches up and is looked at closely.
pub(crate) fn measure(
    programs: &[Program],
    rounds: usize,
    mut tidy: impl FnMut() -> Result<()>,
) -> Result<Vec<Measured>> {
    let work = work_directory()?;
    let log = work.join("log");
    let mut all = Vec::new();
    for program in programs {
        all.push(Measured {
            name: program.name,
            cost: program.look(&work)?,
            times: Vec::new(),
            starts: Vec::new(),
        });
        tidy()?;
    }
    for round in 0..rounds {
        for turn in 0..programs.len() {
            // Forwards and backwards by turns, so that none always follows the same other.
            let step = if round % 2 == 0 { turn } else { programs.len() - turn };
            let index = (round + step) % programs.len();
            let (took, start) = programs[index].time(&log)?;
            all[index].times.push(took);
            all[index].starts.extend(start);
            tidy()?;
        }
    }
    Ok(all)
}

impl Measured {
    /// The program's name.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Peak resident memory of its largest process.
    pub(crate) fn memory_mib(&self) -> u64 {
        self.cost.memory_kib / 1024
    }

    /// The median of the ratios within each round.
    pub(crate) fn ratio_to(&self, base: &Measured) -> f64 {
        quantile(&self.by_round(base), 0.5)
    }

    /// Medians in ms: of libvirt's start, and of what it takes besides.
    pub(crate) fn start_and_rest(&self) -> (f64, f64) {
        let rest: Vec<f64> = self.times.iter().zip(&self.starts).map(|(all, start)| all - start).collect();
        (quantile(&self.starts, 0.5), quantile(&rest, 0.5))
    }

    fn by_round(&self, base: &Measured) -> Vec<f64> {
        self.times.iter().zip(&base.times).map(|(a, b)| a / b).collect()
    }
}

fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    let index = ((sorted.len().saturating_sub(1)) as f64 * q).round() as usize;
    sorted.get(index).copied().unwrap_or(f64::NAN)
}

/// A table of ratios to the first program: of the medians, of the minima, and the quartiles of the ratio
/// within each round, in which the machine's load was about the same for all.
pub(crate) fn table(title: &str, all: &[Measured]) -> Result<String> {
    let Some(base) = all.first() else { bail!("nothing was measured") };
    let mut text = format!(
        "{title}; {} rounds; ratios to '{}'\n\n{:<26} {:>9} {:>9}   {:>7} {:>7}   {:>19}   {:>5} {:>9} {:>5} {:>8}\n",
        base.times.len(),
        base.name,
        "",
        "median ms",
        "least ms",
        "medians",
        "minima",
        "by round (quartiles)",
        "calls",
        "processes",
        "MiB",
        "disk KiB",
    );
    for one in all {
        let by_round = one.by_round(base);
        let at = |values: &[f64], q| quantile(values, q);
        writeln!(
            text,
            "{:<26} {:>9.1} {:>9.1}   {:>7.3} {:>7.3}   {:>6.3} {:>6.3} {:>6.3}   {:>5} {:>9} {:>5} {:>8}",
            one.name,
            at(&one.times, 0.5),
            at(&one.times, 0.0),
            at(&one.times, 0.5) / at(&base.times, 0.5),
            at(&one.times, 0.0) / at(&base.times, 0.0),
            at(&by_round, 0.25),
            at(&by_round, 0.5),
            at(&by_round, 0.75),
            one.cost.calls,
            one.cost.processes.map_or_else(|| "?".into(), |n| n.to_string()),
            one.cost.memory_kib / 1024,
            one.cost.disk_kib,
        )?;
    }
    Ok(text)
}
