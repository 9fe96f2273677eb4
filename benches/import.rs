//! What it costs to get an image into libvirt: `foundry image import` and `pull` beside what people use today.
//!
//! Two raw images: 10 GiB with 300 MiB of data in places all over it, and 1 GiB full of data. Each program is
//! timed from before its process is started until it has ended; the image is in the page cache, and the pool
//! is on the same file system. `cp` is what the machine can do, and knows nothing of libvirt:
//!
//! * `cp --sparse=always` into the pool's directory, and no more;
//! * `foundry image import`, with all checks, the upload through libvirt, and holes that stay holes;
//! * `virsh vol-upload --sparse` and plain `virsh vol-upload`, each into a volume made by `virsh vol-create-as`;
//! * `qemu-img convert` into the pool's directory and `virsh pool-refresh`, which work on the host itself only;
//! * `foundry image pull` from a server in this process, and `curl` from the same into the pool's directory.
//!
//! [`TARGET`] and [`MEMORY_MIB`] are what foundry has to keep within. The columns after the ratios come from a turn
//! of its own: calls of libvirt's client, processes executed, peak resident memory of the largest process, and
//! what the image takes in the pool. FOUNDRY_BENCH_SIZE makes the images smaller, in percent of their real sizes.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a bench prints")]

mod support;
#[path = "support/web.rs"]
mod web;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, ensure};
use foundry::units::Bytes;
use support::{FOUNDRY, IMAGE_POOL, Measured, Program, STORAGE, URI, measure, run, table};
use virt::connect::Connect;

/// What `foundry image import` may cost, in `cp --sparse=always`.
const TARGET: f64 = 1.25;
/// What `foundry image import` and `pull` may have resident, whatever the size of the image.
const MEMORY_MIB: u64 = 64;
const MIB: u64 = 1 << 20;

fn main() -> ExitCode {
    support::main(bench)
}

/// An image to be imported.
struct Image {
    title: &'static str,
    name: &'static str,
    /// Bytes in all.
    length: u64,
    /// Bytes of data, in pieces of 4 MiB at equal distances.
    data: u64,
}

const PIECE: u64 = 4 * MIB;

fn bench() -> Result<()> {
    virt::error::clear_error_callback();
    let work = support::work_directory()?;
    let connection = Connect::open(Some(URI))?;
    let percent = size()?;
    let scaled = |mib: u64| (mib * percent / 100 * MIB).next_multiple_of(PIECE);
    let images = [
        Image { title: "sparse image", name: "sparse.raw", length: scaled(10 * 1024), data: scaled(300) },
        Image { title: "dense image", name: "dense.raw", length: scaled(1024), data: scaled(1024) },
    ];
    for image in images {
        let file = image.write(&work)?;
        make_pool(&connection, &file)?;
        let measured = measure(&programs(&image, &file)?, support::rounds(5)?, || tidy(&connection))?;
        let title = format!("{}, {} with {} of data", image.title, Bytes(image.length), Bytes(image.data));
        println!("{}", table(&title, &measured)?);
        judge(&measured);
        std::fs::remove_file(file)?;
    }
    Ok(())
}

fn size() -> Result<u64> {
    std::env::var("FOUNDRY_BENCH_SIZE")
        .map_or(Ok(100), |n| n.parse().context("FOUNDRY_BENCH_SIZE is no number of percent"))
}

impl Image {
    /// Writes it as a disk that could boot, of bytes that do not repeat and are no zeros.
    fn write(&self, directory: &Path) -> Result<PathBuf> {
        let path = directory.join(self.name);
        let file = File::create(&path)?;
        file.set_len(self.length)?;
        let pieces = self.data / PIECE;
        let distance = self.length / pieces / 4096 * 4096;
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut piece = vec![0; usize::try_from(PIECE)?];
        for index in 0..pieces {
            for word in piece.as_chunks_mut::<8>().0 {
                // Marsaglia's xorshift: never zero.
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                *word = state.to_le_bytes();
            }
            file.write_all_at(&piece, index * distance)?;
        }
        file.write_all_at(&[0x55, 0xaa], 510)?;
        // What the programs read is not to be written meanwhile.
        file.sync_all()?;
        Ok(path)
    }
}

/// The pool is there before the first turn, whoever has it.
fn make_pool(connection: &Connect, image: &Path) -> Result<()> {
    if connection.lookup_storage_pool_by_name(IMAGE_POOL).is_err() {
        run(Command::new(FOUNDRY).args(["image", "import"]).arg(image).arg("first.raw"))?;
    }
    tidy(connection)
}

/// Takes all images away.
fn tidy(connection: &Connect) -> Result<()> {
    let pool = connection.lookup_storage_pool_by_name(IMAGE_POOL)?;
    pool.refresh(0)?;
    for volume in pool.list_all_volumes(0)? {
        volume.delete(0)?;
    }
    ensure!(std::fs::read_dir(format!("{STORAGE}/images"))?.next().is_none(), "a file is left");
    Ok(())
}

fn programs(image: &Image, file: &Path) -> Result<Vec<Program>> {
    let (from, name) = (file.display().to_string(), image.name);
    let to = format!("{STORAGE}/images/{name}");
    let virsh = format!("virsh -q -c {URI}");
    let refresh = format!("{virsh} pool-refresh {IMAGE_POOL}");
    let shell = |script: String| ["sh".to_owned(), "-euc".into(), script];
    let create =
        format!("{virsh} vol-create-as {IMAGE_POOL} {name} {} --allocation 0 --format raw", image.length);
    let upload =
        |how: &str| shell(format!("{create}; {virsh} vol-upload {how} --pool {IMAGE_POOL} {name} {from}"));
    let mut programs = vec![
        Program::new("cp --sparse=always", ["cp", "--sparse=always", &from, &to]),
        Program::new("foundry image import", [FOUNDRY, "image", "import", &from, name]),
        Program::new("virsh vol-upload --sparse", upload("--sparse")),
        Program::new("virsh vol-upload", upload("")),
        Program::new(
            "qemu-img convert",
            shell(format!("qemu-img convert -f raw -O raw {from} {to}; {refresh}")),
        ),
    ];
    let url = web::serve(file)?;
    if works(&[FOUNDRY, "image", "pull", "--help"]) {
        programs.push(Program::new("foundry image pull", [FOUNDRY, "image", "pull", &url, "--name", name]));
    }
    if works(&["curl", "--version"]) {
        programs.push(Program::new("curl", shell(format!("curl -sSf -o {to} {url}; {refresh}"))));
    }
    Ok(programs)
}

fn works(argv: &[&str]) -> bool {
    let status = Command::new(argv[0]).args(&argv[1..]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let works = status.is_ok_and(|status| status.success());
    if !works {
        println!("{} is not there and is left out", argv.join(" "));
    }
    works
}

/// Says how foundry does beside its aims.
fn judge(measured: &[Measured]) {
    let cp = &measured[0];
    let import = measured[1].ratio_to(cp);
    println!("foundry image import / cp --sparse=always: {import:.3}, to be at most {TARGET}");
    for one in measured.iter().filter(|one| one.name().starts_with("foundry")) {
        println!("{}: {} MiB resident, to be below {MEMORY_MIB}", one.name(), one.memory_mib());
    }
    println!();
}
