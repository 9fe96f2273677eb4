//! Digests and the files that list them.

use std::path::Path;
use std::process::Command;

use crate::deadline::CommandInTime as _;
use foundry::transfer::checksum_file::ChecksumFile;
use foundry::transfer::{Algorithm, Digest, Expected, Hasher, Location, Reason, expected_digest};
use proptest::prelude::*;

use crate::http::{Reply, Server};
use crate::support::{Bench, noise, sha256};

fn sha512(bytes: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha512, bytes)
}

fn listed(text: &str, name: &str) -> Result<Digest, String> {
    ChecksumFile::parse(text, "SUMS").digest_of(name).map_err(|e| e.to_string())
}

fn run(program: &str, args: &[&str], dir: &Path) -> String {
    let done = Command::new(program).args(args).current_dir(dir).output_in_time().unwrap();
    assert!(done.status.success(), "{done:?}");
    String::from_utf8(done.stdout).unwrap()
}

const NAMES: [&str; 9] =
    ["disk.qcow2", "with blank", "*star", " lead", "back\\slash", "new\nline", "x) = y", "tab\tbed", "ünï"];

#[test]
fn what_sha256sum_and_sha512sum_write_is_read_whatever_the_names() {
    let dir = tempfile::tempdir().unwrap();
    for name in NAMES {
        std::fs::write(dir.path().join(name), name).unwrap();
    }
    let all: Vec<String> = NAMES.iter().map(|name| format!("./{name}")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    for options in [&[] as &[&str], &["--binary"], &["--tag"]] {
        let text = run("sha256sum", &[options, &["--"], &all].concat(), dir.path());
        let strong = run("sha512sum", &[options, &["--"], &all].concat(), dir.path());
        for name in NAMES.iter().filter(|name| !options.contains(&"--tag") || **name != "new\nline") {
            assert_eq!(listed(&text, name), Ok(sha256(name.as_bytes())), "{options:?} {name:?}\n{text}");
            let both = format!("{text}{strong}");
            assert_eq!(listed(&both, name), Ok(sha512(name.as_bytes())), "the stronger one");
        }
    }
}

#[test]
fn the_forms_of_the_distributions_are_read() {
    let (digest, other) = (sha256(b"x"), sha256(b"y"));
    let (hex, other) = (digest.hex(), other.hex());
    let fedora = format!(
        "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n# disk.qcow2: 12 bytes\nSHA256 (disk.qcow2) = {hex}\n\
         - -dashed\n-----BEGIN PGP SIGNATURE-----\n\n{other}  disk.qcow2\n-----END PGP SIGNATURE-----\n"
    );
    let capitals = format!("{}  disk.qcow2\r\n", hex.to_uppercase());
    for text in [
        fedora,
        capitals,
        format!("{hex} *disk.qcow2\n{other} *disk.qcow2.zsync\n"),
        format!("SHA256(disk.qcow2)= {hex}\n"),
        format!("SHA2-256(disk.qcow2)= {hex}\n"),
        format!("{hex}  images/x86_64/disk.qcow2\n"),
        format!("{other}  old/disk.qcow2\n{hex}  disk.qcow2\n"),
        format!("d41d8cd98f00b204e9800998ecf8427e  disk.qcow2\n{hex}\tdisk.qcow2\n"),
        format!("{hex}\n"),
        format!("{hex}  -\n"),
        hex.to_owned(),
    ] {
        assert_eq!(listed(&text, "disk.qcow2").as_ref(), Ok(&digest), "{text}");
    }
}

#[test]
fn what_is_not_listed_or_twice_is_an_error_that_helps() {
    let (a, b) = (sha256(b"a"), sha256(b"b"));
    let text =
        format!("{}  disk-amd64.qcow2\n{}  disk-arm64.qcow2\n{}  other.iso\n", a.hex(), b.hex(), b.hex());
    let file = ChecksumFile::parse(&text, "https://x/SUMS");
    let error = file.digest_of("disk-amd65.qcow2").unwrap_err();
    assert_eq!(error.to_string(), "https://x/SUMS does not list \"disk-amd65.qcow2\"");
    assert!(error.hint_text().unwrap().starts_with("it lists disk-amd64.qcow2, "), "{error:?}");
    let twice = format!("{}  a/x\n{}  b/x\n", a.hex(), b.hex());
    assert!(listed(&twice, "x").unwrap_err().contains("twice"));
    assert_eq!(
        listed(&format!("{twice}{twice}"), "a/x"),
        Ok(a.clone()),
        "the same again is no contradiction"
    );
    assert!(listed(&format!("{}\n{}\n", a.hex(), b.hex()), "x").is_err(), "two bare ones");
    assert!(listed(&format!("\\{}  a\\x\n", a.hex()), "x").is_err(), "an escape that nobody writes");
    let hostile = format!("{}  dis\u{1b}[2Jk\n", a.hex());
    assert_eq!(
        ChecksumFile::parse(&hostile, "S").digest_of("disk").unwrap_err().hint_text(),
        Some("it lists disk")
    );
}

#[test]
fn what_is_no_checksum_file_is_said_to_be_none() {
    let told = |bytes: &[u8]| ChecksumFile::read(bytes, "SUMS").unwrap_err().to_string();
    assert!(told(b"<html>404</html>").contains("no SHA-256 or SHA-512 digest"));
    assert!(told(b"d41d8cd98f00b204e9800998ecf8427e  x").contains("no SHA-256"), "MD5 proves nothing");
    let endless = std::io::repeat(b'a');
    let told = ChecksumFile::read(endless, "SUMS").unwrap_err().to_string();
    assert!(told.contains("larger than 1 MiB"), "{told}");
}

#[test]
fn a_checksum_is_a_digest_or_where_to_find_it() {
    let hex = sha256(b"x").hex().to_owned();
    for text in [hex.clone(), format!("sha256:{hex}"), format!("SHA256:{}", hex.to_uppercase())] {
        assert_eq!(text.parse::<Expected>().unwrap(), Expected::Digest(sha256(b"x")), "{text}");
    }
    for text in ["https://x.org/SHA256SUMS", "sums/SHA256SUMS", "SHA256SUMS", "-"] {
        assert!(matches!(text.parse::<Expected>().unwrap(), Expected::ListedIn(_)), "{text}");
    }
    for text in
        [format!("md5:{}", &hex[..32]), format!("sha512:{hex}"), "sha256:xyz".into(), format!("sha1:{hex}")]
    {
        assert_eq!(text.parse::<Expected>().unwrap_err().reason(), Reason::Input, "{text}");
    }
}

#[test]
fn a_digest_is_looked_up_for_the_image_that_is_meant() {
    let hex = |bytes: &[u8]| sha256(bytes).hex().to_owned();
    let sums = format!("{}  disk.qcow2\n{}  disk.raw\n", hex(b"q"), hex(b"r"));
    let beside = format!("{}  disk-Build16.30.qcow2\n", hex(b"build"));
    let server = Server::start(move |request| match request.path.as_str() {
        "/SHA256SUMS" => Reply::new(200, sums.clone()),
        "/disk.qcow2.sha256" => Reply::new(200, beside.clone()),
        _ => Reply::new(404, ""),
    });
    let bench = Bench::new();
    let look = |list: &str, image: &str| {
        let (expected, image) = (server.url(list).parse().unwrap(), image.parse::<Location>().unwrap());
        expected_digest(&expected, &image, bench.options())
    };
    assert_eq!(look("/SHA256SUMS", "https://mirror.org/a/disk.qcow2?x=1"), Ok(sha256(b"q")));
    assert_eq!(look("/SHA256SUMS", "/tmp/disk.raw"), Ok(sha256(b"r")));
    assert_eq!(look("/disk.qcow2.sha256", "/tmp/disk.qcow2"), Ok(sha256(b"build")));
    assert_eq!(
        look("/disk.qcow2.sha256", "/tmp/disk").unwrap_err().reason(),
        Reason::Checksum,
        "of another file"
    );
    assert_eq!(look("/SHA256SUMS", "-").unwrap_err().reason(), Reason::Input);
    assert_eq!(look("/none", "/tmp/disk.raw").unwrap_err().reason(), Reason::Refused);
}

proptest! {
    #[test]
    fn any_name_that_is_written_as_coreutils_does_is_found(
        names in prop::collection::btree_set("[^/\0-][^/\0]{0,12}", 1..6),
    ) {
        let escaped = |name: &str| name.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r");
        let line = |name: &String| {
            let mark = if name.contains(['\\', '\n', '\r']) { "\\" } else { "" };
            format!("{mark}{}  {}\n", sha256(name.as_bytes()).hex(), escaped(name))
        };
        let text: String = names.iter().map(line).collect();
        for name in &names {
            prop_assert_eq!(listed(&text, name), Ok(sha256(name.as_bytes())), "{:?}", text);
        }
    }

    #[test]
    fn any_text_is_read_without_harm(text in "(\\PC|[\n\r\t\\\\ ()=*]){0,200}", name in "\\PC{0,10}") {
        let _ = ChecksumFile::parse(&text, "SUMS").digest_of(&name);
    }

    #[test]
    fn a_digest_reads_back_as_it_is_written(bytes: Vec<u8>) {
        for digest in [sha256(&bytes), sha512(&bytes)] {
            prop_assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest.clone());
            prop_assert_eq!(digest.hex().to_uppercase().parse::<Digest>().unwrap(), digest);
        }
    }

    #[test]
    fn zeros_count_as_zeros(before in 0usize..100, zeros in 0usize..300_000) {
        let mut hasher = Hasher::new(Algorithm::Sha512);
        hasher.update(&noise(before));
        hasher.update_zeros(zeros as u64);
        prop_assert_eq!(hasher.finish(), sha512(&[noise(before), vec![0; zeros]].concat()));
    }
}
