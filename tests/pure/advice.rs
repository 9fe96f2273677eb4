//! What foundry advises anybody to do: nothing that grants more than the one thing needed, switches a guard off, or
//! deletes what somebody may need. All of it is read in the source, wherever it is said.

use std::fs;
use std::path::Path;

use crate::support::sources::{files_below, is_at, without_tests};

/// Groups whose members are, or easily become, more than what they were let in for (Debian's base-passwd, users-and-groups).
const GROUPS: [&str; 19] = [
    "root",
    "wheel",
    "sudo",
    "admin",
    "adm",
    "disk",
    "shadow",
    "kmem",
    "mem",
    "staff",
    "docker",
    "lxd",
    "incus",
    "incus-admin",
    "tty",
    "utmp",
    "systemd-journal",
    "daemon",
    "bin",
];

/// A reason why a text is no advice of ours, or `None`.
fn forbidden(text: &str) -> Option<&'static str> {
    let text = text.to_lowercase();
    let words: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || ";()`\"'".contains(c))
        .map(|w| w.trim_matches([',', '.', ':']))
        .filter(|w| !w.is_empty())
        .collect();
    joins_a_group_of_rights(&words)
        .or_else(|| opens_to_everybody(&words))
        .or_else(|| switches_a_guard_off(&text, &words))
        .or_else(|| cuts_off(&words))
        .or_else(|| writes_into_an_image(&words))
        .or_else(|| deletes(&text, &words))
        .or_else(|| runs_what_it_reads(&text))
}

fn after<'a>(words: &[&'a str], word: &str) -> Vec<Vec<&'a str>> {
    let places = words.iter().enumerate().filter(|(_, w)| **w == word || w.ends_with(&format!("/{word}")));
    // As far as the next command.
    let ends = |w: &&&str| !matches!(**w, "&&" | "||" | "|" | "then");
    places.map(|(at, _)| words[at + 1..].iter().take_while(ends).copied().collect()).collect()
}

fn joins_a_group_of_rights(words: &[&str]) -> Option<&'static str> {
    let is_one = |list: &str| list.split(['=', ':', ',']).any(|group| GROUPS.contains(&group));
    let joins = after(words, "usermod").iter().any(|rest| {
        let after_option =
            rest.windows(2).find(|w| w[0].starts_with('-') && w[0].ends_with('g')).map(|w| w[1]);
        // A name that is only known when it is said has to be judged where it is said.
        after_option.is_some_and(|groups| is_one(groups) || groups.contains('{'))
    });
    let other = ["gpasswd", "adduser", "addgroup", "chgrp", "newgrp", "sg"];
    let joins = joins
        || other
            .iter()
            .any(|verb| after(words, verb).iter().any(|rest| rest.iter().take(3).any(|w| is_one(w))));
    joins.then_some("a group that gives more than what is needed")
}

fn opens_to_everybody(words: &[&str]) -> Option<&'static str> {
    let mode = |mode: &str| {
        let digits = mode.trim_start_matches('0');
        let is_octal = digits.len() >= 3 && mode.bytes().all(|b| (b'0'..=b'7').contains(&b));
        let last = digits.bytes().last().unwrap_or(b'0') - b'0';
        let for_all = mode.split_once('+').is_some_and(|(who, what)| {
            who.is_empty()
                || who.contains(['o', 'a'])
                || (what.contains('s') && who.contains(['u', 'g']))
                || who.contains('{')
        });
        (is_octal && (last & 2 != 0 || digits.len() == 4)) || for_all
    };
    let chmod = after(words, "chmod")
        .iter()
        .any(|rest| rest.iter().filter(|w| !w.starts_with('-')).take(1).any(|w| mode(w)));
    let acl = after(words, "setfacl")
        .iter()
        .any(|rest| rest.iter().any(|w| w.starts_with("o:") || w.starts_with("other:")));
    let own = after(words, "chown").iter().any(|rest| rest.first().is_some_and(|w| w.starts_with("-r")));
    (chmod || acl || own).then_some("opens something to everybody, or runs it as another user for everybody")
}

fn switches_a_guard_off(text: &str, words: &[&str]) -> Option<&'static str> {
    let filters = ["bridge-nf-call", "rp_filter", "protected_", "yama", "accept_redirects", "ip_forward=0"];
    let sysctl = !after(words, "sysctl").is_empty() && filters.iter().any(|name| text.contains(name));
    let off = [
        "setenforce 0",
        "setenforce permissive",
        "selinux=0",
        "selinux=disabled",
        "apparmor=0",
        "aa-disable",
        "aa-teardown",
        "aa-complain",
        "security_driver = \"none\"",
        "security_driver=none",
        "security_driver=\"none\"",
        "setsebool",
        "iptables -f",
        "iptables --flush",
        "nft flush",
        "ufw disable",
        "policy accept",
        "stop firewalld",
        "disable firewalld",
        "seccomp_sandbox = 0",
        "namespaces = []",
        "user = \"root\"",
        "no_root_squash",
        "auth_unix_rw = \"none\"",
        "auth_tcp = \"none\"",
        "unix_sock_rw_perms = \"0777\"",
        "socketmode=0666",
        "stricthostkeychecking no",
        "stricthostkeychecking=no",
        "no_verify=1",
    ];
    let off = off.iter().any(|words| text.contains(words));
    let rule = text.contains("abstractions/libvirt-qemu");
    let overwrites = ["modprobe.d", "sysctl.d", "sudoers", "/etc/qemu/bridge.conf"].iter().any(|place| {
        text.match_indices(">/etc").any(|(at, _)| {
            !text[..at].ends_with('>')
                && text[at + 1..].starts_with("/etc")
                && text[at..].split_whitespace().next().is_some_and(|w| w.contains(place))
        })
    });
    (sysctl || off || rule || overwrites)
        .then_some("switches a guard off, for all, or writes over a file of the admin's")
}

fn cuts_off(words: &[&str]) -> Option<&'static str> {
    let links = after(words, "ip");
    let sets = |rest: &[&str]| rest.first() == Some(&"link") && rest.get(1) == Some(&"set");
    let live = links.iter().any(|rest| {
        let joins = rest.contains(&"master");
        let filters = rest.windows(2).any(|w| w == ["vlan_filtering", "1"]);
        let lowers =
            rest.windows(2).any(|w| w[0] == "mtu" && w[1].parse::<u32>().is_ok_and(|mtu| mtu < 65_000));
        sets(rest) && (joins || filters || lowers)
    });
    live.then_some("changes a link that others use")
}

/// Without an end, virsh's commit goes down to the lowest file of the chain, on which other VMs may lie, too.
fn writes_into_an_image(words: &[&str]) -> Option<&'static str> {
    let ends = ["--base", "--shallow"];
    let whole = after(words, "blockcommit").iter().any(|rest| !rest.iter().any(|word| ends.contains(word)));
    whole.then_some("writes into what other VMs lie on")
}

fn deletes(text: &str, words: &[&str]) -> Option<&'static str> {
    let rm = after(words, "rm")
        .iter()
        .any(|rest| rest.first().is_some_and(|w| w.starts_with("-r") || w.starts_with("-f")));
    let volumes = ["vol-delete", "vol-wipe", "--remove-all-storage", "pool-delete", "undefine --nvram"];
    let pkill = [
        "pkill",
        "killall",
        "kill -9",
        "fuser -k",
        "mkfs",
        "wipefs",
        "remove -y",
        "autoremove -y",
        "--allow-remove",
    ];
    let flatten = text.contains("flatten it with") || (text.contains("qemu-img") && text.contains("flatten"));
    let opens = text.contains("qemu-img info");
    if flatten || opens {
        return Some("opens, as root perhaps, whatever an image of somebody's names");
    }
    (rm || volumes.iter().chain(&pkill).any(|word| text.contains(word)))
        .then_some("deletes or ends what somebody may need")
}

fn runs_what_it_reads(text: &str) -> Option<&'static str> {
    let fetches = text.contains("curl ") || text.contains("wget ");
    (fetches && ["| sh", "| bash", "| sudo"].iter().any(|shell| text.contains(shell)))
        .then_some("runs what a server sends")
}

/// The string literals of a Rust file before its tests, comments left out, each with its line.
fn literals(source: &str) -> Vec<(usize, String)> {
    let bytes: Vec<char> = source.chars().collect();
    let mut found = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < bytes.len() {
        let rest = |n: usize| bytes.get(at + n).copied().unwrap_or('\0');
        match bytes[at] {
            '\n' => line += 1,
            '/' if rest(1) == '/' => {
                while at + 1 < bytes.len() && bytes[at + 1] != '\n' {
                    at += 1;
                }
            }
            // A character in quotes, and no lifetime.
            '\'' if rest(1) == '\\' => at += if rest(3) == '\'' { 3 } else { 2 },
            '\'' if rest(2) == '\'' => at += 2,
            'r' if (rest(1) == '"' || (rest(1) == '#' && rest(2) == '"'))
                && (at == 0 || !bytes[at - 1].is_alphanumeric()) =>
            {
                let hashes = usize::from(rest(1) == '#');
                let (begun, mut text) = (line, String::new());
                at += 2 + hashes;
                while at < bytes.len()
                    && !(bytes[at] == '"' && (hashes == 0 || bytes.get(at + 1) == Some(&'#')))
                {
                    line += usize::from(bytes[at] == '\n');
                    text.push(bytes[at]);
                    at += 1;
                }
                at += hashes;
                found.push((begun, text));
            }
            '"' => {
                let (begun, mut text) = (line, String::new());
                at += 1;
                while at < bytes.len() && bytes[at] != '"' {
                    line += usize::from(bytes[at] == '\n');
                    if bytes[at] == '\\' {
                        at += 1;
                        match bytes[at] {
                            'n' => text.push('\n'),
                            '\n' => {
                                line += 1;
                                while bytes.get(at + 1).is_some_and(|c| c.is_whitespace()) {
                                    line += usize::from(bytes[at + 1] == '\n');
                                    at += 1;
                                }
                            }
                            other => text.push(other),
                        }
                    } else {
                        text.push(bytes[at]);
                    }
                    at += 1;
                }
                found.push((begun, text));
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// What is advised: where, and the text.
fn all_advice() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = Vec::new();
    let mut sources = files_below(&root.join("src"), "rs");
    sources.retain(|path| !is_at(path, &["tests", "tests.rs", "memory"]));
    assert!(sources.len() > 150, "{}", sources.len());
    for path in sources {
        let text = fs::read_to_string(&path).unwrap();
        let told = without_tests(&text);
        let name = path.strip_prefix(root).unwrap().display().to_string();
        all.extend(literals(told).into_iter().map(|(line, text)| (format!("{name}:{line}"), text)));
    }
    let documents = ["README.md", "src/cli/guide.md", "CLOUDINIT.md", "src/core/error/codes.md"]
        .map(|name| root.join(name));
    for path in documents {
        let name = path.strip_prefix(root).unwrap().display().to_string();
        let text = fs::read_to_string(&path).unwrap();
        all.extend(
            text.lines().enumerate().map(|(at, line)| (format!("{name}:{}", at + 1), line.to_owned())),
        );
    }
    // Of scripts, what they print.
    for path in files_below(&root.join("scripts"), "sh") {
        let name = path.strip_prefix(root).unwrap().display().to_string();
        let text = fs::read_to_string(&path).unwrap();
        let printed = |line: &str| {
            let begins = ["die ", "warn ", "note ", "step ", "info "]
                .iter()
                .filter_map(|verb| line.find(verb))
                .min()?;
            Some(line[begins..].to_owned())
        };
        all.extend(
            text.lines()
                .enumerate()
                .filter_map(|(at, line)| Some((format!("{name}:{}", at + 1), printed(line)?))),
        );
    }
    all
}

/// Texts that are meant all the same, by a part of them, each with the reason.
const ALLOWED: [(&str, &str); 1] =
    [("sudo usermod -aG {group} {user}", "the group is one of LIBVIRTS_GROUPS there")];

#[test]
fn no_advice_grants_more_than_is_needed_or_switches_a_guard_off_or_deletes() {
    let bad: Vec<String> = all_advice()
        .into_iter()
        .filter(|(_, text)| !ALLOWED.iter().any(|(part, _)| text.contains(part)))
        .filter_map(|(place, text)| Some(format!("{place}: {}: {text}", forbidden(&text)?)))
        .collect();
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

/// So that the test above can fail.
#[test]
fn what_is_forbidden_is_recognized_and_what_is_narrow_is_not() {
    for bad in [
        "virsh blockcommit web vda --active --pivot brings it back",
        "usermod -aG root libvirt-qemu",
        "sudo usermod -aG wheel alice, and log in anew",
        "sudo usermod -a -G libvirt,disk alice",
        "usermod -aG {group} {name}",
        "sudo adduser alice sudo",
        "gpasswd -a alice shadow",
        "sudo chgrp disk /dev/kvm",
        "setfacl -m u:x:x /srv, or: chmod o+x /srv",
        "or: chmod {}+x {}",
        "chmod +x /root",
        "chmod a+rx /srv",
        "chmod 666 /dev/kvm",
        "sudo chmod 0777 /srv",
        "chmod -R 777 /srv",
        "as root: chmod u+s /usr/lib/qemu/qemu-bridge-helper",
        "chmod 4755 /usr/lib/qemu/qemu-bridge-helper",
        "setfacl -m o::rx /srv",
        "sysctl net.bridge.bridge-nf-call-iptables=0",
        "sysctl -w fs.protected_symlinks=0",
        "setsebool -P virt_use_nfs 1",
        "setenforce 0",
        "security_driver = \"none\" in qemu.conf",
        "user = \"root\" in qemu.conf",
        "iptables -F",
        "echo 'options kvm_intel nested=1' >/etc/modprobe.d/kvm.conf",
        "echo '\"/x\" rwk,' >>/etc/apparmor.d/local/abstractions/libvirt-qemu",
        "ip link set br0 type bridge vlan_filtering 1",
        "ip link set UPLINK master br0",
        "ip link set br0 mtu 1500",
        "virsh vol-delete --pool a b",
        "virsh undefine --nvram web",
        "rm -rf /srv/x",
        "rm -r /var/lib/libvirt/qemu/nvram/x",
        "killall qemu-system-x86_64",
        "flatten it with qemu-img convert -O qcow2",
        "qemu-img info FILE",
        "curl -s https://x | sudo sh",
    ] {
        assert!(forbidden(bad).is_some(), "{bad}");
    }
    for good in [
        "sudo chgrp kvm /dev/kvm && sudo chmod 0660 /dev/kvm",
        "sudo usermod -aG libvirt alice, and log in anew",
        "sudo usermod -aG kvm libvirt-qemu",
        "setfacl -m u:libvirt-qemu:x /srv",
        "chmod u+x /srv",
        "dpkg-statoverride --update --add root qemu-bridge 4750 /usr/lib/qemu/qemu-bridge-helper",
        "ip link add brvlan type bridge vlan_filtering 1",
        "ip -d link show master br0",
        "ip link set br0 up",
        "echo 'options kvm_intel nested=1' | sudo tee /etc/modprobe.d/foundry-nested-kvm.conf",
        "echo 'allow br0' >>/etc/qemu/bridge.conf",
        "foundry gc foundry-vms/web_boot",
        "sysctl vm.nr_hugepages=N reserves some",
        "the file is the group root's",
    ] {
        assert_eq!(forbidden(good), None, "{good}");
    }
}

#[test]
fn literals_are_read_and_comments_are_not() {
    let source = "// \"no\"\nlet a = \"one\\\n   two\"; /// \"no\"\nlet b = ('\"', 'x', r\"\\d\", r#\"say \"hi\"\"#);\nlet c: &'a str = \"it's\";";
    let texts: Vec<(usize, String)> = literals(source);
    let texts: Vec<(usize, &str)> = texts.iter().map(|(line, text)| (*line, text.as_str())).collect();
    assert_eq!(texts, [(2, "onetwo"), (4, "\\d"), (4, "say \"hi\""), (5, "it's")]);
}
