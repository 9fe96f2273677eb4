//! foundry killed while data flow through a stream of a real libvirtd's. No guest boots here.
//!
//! Volumes of this machine are written without a stream, so libvirt is reached as another machine is: by a
//! command that leads to the daemon (libvirt's page "Remote support", transport `ext`).

use std::collections::BTreeSet;
use std::io::{PipeReader, Read, Write, pipe};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::live;
use crate::support::live::{Bed, Foundry, program};
use foundry::content::Content;
use foundry::host::{Libvirt, Transfers, Volumes, Zeros};
use foundry::record::VolumeRef;

/// Far more than the daemon takes for what it was sent here.
const AT_MOST: Duration = Duration::from_secs(33);

/// On the command line of the keeper of a pull.
const KEEPER: &str = "upload to volume 'endless.raw'";

/// Data that begin as a disk does.
static BOOTABLE: [u8; 1 << 16] = {
    let mut data = [1; 1 << 16];
    (data[510], data[511]) = (0x55, 0xaa);
    data
};

fn foundry(bed: &Bed, arguments: &[&str]) -> Foundry {
    bed.foundry(arguments).env("FOUNDRY_CONNECT", &bed.far_uri())
}

/// The processes, dead ones apart, that have this text on their command line.
fn processes_with(text: &str) -> Vec<u32> {
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let command_line = |pid: &u32| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    pids.filter(|pid| String::from_utf8_lossy(&command_line(pid)).contains(text)).collect()
}

/// This process's children, dead ones too.
fn children() -> Vec<u32> {
    let me = std::process::id();
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    // "PID (name) state parent …" (proc_pid_stat(5)); the name may have blanks and brackets.
    let parent = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)?.parse().ok()) == Some(me)
    };
    pids.filter(parent).collect()
}

#[track_caller]
fn eventually(what: &str, within: Duration, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < within, "{what}: not within {within:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Each kill stops a daemon that is not protected with a chance of a few in a hundred. What protects it is
/// seen each time: somebody holds the socket on, and not for ever.
#[test]
fn the_daemon_survives_killed_uploads() {
    let Some(bed) = Bed::new("lgkill") else { return };
    let uri = live::environment("FOUNDRY_TEST_URI").unwrap();
    let image = bed.name("endless.raw");
    let mut holders = BTreeSet::new();
    for round in 0..8 {
        let command = foundry(&bed, &["image", "import", "-", &image, "-vv"]);
        let mut upload = command.reads_from(image_without_end()).start();
        // The first upload is the import's mark, which is over at once.
        let mut uploads = 0;
        assert!(upload.until(|line| {
            uploads += usize::from(line.contains("virStorageVolUpload"));
            uploads == 2
        }));
        thread::sleep(Duration::from_millis(round * 7));
        upload.signal("KILL");
        assert_eq!(upload.end().code, 137, "killed while data flow");
        holders.extend(processes_with(&image));
        program("timeout", &["10", "virsh", "-c", &uri, "list"]).exits(0);
        bed.virsh().does(&["vol-delete", &image, "--pool", &bed.image_pool()]);
    }
    assert_eq!(holders.len(), 8, "one for each: {holders:?}");
    eventually("all have ended", AT_MOST, || processes_with(&image).is_empty());
}

/// The first sector of a disk, and data until nobody wants them.
fn image_without_end() -> PipeReader {
    let (reader, mut writer) = pipe().unwrap();
    thread::spawn(move || while writer.write_all(&BOOTABLE).is_ok() {});
    reader
}

/// What foundry has open besides libvirt's socket closes with it.
#[test]
fn a_killed_pull_stops_reading_from_the_server() {
    let Some(bed) = Bed::new("lgpull") else { return };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/endless.raw", listener.local_addr().unwrap());
    let server = thread::spawn(move || serve_without_end(&listener));
    let mut pull = foundry(&bed, &["image", "pull", &url, "--name", "endless", "-vv"]).start();
    assert!(pull.until(|line| line.contains("virStorageVolUpload")));
    thread::sleep(Duration::from_millis(300));
    assert!(!server.is_finished(), "foundry reads");
    pull.signal("KILL");
    assert_eq!(pull.end().code, 137, "killed while data flow");
    let holders = processes_with(KEEPER);
    assert_eq!(holders.len(), 1, "somebody holds libvirt's socket on");
    eventually("nobody reads from the server", AT_MOST, || server.is_finished());
    // Whoever wants it gone at once may have that.
    program("kill", &["-s", "TERM", &holders[0].to_string()]).exits(0);
    eventually("it has ended", AT_MOST, || processes_with(KEEPER).is_empty());
}

/// Says that much more comes than ever will, and sends until nobody wants it.
fn serve_without_end(listener: &TcpListener) {
    for client in listener.incoming() {
        let mut client = client.unwrap();
        let mut asked = [0; 4096];
        let length = client.read(&mut asked).unwrap_or(0);
        let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1099511627776\r\n\r\n";
        if client.write_all(head.as_bytes()).is_err() || asked[..length].starts_with(b"HEAD") {
            continue;
        }
        while client.write_all(&BOOTABLE).is_ok() {}
        return;
    }
}

/// Looks at the children of this process when it is read.
struct Watching<R> {
    content: R,
    seen: usize,
}

impl<R: Read> Watching<R> {
    fn new(content: R) -> Self {
        Self { content, seen: 0 }
    }
}

impl<R: Read> Read for Watching<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.seen = self.seen.max(children().len());
        self.content.read(into)
    }
}

impl<R: Read> Content for Watching<R> {}

struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        Err(std::io::Error::other("broken"))
    }
}

#[test]
fn a_transfer_has_a_child_that_ends_with_it() {
    let Some(bed) = Bed::new("lgchild") else { return };
    let pool = bed.image_pool();
    make_pool(&bed, &pool, &bed.storage());
    let uri = live::environment("FOUNDRY_TEST_URI").unwrap();
    let host = Libvirt::connect(&uri, Arc::new(())).unwrap().through_streams_only();
    let host = host.with_socket_keeper(env!("CARGO_BIN_EXE_foundry"));
    let xml =
        "<volume><name>v</name><capacity>4194304</capacity><target><format type='raw'/></target></volume>";
    host.create_volume(&pool, xml).unwrap();
    let before = children().len();
    let bytes = vec![7; 4 << 20];
    let mut content = Watching::new(&*bytes);
    host.upload(&VolumeRef::new(&pool, "v"), &mut content, 0, 4 << 20, Zeros::Written).unwrap();
    assert_eq!((content.seen, children().len()), (before + 1, before), "during the upload and after it");
    let mut into = Vec::new();
    host.download(&VolumeRef::new(&pool, "v"), &mut into, 4 << 20).unwrap();
    assert!(into == bytes);
    assert_eq!(children().len(), before, "after the download");

    let mut broken = Watching::new(Broken);
    host.upload(&VolumeRef::new(&pool, "v"), &mut broken, 0, 4 << 20, Zeros::Written).unwrap_err();
    assert_eq!((broken.seen, children().len()), (before + 1, before), "during a failure and after it");
}

fn make_pool(bed: &Bed, pool: &str, directory: &Path) {
    bed.virsh().does(&["pool-define-as", pool, "dir", "--target", directory.to_str().unwrap()]);
    bed.virsh().does(&["pool-build", pool]);
    bed.virsh().does(&["pool-start", pool]);
}
