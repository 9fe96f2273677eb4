//! What the commands on images refuse and ask for, before a byte of an image is read.

use std::process::{Command, Stdio};

use crate::support::command::{Ran, foundry, skip_without};
use crate::support::deadline::CommandInTime as _;
use crate::support::http::{Reply, Server};

/// libvirt's test driver with one image that is surely whole and one of which it shows nothing.
const NODE: &str = "<node><pool type='dir'><name>foundry-images</name><target><path>/nowhere</path></target>\
    <volume><name>one.qcow2</name><capacity>1048576</capacity><allocation>0</allocation><target><path>/nowhere/one.qcow2</path><format type='qcow2'/></target></volume>\
    <volume><name>two.raw</name><capacity>1048576</capacity><allocation>0</allocation><target><path>/nowhere/two.raw</path><format type='raw'/></target></volume>\
    </pool></node>";

struct Node(tempfile::TempDir);

impl Node {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("node.xml"), NODE).unwrap();
        Self(folder)
    }

    fn at(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    fn uri(&self) -> String {
        format!("test://{}", self.at("node.xml"))
    }

    fn run(&self, args: &[&str]) -> Ran {
        let uri = self.uri();
        let mut command = foundry(&[&["-c", uri.as_str(), "image"], args].concat());
        Ran::from(command.stdin(Stdio::null()).output_in_time().unwrap())
    }
}

#[test]
fn nothing_is_pruned_where_nobody_can_be_asked() {
    let node = Node::new();
    let ran = node.run(&["prune", "--all"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{}", ran.stderr);
    assert!(ran.stderr.contains("--yes") && ran.stderr.contains("nothing was deleted"), "{}", ran.stderr);
    let ran = node.run(&["prune", "--all", "--dry-run"]);
    assert_eq!(ran.stdout, "Would delete:\n  one.qcow2  0 B  of unknown origin\n", "{}", ran.stderr);
    let ran = node.run(&["prune", "--all", "--yes"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "Successfully deleted 1 image, 0 B\n"), "{}", ran.stderr);
}

#[test]
fn an_image_that_cannot_be_read_is_listed_as_unknown() {
    let ran = Node::new().run(&["list", "--no-headers"]);
    let formats: Vec<&str> = ran.stdout.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!(formats, ["qcow2", "unknown"], "{}", ran.stderr);
}

#[test]
fn only_a_regular_file_is_replaced_by_an_export() {
    let node = Node::new();
    let (file, link, folder) = (node.at("file"), node.at("link"), node.at("folder"));
    std::fs::write(&file, "mine").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    std::fs::create_dir(&folder).unwrap();
    let refused = |args: &[&str], why: &str| {
        let ran = node.run(&[&["export", "one.qcow2"], args].concat());
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{}", ran.stderr);
        assert!(ran.stderr.contains(why), "{}", ran.stderr);
    };
    refused(&[&file], "--force overwrites it");
    for odd in [&link, &folder] {
        refused(&[odd], "is not a regular file");
        refused(&[odd, "--force"], "is not a regular file");
    }
    assert_eq!(std::fs::read_link(&link).unwrap().display().to_string(), file);
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");
}

#[test]
fn an_image_is_not_written_to_a_terminal() {
    let node = Node::new();
    for target in ["-", "/dev/tty", "/dev/stdout"] {
        let command =
            format!("{} -c {} image export one.qcow2 {target}", env!("CARGO_BIN_EXE_foundry"), node.uri());
        let mut script = Command::new("script");
        script.args(["-qec", &command, "/dev/null"]).env_clear().env("PATH", "/usr/bin:/bin");
        let Ok(out) = script.stdin(Stdio::null()).output_in_time() else {
            skip_without("script", "bsdutils");
            return;
        };
        let said = String::from_utf8_lossy(&out.stdout);
        assert_eq!(out.status.code(), Some(1), "{target}: {said}");
        assert!(said.contains("cannot write an image to a terminal"), "{target}: {said}");
    }
}

/// With an overlay, and an image whose name another one's begins with.
const LAYERS: &str = "<node><pool type='dir'><name>foundry-images</name><target><path>/nowhere</path></target>\
    <volume><name>base.qcow2</name><capacity>1048576</capacity><allocation>0</allocation><target><path>/nowhere/base.qcow2</path><format type='qcow2'/></target></volume>\
    <volume><name>top.qcow2</name><capacity>1048576</capacity><allocation>0</allocation><target><path>/nowhere/top.qcow2</path><format type='qcow2'/></target>\
    <backingStore><path>/nowhere/base.qcow2</path><format type='qcow2'/></backingStore></volume>\
    <volume><name>two.raw</name><capacity>1048576</capacity><allocation>0</allocation><target><path>/nowhere/two.raw</path><format type='qcow2'/></target></volume>\
    <volume><name>two.qcow2</name><capacity>1048576</capacity><allocation>0</allocation><target><path>/nowhere/two.qcow2</path><format type='qcow2'/></target></volume>\
    </pool></node>";

#[test]
fn info_shows_who_lies_on_an_image_by_whatever_name_it_is_asked_for() {
    let node = Node::new();
    std::fs::write(node.at("node.xml"), LAYERS).unwrap();
    for name in ["base", "base.qcow2"] {
        let ran = node.run(&["info", name]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert!(ran.stdout.contains("Name:       base.qcow2\n"), "{}", ran.stdout);
        assert!(ran.stdout.contains("Used by:    volume foundry-images/top.qcow2\n"), "{}", ran.stdout);
    }
    assert!(node.run(&["info", "top"]).stdout.contains("Used by:    -\n"));
    let ran = node.run(&["delete", "base"]);
    assert!(ran.code == 5 && ran.stderr.contains("image 'base.qcow2' is in use"), "{}", ran.stderr);
    assert!(ran.stderr.contains("that volume needs it") && !ran.stderr.contains("destroy"), "{}", ran.stderr);
    for verb in [
        &["info", "two"][..],
        &["delete", "two"],
        &["delete", "two", "--force", "--yes"],
        &["export", "two", "-"],
    ] {
        let ran = node.run(verb);
        assert_eq!((ran.code, ran.stdout.as_str()), (5, ""), "{verb:?} {}", ran.stderr);
        assert!(ran.stderr.contains("may be any of two.qcow2, two.raw"), "{verb:?} {}", ran.stderr);
    }
    let ran = node.run(&["delete", "top"]);
    assert_eq!(ran.stdout, "Successfully deleted image 'top.qcow2'\n", "{}", ran.stderr);
}

#[test]
fn a_name_beside_which_no_note_can_lie_is_refused_before_anything() {
    let node = Node::new();
    let name = "n".repeat(238) + ".qcow2";
    let ran = node.run(&["pull", "http://127.0.0.1:1/x", "--name", &name]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("243"), "{}", ran.stderr);
}

#[test]
fn a_file_that_is_not_there_is_said_so_in_the_words_of_all_commands() {
    let ran = Node::new().run(&["import", "/nowhere/disk.qcow2"]);
    assert!(ran.stderr.contains("no such file") && !ran.stderr.contains("os error"), "{}", ran.stderr);
}

/// A login comes from a file or a variable, goes to the server that was named, also for its list of checksums, and nowhere
/// else; a refusal says where one is taken from, and nothing shows it.
#[test]
fn a_login_is_sent_to_the_named_server_and_shown_nowhere() {
    use std::os::unix::fs::PermissionsExt;
    let node = Node::new();
    let other = Server::start(|_| Reply::new(403, ""));
    let elsewhere = other.url("/x.qcow2");
    let server = Server::start(move |request| match request.path.as_str() {
        "/led.qcow2" => Reply::redirect(&elsewhere),
        _ => Reply::new(401, ""),
    });
    let login = node.at("login");
    let write = |text: &str| {
        std::fs::write(&login, text).unwrap();
        std::fs::set_permissions(&login, std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    let pull = |path: &str, flags: &[&str], variable: &str| {
        let (uri, url) = (node.uri(), server.url(path));
        let mut command = foundry(&[&["-vv", "-c", &uri, "image", "pull", &url], flags].concat());
        command.env("FOUNDRY_PULL_AUTH", variable);
        let ran = Ran::from(command.stdin(Stdio::null()).output_in_time().unwrap());
        assert!(!ran.stderr.contains("s3cret") && !ran.stderr.contains("bWU6"), "{}", ran.stderr);
        assert_eq!(ran.code, 5, "{}", ran.stderr);
        let sent = server.requests().last().unwrap().header("authorization").map(str::to_owned);
        (sent, ran.stderr)
    };
    let from_file = ["--login-file", login.as_str()];
    let (sent, told) = pull("/x.qcow2", &[], "");
    assert_eq!(sent, None);
    assert!(told.contains("--login-file FILE") && told.contains("FOUNDRY_PULL_AUTH"), "{told}");
    assert!(!told.contains("PASSWORD@"), "{told}");
    let pair = Some("Basic bWU6czNjcmV0".to_owned());
    let (sent, told) = pull("/x.qcow2", &[], "me:s3cret");
    assert_eq!(sent, pair);
    assert!(told.contains("the login may be wrong"), "{told}");
    write("Bearer s3cret\n");
    assert_eq!(
        pull("/x.qcow2", &from_file, "me:s3cret").0.as_deref(),
        Some("Bearer s3cret"),
        "the flag first"
    );
    write("machine other.example login me password s3cret\n");
    assert_eq!(pull("/x.qcow2", &from_file, "").0, None);
    write("machine 127.0.0.1\n  login me password s3cret\n");
    assert_eq!(pull("/x.qcow2", &from_file, "").0, pair);
    let list = server.url("/SHA256SUMS");
    assert_eq!(pull("/x.qcow2", &["--checksum", &list, from_file[0], from_file[1]], "").0, pair);
    pull("/led.qcow2", &from_file, "");
    assert_eq!(other.requests().last().unwrap().header("authorization"), None, "another host");
    std::fs::set_permissions(&login, std::fs::Permissions::from_mode(0o644)).unwrap();
    let asked = server.requests().len();
    let ran = node.run(&["pull", &server.url("/x.qcow2"), "--login-file", &login]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("can be read by others (mode 644)") && ran.stderr.contains("chmod 600"),
        "{}",
        ran.stderr
    );
    assert_eq!(server.requests().len(), asked, "nobody was asked");
}
