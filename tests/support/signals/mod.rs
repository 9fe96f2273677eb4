//! The commands that change a host, and what each may have left after a signal: nothing but what it says.

pub(crate) mod terminal;

use std::time::Duration;

use crate::support::arena::Arena;
use crate::support::http::{Reply, Server};
use crate::support::live::{Foundry, Ran};

/// A command on a host.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Whether it waits for something that never comes, so that only a signal ends it.
    pub(crate) waits: bool,
    /// How many calls it makes, about: signals come after any of them.
    pub(crate) calls: u64,
    /// What is the last thing that it tells before it waits.
    pub(crate) last: &'static str,
    /// Makes what it needs.
    pub(crate) prepare: Box<dyn Fn(&Arena)>,
    arguments: Vec<String>,
    input: Input,
    far: bool,
    /// Brings the host back to what it was before [`Self::prepare`], by the commands that are documented for it, and
    /// asserts what must hold.
    pub(crate) settle: Settle,
}

type Settle = Box<dyn Fn(&Arena, &Ran)>;

enum Input {
    Nothing,
    Text(String),
    /// A pipe whose writer says that much and then nothing.
    Silent(Vec<u8>),
}

impl Case {
    fn new(name: &'static str, arguments: &[&str]) -> Self {
        Self {
            name,
            waits: false,
            calls: 60,
            last: "",
            prepare: Box::new(|_| {}),
            arguments: arguments.iter().map(|a| (*a).to_owned()).collect(),
            input: Input::Nothing,
            far: false,
            settle: Box::new(|_, _| {}),
        }
    }

    fn prepare(mut self, prepare: impl Fn(&Arena) + 'static) -> Self {
        self.prepare = Box::new(prepare);
        self
    }

    fn settle(mut self, settle: impl Fn(&Arena, &Ran) + 'static) -> Self {
        self.settle = Box::new(settle);
        self
    }

    fn waits(self, last: &'static str) -> Self {
        Self { waits: true, last, ..self }
    }

    pub(crate) fn command(&self, arena: &Arena, more: &[&str]) -> Foundry {
        let arguments: Vec<&str> =
            self.arguments.iter().map(String::as_str).chain(more.iter().copied()).collect();
        let foundry = arena.bed.foundry(&arguments);
        let foundry = if self.far { foundry.env("FOUNDRY_CONNECT", &arena.bed.far_uri()) } else { foundry };
        match &self.input {
            Input::Nothing => foundry,
            Input::Text(text) => foundry.reads(text),
            Input::Silent(said) => foundry.reads_from(silent(said)),
        }
    }
}

/// A pipe that holds so much and whose writer stays, silent, for longer than any test.
fn silent(said: &[u8]) -> std::io::PipeReader {
    use std::io::Write;
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(said).unwrap();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(600));
        drop(writer);
    });
    reader
}

/// All of them.
pub(crate) fn cases(arena: &Arena) -> Vec<Case> {
    let mut cases = creations(arena);
    cases.extend(images(arena));
    cases.extend(disks(arena));
    cases.extend(pools(arena).into_iter().map(|case| Case { calls: 15, ..case }));
    cases
}

fn creations(arena: &Arena) -> Vec<Case> {
    let web = arena.vm("web", 10).disk("vdb", 1).disk("vdc", 1);
    let three: Vec<_> =
        [("web", 10), ("db", 11), ("web-a", 12)].map(|(end, octet)| arena.vm(end, octet)).into();
    let text: Vec<String> = three.iter().map(ToString::to_string).collect();
    let undone = |names: Vec<String>| {
        move |arena: &Arena, ran: &Ran| {
            let created = arena.vms();
            for vm in &names {
                assert_eq!(
                    created.contains(vm),
                    ran.stdout.contains(&format!("created VM '{vm}'")),
                    "{ran:#?}"
                );
            }
            arena.destroy(created.iter().map(String::as_str));
        }
    };
    let vm = web.name.clone();
    let create = web.clone();
    vec![
        Case { input: Input::Text(web.to_string()), ..Case::new("create", &["create", "-"]) }
            .settle(undone(vec![web.name.clone()])),
        Case {
            calls: 180,
            input: Input::Text(text.join("---\n")),
            ..Case::new("create of three", &["create", "-"])
        }
        .settle(undone(three.iter().map(|m| m.name.clone()).collect())),
        Case::new("destroy", &["destroy", &vm, "--force"])
            .prepare(move |arena| drop(arena.bed.creates(&create)))
            .settle(move |arena, ran| {
                let left = arena.vms();
                assert!(ran.code != 0 || left.is_empty(), "{ran:#?}");
                arena.destroy(left.iter().map(String::as_str));
            }),
    ]
}

const IMAGE: &str = "image.raw";

/// Removes the image, if it is there.
fn without_image(arena: &Arena, ran: &Ran) {
    let is_there = arena.bed.image(IMAGE).exists();
    assert_eq!(is_there, ran.code == 0, "{ran:#?}");
    if is_there {
        arena.bed.foundry(&["image", "delete", IMAGE]).run().exits(0);
    }
}

/// An image that was to be deleted: it is there whole, or gone.
fn perhaps_image(arena: &Arena, ran: &Ran) {
    if arena.bed.image(IMAGE).exists() {
        assert_ne!(ran.code, 0, "{ran:#?}");
        arena.bed.foundry(&["image", "delete", IMAGE]).run().exits(0);
    }
}

fn images(arena: &Arena) -> Vec<Case> {
    // 8 MiB of data with the mark of a boot sector.
    let mut content: Vec<u8> =
        (0..8_u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    content[510..512].copy_from_slice(&[0x55, 0xaa]);
    let file = arena.bed.home().join(IMAGE);
    std::fs::write(&file, &content).unwrap();
    let path = file.display().to_string();
    let to = arena.bed.home().join("export").join("out.raw");
    std::fs::create_dir(to.parent().unwrap()).unwrap();
    let half = content[..1 << 15].to_vec();
    let import = {
        let path = path.clone();
        move |arena: &Arena| arena.bed.import(&path, IMAGE)
    };
    let served = content.clone();
    let server =
        Server::start(move |_| Reply::new(200, served.clone()).pausing(4 << 20, Duration::from_secs(600)));
    let address = server.url("/image.raw");
    // Serves until the test process ends.
    std::mem::forget(server);
    vec![
        Case::new("image import", &["image", "import", &path]).settle(without_image),
        Case { far: true, ..Case::new("image import, far", &["image", "import", &path]) }
            .settle(without_image),
        Case {
            input: Input::Silent(Vec::new()),
            ..Case::new("image import of a silent pipe", &["image", "import", "-", IMAGE])
        }
        .waits("virConnectOpen")
        .settle(without_image),
        Case {
            input: Input::Silent(half),
            ..Case::new("image import of half a pipe", &["image", "import", "-", IMAGE])
        }
        .waits("Importing image")
        .settle(without_image),
        Case::new("image pull of a server that stalls", &["image", "pull", &address])
            .waits("virStorageVolCreateXML")
            .settle(without_image),
        Case::new("image export", &["image", "export", IMAGE, to.to_str().unwrap()])
            .prepare(import.clone())
            .settle(move |arena, ran| {
                let directory = to.parent().unwrap();
                let left: Vec<_> =
                    std::fs::read_dir(directory).unwrap().map(|e| e.unwrap().file_name()).collect();
                assert_eq!(left, if ran.code == 0 { vec!["out.raw"] } else { vec![] }, "{ran:#?}");
                let _ = std::fs::remove_file(&to);
                arena.bed.foundry(&["image", "delete", IMAGE]).run().exits(0);
            }),
        Case::new("image delete", &["image", "delete", IMAGE]).prepare(import.clone()).settle(perhaps_image),
        Case::new("image prune", &["image", "prune", "--all", "--yes"]).prepare(import).settle(perhaps_image),
    ]
}

fn disks(arena: &Arena) -> Vec<Case> {
    let manifest = arena.vm("web", 10).disk("vdb", 1).without_cloud_init();
    let vm = manifest.name.clone();
    let prepare = {
        let manifest = manifest.clone();
        move |arena: &Arena| drop(arena.bed.creates(&manifest))
    };
    // Where the definition is all that changes: a guest without a system does not let go of a disk.
    let prepare_off = {
        let prepare = prepare.clone();
        move |arena: &Arena| {
            prepare(arena);
            arena.bed.virsh().does(&["destroy", &manifest.name]);
        }
    };
    let disks = |arena: &Arena, vm: &str| -> usize {
        let record = arena.bed.record(vm);
        let volumes = record["volumes"].as_array().unwrap();
        assert!(volumes.iter().all(|v| v["attaching"].is_null()), "{record:#}");
        volumes.len()
    };
    let (resized, attached, detached) = (vm.clone(), vm.clone(), vm.clone());
    vec![
        Case::new("disk resize", &["disk", "resize", &vm, "vdb", "2"]).prepare(prepare).settle(
            move |arena, _| {
                arena.bed.foundry(&["disk", "resize", &resized, "vdb", "2"]).run().exits(0);
                let record = arena.bed.record(&resized);
                assert_eq!(record["manifest"]["spec"]["dataDisks"][0]["sizeGB"], 2, "{record:#}");
                arena.destroy([resized.as_str()]);
            },
        ),
        Case::new("disk attach", &["disk", "attach", &vm, "1"]).prepare(prepare_off.clone()).settle(
            move |arena, ran| {
                assert_eq!(disks(arena, &attached), if ran.code == 0 { 3 } else { 2 }, "{ran:#?}");
                assert_eq!(
                    arena.bed.disk(&format!("{attached}_data-vdc")).exists(),
                    ran.code == 0,
                    "{ran:#?}"
                );
                arena.destroy([attached.as_str()]);
            },
        ),
        Case::new("disk detach", &["disk", "detach", &vm, "vdb", "--yes"]).prepare(prepare_off).settle(
            move |arena, ran| {
                if ran.code != 0 {
                    let again = arena.bed.foundry(&["disk", "detach", &detached, "vdb", "--yes"]).run();
                    assert!(
                        again.code == 0 || again.stderr.contains("has no disk 'vdb'"),
                        "{ran:#?} {again:#?}"
                    );
                }
                assert_eq!(disks(arena, &detached), 1, "{ran:#?}");
                arena.destroy([detached.as_str()]);
            },
        ),
    ]
}

fn pools(arena: &Arena) -> Vec<Case> {
    let (name, path) = (arena.bed.name("pool"), arena.bed.storage().join("extra"));
    let path = path.display().to_string();
    let add = ["pool", "add", &name, "dir", &path].map(str::to_owned);
    let words: Vec<&str> = add.iter().map(String::as_str).collect();
    let prepare = {
        let add = add.clone();
        move |arena: &Arena| drop(arena.bed.foundry(&add.each_ref().map(String::as_str)).run().exits(0))
    };
    let gone = {
        let (name, path) = (name.clone(), path.clone());
        move |arena: &Arena, _: &Ran| {
            if arena.bed.virsh().names("pool-list", &name).contains(&name) {
                arena.bed.foundry(&["pool", "delete", &name, "--force"]).run().exits(0);
            }
            // The directory of a pool stays, as documented.
            let _ = std::fs::remove_dir(&path);
        }
    };
    let stopped = {
        let (prepare, name) = (prepare.clone(), name.clone());
        move |arena: &Arena| {
            prepare(arena);
            arena.bed.virsh().does(&["pool-destroy", &name]);
        }
    };
    vec![
        Case::new("pool add", &words).settle({
            let (gone, name) = (gone.clone(), name.clone());
            move |arena: &Arena, ran: &Ran| {
                let is_there = arena.bed.virsh().names("pool-list", &name).contains(&name);
                assert_eq!(is_there, ran.code == 0, "{ran:#?}");
                gone(arena, ran);
            }
        }),
        Case::new("pool stop", &["pool", "stop", &name]).prepare(prepare.clone()).settle(gone.clone()),
        Case::new("pool start", &["pool", "start", &name]).prepare(stopped).settle(gone.clone()),
        Case::new("pool delete", &["pool", "delete", &name]).prepare(prepare).settle(gone),
    ]
}
