//! The commands of the documents, run in their order on a real libvirtd.
//!
//! What is the reader's own is put in their place: the bridge, the addresses, the names of VM and pool, a server of
//! images, and for the image of a distribution the tiny guest.

use std::path::Path;
use std::process::Command;

use crate::support::deadline::CommandInTime as _;
use crate::support::documents::{Block, blocks};
use crate::support::http::{Reply, Request, Server};
use crate::support::live::{Bed, program};

/// The server of images in the documents.
const IMAGES: &str = "https://images.example.com";

/// The public key in the documents.
const READERS_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEscSspP1mQ9axbaNwKeA7IUiQVnqhBeWjqy42RO5udD alice@example.com";

/// The name of the VM in the documents, and what it is here.
fn vm(bed: &Bed) -> String {
    bed.name("web")
}

fn in_this_bed(bed: &Bed, text: &str) -> String {
    address_in_this_bed(&text.replace("bridge: br0", &format!("bridge: {}", bed.bridge())))
        // Translated by QEMU, a guest with two processors was once seen to stand still.
        .replace("vcpus: 2\n", "vcpus: 1\n")
        .replace("name: web\n", &format!("name: {}\n", vm(bed)))
        .replace(READERS_KEY, bed.public_key())
}

/// A directory as a reader has it: the examples, a manifest, downloaded images; and a catalogue in which the tiny guest
/// goes before a distribution.
fn lay_out(bed: &Bed) {
    let examples = bed.home().join("examples");
    std::fs::create_dir(&examples).unwrap();
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")).unwrap() {
        let from = entry.unwrap().path();
        if from.extension().is_some_and(|e| e == "yaml") {
            let text = in_this_bed(bed, &std::fs::read_to_string(&from).unwrap());
            std::fs::write(examples.join(from.file_name().unwrap()), text).unwrap();
        }
    }
    // The second is what scripts/quickstart.sh writes.
    for name in ["vm.yaml", "web.yaml"] {
        std::fs::copy(examples.join("simple-vm.yaml"), bed.home().join(name)).unwrap();
    }
    std::fs::copy(bed.tiny(), bed.home().join("debian-12-genericcloud-amd64.qcow2")).unwrap();
    let catalog = bed.home().join(".config/foundry");
    std::fs::create_dir_all(&catalog).unwrap();
    let listed = format!("images:\n  debian-13:\n    url: file://{}\n", bed.tiny());
    std::fs::write(catalog.join("catalog.yaml"), listed).unwrap();
    let other_forms = "cd \"$1\" && qemu-img convert -O raw \"$2\" disk.raw && qemu-img convert -O vmdk \"$2\" appliance.vmdk \
        && xz -0 disk.raw && sha512sum disk.raw.xz >SHA512SUMS && zstd -q \"$2\" -o base.qcow2.zst";
    program("sh", &["-c", other_forms, "sh", bed.home().to_str().unwrap(), bed.tiny()]).exits(0);
}

/// Any image of its is the tiny guest, and its list says so of those that the documents name.
fn image_server(bed: &Bed) -> Server {
    let packed = bed.home().join("base.qcow2.zst");
    let digest = program("sha256sum", &[packed.to_str().unwrap()]).exits(0).stdout[..64].to_owned();
    let names = ["base".to_owned(), format!("golden-{}", std::env::consts::ARCH)];
    let list: String = names.iter().map(|name| format!("{digest}  {name}.qcow2.zst\n")).collect();
    let image = std::fs::read(packed).unwrap();
    Server::start(move |request: &Request| match request.path.as_str() {
        "/SHA256SUMS" => Reply::new(200, list.clone()),
        _ => Reply::file(request, &image, "v1"),
    })
}

/// A word of a command, as it is here.
fn word_in_this_bed(bed: &Bed, word: &str) -> String {
    match word {
        "web" => vm(bed),
        "www" | "www2" => bed.name(word),
        // The snapshot that a linked copy makes is called after it.
        "linked-www" => format!("linked-{}", bed.name("www")),
        "ssd" => bed.name("ssd"),
        "foundry-vms/web_boot" => format!("{}/{}_boot", bed.vm_pool(), vm(bed)),
        "/mnt/ssd/foundry" => bed.storage().join("ssd").display().to_string(),
        other => address_in_this_bed(other),
    }
}

/// The addresses of the documents, as they are here.
fn address_in_this_bed(text: &str) -> String {
    text.replace("10.20.30.40", "10.77.0.95").replace("10.20.30.", "10.77.0.")
}

/// Runs one line of a document as its reader would.
#[track_caller]
fn run(bed: &Bed, server: &Server, line: &str) {
    let line: Vec<String> = line.split_whitespace().map(|w| word_in_this_bed(bed, w)).collect();
    // The reader's key is where ssh looks for it, which is not below HOME but in the user's home directory.
    let login = format!("foundry ssh --identity {} ", bed.private_key());
    let line = line.join(" ").replace(IMAGES, &server.url("")).replace("foundry ssh ", &login);
    let program = Path::new(env!("CARGO_BIN_EXE_foundry")).parent().unwrap();
    let mut command = Command::new("bash");
    command.args(["-o", "pipefail", "-c", &line]).current_dir(bed.home()).env_clear();
    for (name, value) in bed.variables() {
        let value = if name == "PATH" { format!("{}:{value}", program.display()) } else { value };
        command.env(name, value);
    }
    let done = command.output_in_time().unwrap();
    println!("$ {line}\n{}", String::from_utf8_lossy(&done.stdout));
    assert!(done.status.success(), "$ {line}\n{}", String::from_utf8_lossy(&done.stderr));
}

/// Lines that begin with another program are that program's business.
fn is_ours(line: &str) -> bool {
    line.contains("foundry ")
}

fn commands_of(file: &str) -> Vec<String> {
    let in_file = |block: &Block| block.file == file && block.info == "console";
    let ours = |block: Block| {
        println!("{}:{}", block.file, block.line);
        block.commands().filter(|line| is_ours(line)).map(str::to_owned).collect::<Vec<_>>()
    };
    blocks().into_iter().filter(in_file).flat_map(ours).collect()
}

#[test]
fn the_readers_tour_works_as_it_stands() {
    let Some(bed) = Bed::new("docs") else { return };
    lay_out(&bed);
    let server = image_server(&bed);
    let run = |line: &str| run(&bed, &server, line);
    let readme = commands_of("README.md");
    let guide = commands_of("src/cli/guide.md");
    // So scripts/quickstart.sh leaves a host.
    let quickstart = || run("foundry image import debian-12-genericcloud-amd64.qcow2 debian-12");
    quickstart();
    readme.iter().chain(&guide).for_each(|line| run(line));
    bed.uses_address("10.77.0.95");
    assert_eq!(bed.traces(), [], "the tour ends where it began");
    quickstart();
    run(&readme[0]);
    commands_of("CLOUDINIT.md").iter().for_each(|line| run(line));
}
