//! A daemon that hangs, vanishes, restarts, or is newer than foundry: a private one, of which nobody else knows.

use std::io::{PipeWriter, Write, pipe};
use std::thread;
use std::time::Duration;

use crate::support::daemon::host::{IMAGES, PrivateHost, eventually};
use crate::support::daemon::newer;
use crate::support::live::{Foundry, Ran, Started, program};

/// Data that begin as a disk does.
static BOOTABLE: [u8; 1 << 16] = {
    let mut data = [1; 1 << 16];
    (data[510], data[511]) = (0x55, 0xaa);
    data
};

/// Far more than all buffers between here and the daemon's disk take.
const MUCH: usize = 64 << 20;

/// An import whose content comes as the test likes.
struct Import {
    run: Started,
    content: PipeWriter,
}

/// Begins an import and waits until its upload does; from then on it waits for content.
#[track_caller]
fn import(foundry: Foundry) -> Import {
    let (reader, mut content) = pipe().unwrap();
    let mut run = foundry.reads_from(reader).start();
    // More than the part that is judged before anything is made.
    let head = thread::spawn(move || {
        content.write_all(&BOOTABLE).unwrap();
        content.write_all(&[2; 1 << 19]).unwrap();
        content
    });
    let mut uploads = 0;
    // The first one is the import's mark.
    assert!(run.until(|line| {
        uploads += usize::from(line.contains("virStorageVolUpload"));
        uploads == 2
    }));
    Import { run, content: head.join().unwrap() }
}

impl Import {
    /// Lets the content come, as long as it is wanted; how foundry ended.
    fn goes_on(mut self, bytes: usize) -> Ran {
        let rest = thread::spawn(move || {
            for _ in 0..bytes / BOOTABLE.len() {
                if self.content.write_all(&BOOTABLE).is_err() {
                    break;
                }
            }
        });
        let ran = self.run.end();
        rest.join().unwrap();
        ran
    }
}

const IMPORT: [&str; 5] = ["image", "import", "-", "part.raw", "-vv"];

/// What an import left can be seen and taken away with the command that it named.
#[track_caller]
fn takes_away_the_rest(host: &PrivateHost, ran: &Ran) {
    assert!(ran.stderr.contains("left behind: volume 'part.raw' in pool 'foundry-test-images'"), "{ran:#?}");
    let command = "foundry image delete part.raw --force removes it";
    assert!(ran.stderr.contains(command), "{ran:#?}");
    let listed = host.foundry(&["image", "list"]).run().exits(0).stdout;
    assert!(listed.contains("part.raw"), "{listed}");
    host.foundry(&["image", "delete", "--force", "--yes", "part.raw"]).run().exits(0);
    assert_eq!(host.virsh(&["vol-list", "foundry-test-images"]), "");
}

#[test]
fn a_daemon_that_hangs_is_not_waited_for() {
    let Some(host) = PrivateHost::new() else { return };
    host.signal("STOP");
    let uri = host.uri();
    let told = format!(
        "error: cannot connect to {uri}: no answer within 1 s\n  hint: if `virsh -c '{uri}' list` hangs too:"
    );
    host.foundry(&["list", "--call-timeout", "1s"]).run().exits(3).mentions(&told);
    host.foundry(&["test-conn"]).env("FOUNDRY_CALL_TIMEOUT", "1s").run().exits(3).mentions(&told);
    host.signal("CONT");
    host.foundry(&["list", "--call-timeout", "0"]).run().exits(0);

    let call = import(host.foundry(&[&IMPORT[..], &["--call-timeout", "3s"]].concat()));
    host.signal("STOP");
    let ran = call.goes_on(MUCH).exits(3).has_code("FND-3005").mentions(&format!(
        "error: {uri} did not answer within 3 s when it was to upload to volume 'part.raw' in pool 'foundry-test-images'\n"
    ));
    host.signal("CONT");
    takes_away_the_rest(&host, &ran);
}

/// libvirtd 11.3 hangs for ever when the socket of an upload closes before its disk goes on. With full buffers, the
/// first such end did that.
#[test]
fn a_daemon_whose_disk_stands_still_survives_the_end_of_an_upload() {
    let Some(host) = PrivateHost::new() else { return };
    host.mount_images();
    let rounds = if std::env::var("FOUNDRY_TEST_FULL").as_deref() == Ok("1") { 10 } else { 1 };
    for _ in 0..rounds {
        let upload = import(host.foundry(&[&IMPORT[..], &["--call-timeout", "3s"]].concat()));
        host.inside(&["fsfreeze", "-f", IMAGES]).exits(0);
        let ran = upload.goes_on(MUCH);
        host.inside(&["fsfreeze", "-u", IMAGES]).exits(0);
        let ran =
            ran.exits(3).mentions("did not answer within 3 s when it was to upload to volume 'part.raw'");
        eventually("nobody holds its socket any more", || {
            host.virsh(&["list"]);
            program("pgrep", &["-f", "import - part.raw -vv --call-timeout 3s"]).code != 0
        });
        takes_away_the_rest(&host, &ran);
    }
}

/// Where the daemon is there and what leads to it is not, nothing says so but that pings stay without answers. A daemon
/// on its part drops clients that said that they know pings and then answer none.
#[test]
fn pings_tell_who_is_there_while_nothing_is_asked() {
    let Some(host) = PrivateHost::new() else { return };
    host.configure("keepalive_interval = 1\nkeepalive_count = 3");
    let command = host.foundry(&[&IMPORT[..], &["--call-timeout", "6s"]].concat());
    let vanished = import(command.env("FOUNDRY_CONNECT", &host.far_uri()));
    let stays = import(host.foundry(&["image", "import", "-", "whole.raw", "-vv"]));
    let helper = host.way_to_far();
    program("kill", &["-s", "STOP", &helper]).exits(0);
    // Five pings without an answer, one in each second, and the one after them; the daemon's are four.
    thread::sleep(Duration::from_secs(8));
    stays.goes_on(1 << 20).exits(0);
    let ran = vanished.goes_on(MUCH);
    program("kill", &["-s", "KILL", &helper]);
    let ran = ran
        .exits(3)
        .has_code("FND-3004")
        .mentions("error: lost the connection to ")
        .mentions(": it was lost before that");
    host.foundry(&["image", "delete", "--yes", "whole.raw"]).run().exits(0);
    takes_away_the_rest(&host, &ran);
}

#[test]
fn a_restart_between_two_calls_loses_the_connection_and_nothing_else() {
    let Some(host) = PrivateHost::new() else { return };
    for signal in ["KILL", "TERM"] {
        let upload = import(host.foundry(&IMPORT));
        host.restart(signal);
        let ran = upload.goes_on(MUCH).exits(3);
        let ran = ran
            .mentions("error: lost the connection to ")
            .mentions("while trying to upload to volume 'part.raw'");
        takes_away_the_rest(&host, &ran);
    }
}

fn manifest(name: &str) -> String {
    format!(
        "apiVersion: foundry.cofront.xyz/v1alpha1\nkind: VirtualMachine\nmetadata: {{name: {name}}}\nspec:\n  vcpus: 1\n  memoryGiB: 0.25\n  bootDisk: {{sizeGB: 1, empty: true}}\n  networkInterfaces:\n    - {{ip: 10.77.0.10/24, gateway: 10.77.0.1, bridge: br0}}\n"
    )
}

/// The guest runs on, and so does the VM's record.
#[test]
fn a_restart_while_a_guest_is_waited_for_leaves_the_vm() {
    let Some(host) = PrivateHost::new() else { return };
    for signal in ["KILL", "TERM"] {
        // As another machine's, whose bridges are not this kernel's.
        let command = host.foundry(&["create", "-", "--wait=agent", "--timeout=2m", "-vv"]);
        let mut create = command.env("FOUNDRY_CONNECT", &host.far_uri()).reads(manifest("web")).start();
        // It is asked for again and again.
        assert!(create.until(|line| line.contains("virDomainQemuAgentCommand")));
        host.restart(signal);
        let ran = create.end().exits(3).mentions("error: lost the connection to ");
        let ran = ran.mentions("VM 'web' is kept as it is; foundry destroy web removes it");
        assert!(!ran.stderr.contains("removed again"), "{ran:#?}");
        let list = host.foundry(&["list"]).run().exits(0).stdout;
        assert!(list.contains("web") && list.contains("running"), "{list}");
        host.foundry(&["destroy", "web", "--force", "--yes"]).run().exits(0);
        assert_eq!(host.virsh(&["vol-list", "foundry-test-vms"]), "");
    }
}

/// A number that means nothing here is told, and never taken for "off".
#[test]
fn a_state_of_a_newer_daemon_is_no_reason_to_delete_disks() {
    let Some(host) = PrivateHost::new() else { return };
    let create = host.foundry(&["create", "-"]).env("FOUNDRY_CONNECT", &host.far_uri());
    create.reads(manifest("web")).run().exits(0);
    let socket = host.home().join("newer-sock");
    newer::says_state(23, host.socket(), &socket);
    let uri = format!("qemu+unix:///system?socket={}", socket.display());
    let newer = |arguments: &[&str]| host.foundry(arguments).env("FOUNDRY_CONNECT", &uri).run();
    let before = host.virsh(&["vol-list", "foundry-test-vms"]);

    let list = newer(&["list"]).exits(0).stdout;
    assert!(list.contains("unknown (23)"), "{list}");
    let json = newer(&["get", "web", "-o", "json"]).exits(0).stdout;
    let status = serde_json::from_str::<serde_json::Value>(&json).unwrap()["status"].clone();
    assert_eq!((&status["phase"], &status["state"]), (&"Unknown".into(), &"unknown (23)".into()));
    assert_eq!(status["conditions"][0]["status"], "Unknown");
    newer(&["destroy", "web", "--yes"])
        .exits(4)
        .mentions("VM 'web' cannot be stopped: it is still unknown (23)\n  nothing was removed; ");
    assert_eq!(host.virsh(&["vol-list", "foundry-test-vms"]), before, "its disks may be in use");

    host.foundry(&["destroy", "web", "--yes"]).run().exits(0);
    assert_eq!(host.virsh(&["vol-list", "foundry-test-vms"]), "");
}
