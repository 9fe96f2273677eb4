//! The bed of one test: pools, guests and files of its own, and the broom.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{PipeWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use foundry::disk_image::PARTIAL_IMAGE_MARK;
use tempfile::TempDir;

use super::environment;
use super::guest::Guest;
use super::manifest::Manifest;
use super::ran::{Foundry, Ran, Started, program};
use super::small_pool::loop_devices;
use super::virsh::{Virsh, files_in};

/// Where QEMU may read and write under every security model.
const IMAGES: &str = "/var/lib/libvirt/images";
/// Where libvirt keeps serial logs and EFI variables.
const LOGS: &str = "/var/log/libvirt/qemu";
const NVRAM: &str = "/var/lib/libvirt/qemu/nvram";

/// What one test works with. Everything in it is named `foundry-test-ID-…` and goes with it, also after a
/// failure; what an aborted run of the same test left goes at its beginning.
pub(crate) struct Bed {
    id: String,
    bridge: String,
    tiny: String,
    key: String,
    public_key: String,
    home: TempDir,
    virsh: Virsh,
    /// The tap devices of the addresses that it uses: others may use theirs meanwhile.
    taps: RefCell<BTreeSet<String>>,
    /// Held to the end: names and addresses are the same in every run, and there may be two at a time.
    _turn: File,
}

/// Something that is on the host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Trace {
    Domain(String),
    Disk(String),
    ConsoleLog(String),
    EfiVariables(String),
    Tap(String),
}

impl Bed {
    /// Makes the bed of the test `id`: letters and digits, no other test's. `None` where the test is to be
    /// skipped.
    pub(crate) fn new(id: &str) -> Option<Self> {
        let key = environment("FOUNDRY_TEST_SSH_KEY")?;
        let bed = Self {
            id: id.to_owned(),
            bridge: environment("FOUNDRY_TEST_BRIDGE")?,
            tiny: environment("FOUNDRY_TEST_TINY")?,
            public_key: std::fs::read_to_string(format!("{key}.pub")).unwrap().trim().to_owned(),
            key,
            home: tempfile::tempdir().unwrap(),
            taps: RefCell::default(),
            _turn: wait_for_turn(),
            virsh: Virsh { uri: environment("FOUNDRY_TEST_URI")? },
        };
        bed.sweep();
        Some(bed)
    }

    /// A bed whose image pool has the tiny guest as `tiny.qcow2`.
    pub(crate) fn with_tiny(id: &str) -> Option<Self> {
        let bed = Self::new(id)?;
        bed.import(&bed.tiny, "tiny.qcow2");
        Some(bed)
    }

    #[track_caller]
    pub(crate) fn import(&self, file: &str, name: &str) {
        self.foundry(&["image", "import", file, name]).run().exits(0);
    }

    /// The URI of its libvirtd.
    pub(crate) fn uri(&self) -> String {
        self.virsh.uri.clone()
    }

    /// A URI by which the same libvirtd is another machine's, where only its streams can be written to.
    pub(crate) fn far_uri(&self) -> String {
        let script = self.home.path().join("far.sh");
        std::fs::write(&script, format!("#!/bin/sh\nexec virt-ssh-helper '{}'\n", self.virsh.uri)).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        format!("qemu+ext:///system?command={}", script.display())
    }

    pub(crate) fn virsh(&self) -> &Virsh {
        &self.virsh
    }

    pub(crate) fn bridge(&self) -> &str {
        &self.bridge
    }

    /// The file of the tiny guest's image.
    pub(crate) fn tiny(&self) -> &str {
        &self.tiny
    }

    /// The key that the guests' root has.
    pub(crate) fn public_key(&self) -> &str {
        &self.public_key
    }

    /// The file of its private key.
    pub(crate) fn private_key(&self) -> &str {
        &self.key
    }

    /// A directory for files of the test, and foundry's HOME.
    pub(crate) fn home(&self) -> &std::path::Path {
        self.home.path()
    }

    /// A name of this bed's.
    pub(crate) fn name(&self, end: &str) -> String {
        format!("foundry-test-{}-{end}", self.id)
    }

    pub(crate) fn vm_pool(&self) -> String {
        self.name("vms")
    }

    pub(crate) fn image_pool(&self) -> String {
        self.name("images")
    }

    /// The directory of the bed's pools.
    pub(crate) fn storage(&self) -> PathBuf {
        PathBuf::from(format!("{IMAGES}/foundry-test-{}", self.id))
    }

    /// The path of a VM's volume.
    pub(crate) fn disk(&self, volume: &str) -> PathBuf {
        self.storage().join("vms").join(volume)
    }

    pub(crate) fn image(&self, name: &str) -> PathBuf {
        self.storage().join("images").join(name)
    }

    /// Waits until an import writes: its volume begins with the mark, in whose place the image's head comes last. Within
    /// reach it writes into the file, without a call that would tell.
    fn until_import_writes(&self, name: &str) {
        let image = self.image(name);
        for _ in 0..60_000 {
            if begins_with_mark(&image) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        panic!("no import begins to write {}", image.display());
    }

    /// Begins an import from a pipe and waits until it writes. It goes on until what this returns is dropped: a test can
    /// interrupt it at any time, however fast the disk is.
    pub(crate) fn start_import(&self, name: &str) -> (Started, PipeWriter) {
        let (reader, mut content) = std::io::pipe().unwrap();
        let started = self.foundry(&["image", "import", "-", name, "-vv"]).reads_from(reader).start();
        let mut head = vec![1; 1 << 20];
        head[510..512].copy_from_slice(&[0x55, 0xaa]);
        content.write_all(&head).unwrap();
        self.until_import_writes(name);
        (started, content)
    }

    /// foundry, with nothing of the caller's environment but what the bed decides.
    pub(crate) fn foundry(&self, arguments: &[&str]) -> Foundry {
        let mut command = Command::new(env!("CARGO_BIN_EXE_foundry"));
        command.args(arguments).current_dir(self.home.path()).env_clear();
        for (name, value) in self.variables() {
            command.env(name, value);
        }
        Foundry::of(command)
    }

    /// The whole environment of a foundry in this bed.
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        let kept = |name| std::env::var(name).unwrap_or_default();
        vec![
            ("PATH", kept("PATH")),
            ("HOME", self.home.path().display().to_string()),
            ("LC_ALL", "C".into()),
            ("FOUNDRY_RUNNER_DATABASE", self.home.path().join("runner.db").display().to_string()),
            ("FOUNDRY_CONNECT", self.virsh.uri.clone()),
            ("FOUNDRY_VM_POOL", self.vm_pool()),
            ("FOUNDRY_IMAGE_POOL", self.image_pool()),
            ("FOUNDRY_STORAGE_PATH", self.storage().display().to_string()),
            (
                "FOUNDRY_VIRT_TYPE",
                Some(kept("FOUNDRY_VIRT_TYPE")).filter(|t| !t.is_empty()).unwrap_or("auto".into()),
            ),
        ]
    }

    /// A manifest of the tiny guest at 10.77.0.`octet`, which is to be no other test's.
    pub(crate) fn manifest(&self, end: &str, octet: u8) -> Manifest {
        let name = self.name(end);
        let address = format!("10.77.0.{octet}");
        self.uses_address(&address);
        Manifest {
            boot_disk: "{sizeGB: 1, image: tiny.qcow2}".into(),
            interfaces: vec![format!(
                "{{ip: {address}/24, gateway: 10.77.0.1, dnsServers: [10.77.0.1], bridge: {}}}",
                self.bridge
            )],
            disks: Vec::new(),
            spec: Vec::new(),
            metadata: Vec::new(),
            cloud_init: vec![
                format!("fqdn: {}.example.com", name.replace('_', "-")),
                format!("sshAuthorizedKeys: [{}]", self.public_key),
            ],
            vcpus: 1,
            memory: "0.25".into(),
            name,
            address,
        }
    }

    /// Has the tap device of a further address looked for in [`Self::traces`].
    pub(crate) fn uses_address(&self, address: &str) {
        self.taps.borrow_mut().insert(tap_name(address));
    }

    /// Creates it, which must succeed.
    #[track_caller]
    pub(crate) fn creates(&self, manifest: &Manifest) -> Ran {
        self.foundry(&["create", "-"]).reads(manifest).run().exits(0)
    }

    /// Creates it and waits for SSH.
    #[track_caller]
    pub(crate) fn boots(&self, manifest: &Manifest) -> Guest {
        self.foundry(&["create", "-", "--wait", "--timeout=3m"]).reads(manifest).run().exits(0);
        self.guest(manifest.address())
    }

    pub(crate) fn guest(&self, ip: &str) -> Guest {
        Guest { ip: ip.to_owned(), key: self.key.clone() }
    }

    /// `foundry get NAME -o json`.
    #[track_caller]
    pub(crate) fn get(&self, name: &str) -> serde_json::Value {
        serde_json::from_str(&self.foundry(&["get", name, "-o", "json"]).run().exits(0).stdout).unwrap()
    }

    /// foundry's record of a VM, from the metadata as libvirt keeps it for the next start.
    #[track_caller]
    pub(crate) fn record(&self, name: &str) -> serde_json::Value {
        let uri = "http://foundry.cofront.xyz/v1alpha1";
        let element = self.virsh.does(&["metadata", name, uri, "--config"]);
        let document = roxmltree::Document::parse(&element).unwrap();
        serde_json::from_str(document.root_element().text().unwrap()).unwrap()
    }

    /// Puts another record into the metadata.
    pub(crate) fn set_record(&self, name: &str, record: &serde_json::Value) {
        let text = record.to_string().replace('&', "&amp;").replace('<', "&lt;");
        self.set_metadata(name, &format!("<vm>{text}</vm>"));
    }

    /// Puts another record into the metadata of a running VM.
    pub(crate) fn set_live_record(&self, name: &str, record: &serde_json::Value) {
        let text = record.to_string().replace('&', "&amp;").replace('<', "&lt;");
        let (uri, element) = ("http://foundry.cofront.xyz/v1alpha1", format!("<vm>{text}</vm>"));
        for affect in ["--config", "--live"] {
            self.virsh.does(&["metadata", name, uri, affect, "--key", "foundry", "--set", &element]);
        }
    }

    pub(crate) fn set_metadata(&self, name: &str, element: &str) {
        let uri = "http://foundry.cofront.xyz/v1alpha1";
        self.virsh.does(&["metadata", name, uri, "--config", "--key", "foundry", "--set", element]);
    }

    /// Everything on the host that bears the name of this bed's VMs, its pools apart.
    pub(crate) fn traces(&self) -> Vec<Trace> {
        let prefix = self.name("");
        let mut traces: Vec<Trace> =
            self.virsh.names("list", &prefix).into_iter().map(Trace::Domain).collect();
        traces.extend(files_in(self.storage().join("vms"), "").into_iter().map(Trace::Disk));
        traces.extend(
            files_in(LOGS, &prefix)
                .into_iter()
                .filter(|f| f.ends_with("-console.log"))
                .map(Trace::ConsoleLog),
        );
        traces.extend(files_in(NVRAM, &prefix).into_iter().map(Trace::EfiVariables));
        let taps = files_in("/sys/class/net", "vm").into_iter().filter(|t| self.taps.borrow().contains(t));
        traces.extend(taps.map(Trace::Tap));
        traces
    }

    fn sweep(&self) {
        let prefix = self.name("");
        for domain in self.virsh.names_if_any("list", &prefix) {
            self.virsh.tries(&["destroy", &domain]);
            let flags = ["--nvram", "--managed-save", "--snapshots-metadata", "--checkpoints-metadata"];
            complain(&self.virsh.tries(&[&["undefine", &domain], flags.as_slice()].concat()));
        }
        for network in self.virsh.names_if_any("net-list", &prefix) {
            self.virsh.tries(&["net-destroy", &network]);
            complain(&self.virsh.tries(&["net-undefine", &network]));
        }
        for pool in self.virsh.names_if_any("pool-list", &prefix) {
            self.virsh.tries(&["pool-destroy", &pool]);
            complain(&self.virsh.tries(&["pool-undefine", &pool]));
        }
        for device in loop_devices(&self.storage().display().to_string()) {
            complain(&program("losetup", &["--detach", &device]));
        }
        // The logs of QEMU's own, too: libvirt leaves them for each domain that ever ran.
        for directory in [LOGS, NVRAM, IMAGES] {
            let mine = |file: &String| file.starts_with(&prefix) || *file == prefix.trim_end_matches('-');
            for file in files_in(directory, "foundry-test-").into_iter().filter(mine) {
                complain(&program("rm", &["-rf", "--one-file-system", &format!("{directory}/{file}")]));
            }
        }
    }

    /// After a failure: what the guests said, before they go.
    fn show_consoles(&self) {
        for log in files_in(LOGS, &self.name("")) {
            let text = std::fs::read(format!("{LOGS}/{log}")).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let last: Vec<&str> = text.lines().rev().take(15).collect();
            println!("--- {log}\n{}", last.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
    }
}

/// One live test at a time on a machine, whichever run it belongs to.
fn wait_for_turn() -> File {
    let lock = File::create(std::env::temp_dir().join("foundry-live-tests.lock")).unwrap();
    lock.lock().unwrap();
    lock
}

/// The name of an address's tap device (design document: `vm` and the address in hexadecimal).
pub(super) fn tap_name(address: &str) -> String {
    let octets = address.split('.').map(|octet| octet.parse::<u8>().unwrap());
    octets.fold("vm".to_owned(), |name, octet| format!("{name}{octet:02x}"))
}

fn complain(ran: &Ran) {
    if ran.code != 0 {
        println!("while cleaning up: {ran:?}");
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show_consoles();
        }
        self.sweep();
    }
}

/// Whether an image is on its way into that file.
fn begins_with_mark(file: &Path) -> bool {
    let mut begin = [0; PARTIAL_IMAGE_MARK.len()];
    let read =
        std::fs::File::open(file).and_then(|mut file| std::io::Read::read_exact(&mut file, &mut begin));
    read.is_ok() && begin == *PARTIAL_IMAGE_MARK
}
