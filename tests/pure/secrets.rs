//! What is wrong with a manifest is told without the secrets that stand at the wrong place.

use crate::support::command::run_with;

const SECRET: &str = "hunter2-Secret";

/// A manifest whose `cloudInit` is `lines`, in which `@` stands for the secret.
fn manifest(lines: &str) -> String {
    let lines: String = lines.lines().map(|line| format!("    {line}\n")).collect();
    let head = "apiVersion: foundry.cofront.xyz/v1alpha1\nkind: VirtualMachine\nmetadata: {name: web}\n";
    let spec = "spec:\n  vcpus: 1\n  memoryGiB: 1\n  bootDisk: {sizeGB: 1, empty: true}\n  networkInterfaces: [{network: default}]\n";
    format!("{head}{spec}  cloudInit:\n{lines}").replace('@', SECRET)
}

#[test]
fn no_message_quotes_a_secret() {
    for (lines, code) in [
        // A password where its hash belongs, and hashes that are none.
        ("passwordHash: '@'", 2),
        ("passwordHash: $6$salt$@", 2),
        ("passwordHash: $1$salt$@", 2),
        ("passwordHash: 'a@ b'", 2),
        ("passwordHash: \"@\\n\"", 2),
        ("passwordHash: !@", 1),
        ("passwordHash: !@ x", 1),
        ("passwordHash: &@ x\nfqdn: *@", 2),
        ("passwordHash: *@", 1),
        ("passwordHash: [@]", 1),
        ("passwordHash: {@: x}", 1),
        ("passwordHash: '@", 1),
        ("passwordHash: \"@\\q\"", 1),
        ("passwordHash: %@", 1),
        ("passwordHash: '@'\npasswordHash: '@'", 1),
        // A colon or a blank too few.
        ("passwordHash:@", 1),
        ("passwordHash:@\nfqdn: web.example.com", 1),
        ("{fqdn: web.example.com, passwordHash:@}", 1),
        ("{fqdn: web.example.com, passwordHash:$6$@: x}", 1),
        ("passwordHash = @", 1),
        ("@", 1),
        ("- @", 1),
        ("fqdn: web.example.com\npasswordhash: '@'", 1),
        // Where something else belongs.
        ("sshPwauth: '@'", 1),
        ("sshPasswordAuth: @", 1),
        ("sshAuthorizedKeys: '@'", 1),
        ("sshAuthorizedKeys: ['-----BEGIN OPENSSH PRIVATE KEY----- @']", 2),
        ("sshAuthorizedKeys: |\n  -----BEGIN OPENSSH PRIVATE KEY-----\n  @", 1),
        ("sshAuthorizedKeys: [{key: '@'}]", 1),
        // In user-data.
        ("userData:\n  password: !@", 1),
        ("userData:\n  password: @\n  password: @", 1),
        ("userData: {'root:@': x, 'root:@': y}", 1),
        ("userData:\n  password: [@", 1),
        ("userData:\n  chpasswd: root:@", 2),
        ("userData:\n  users: '@'", 2),
        ("userData: [password, '@']", 1),
        ("userData: 'password: @'\nrawUserData: '#!@'", 2),
        ("userData: '@'", 2),
        ("userData: '#!@'", 2),
        ("userData: |\n  password: '@", 2),
        ("userData: |\n  password: !@\n", 2),
        ("userData: |\n  {root:@: x, root:@: y}\n", 2),
        ("userData: \"password: @\\u0007\"", 2),
        ("rawUserData: '@'", 2),
        ("rawUserData: 'password: @'", 2),
        ("rawUserData: |\n  #cloud-config\n  password: [@\n", 2),
        ("rawUserData: |\n  #cloud-config\n  @\n", 2),
        // In a network-config.
        ("networkConfig: '@'", 2),
        ("networkConfig: ['@']", 1),
        ("networkConfig: {version: '@'}", 2),
        ("networkConfig: {'psk:@': x, 'psk:@': y}", 1),
        ("networkConfig: {version: 2, ethernets: @}", 2),
        ("networkConfig: {version: 1, config: @}", 2),
        ("networkConfig: {network: @}", 2),
        ("networkConfig: {network: {version: 2}, password: @}", 2),
        ("networkConfig: |\n  version: 2\n  wifis: {w: {access-points: {home: {password: @", 2),
        ("networkConfig: |\n  version: 2\n  'psk:@': x\n  'psk:@': y\n", 2),
        ("networkConfig: \"password: @\\u0007\"", 2),
    ] {
        for verbose in ["-q", "-vv"] {
            let ran = run_with(&["render", "-", verbose], &manifest(lines));
            assert_eq!((ran.code, ran.stdout.as_str()), (code, ""), "{lines}\n{}", ran.stderr);
            assert!(
                !ran.stderr.contains("hunter2") && !ran.stderr.contains("Secret"),
                "{lines}\n{}",
                ran.stderr
            );
        }
    }
}
