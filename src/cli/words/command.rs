//! How each command of foundry is typed.

use foundry_core::error::Verb;
use foundry_core::text::quote_for_shell;

/// The command line of a verb, with names quoted for a shell.
pub fn command_line(verb: &Verb) -> String {
    let line = match verb {
        Verb::Create => "create".into(),
        Verb::CreateAndWait => "create --wait".into(),
        Verb::Destroy { vm, force } => join_words("destroy", &[vm], &[("--force", *force)]),
        Verb::ListAll => "list --all".into(),
        Verb::ListWide => "list -o wide".into(),
        Verb::Doctor => "doctor".into(),
        Verb::DoctorProbe { virt_type } => {
            virt_type.map_or("doctor --probe".into(), |kind| format!("doctor --virt-type {kind} --probe"))
        }
        Verb::Gc { only } => join_words("gc", &only.iter().collect::<Vec<_>>(), &[]),
        Verb::GcDryRun => "gc --dry-run".into(),
        Verb::CatalogList => "image catalog".into(),
        Verb::ImageDelete { image, pool, force } => {
            let of =
                pool.as_ref().map(|pool| format!(" --pool {}", quote_for_shell(pool))).unwrap_or_default();
            let force = if *force { " --force" } else { "" };
            format!("image delete {}{of}{force}", quote_for_shell(image))
        }
        Verb::ImageExport => "image export".into(),
        Verb::ImageImport { file, name, convert } => {
            let convert = if *convert { "image import --convert qcow2" } else { "image import" };
            join_words(convert, &[file, name].into_iter().flatten().collect::<Vec<_>>(), &[])
        }
        Verb::ImageInfo { image } => join_words("image info", &[image], &[]),
        Verb::ImageWarm { image, from } => {
            let from = if *from { " --from FILE" } else { "" };
            format!("image warm {}{from}", quote_for_shell(image))
        }
        Verb::ImageList => "image list".into(),
        Verb::ImagePrune => "image prune".into(),
        Verb::ImagePull { image } => join_words("image pull", &image.iter().collect::<Vec<_>>(), &[]),
        Verb::PoolAdd { pool } => format!("{} dir PATH", join_words("pool add", &[pool], &[])),
        Verb::PoolDelete { pool, force } => join_words("pool delete", &[pool], &[("--force", *force)]),
        Verb::PoolList => "pool list".into(),
        Verb::PoolRefresh { pool } => join_words("pool refresh", &[pool], &[]),
        Verb::PoolStart { pool } => join_words("pool start", &[pool], &[]),
        Verb::DiskAttach { vm, content, target, raw, serial, at_next_start } => {
            let option = |name: &str, value: &Option<String>| {
                value.as_ref().map(|value| format!(" {name} {}", quote_for_shell(value))).unwrap_or_default()
            };
            let attach = join_words("disk attach", &[vm, content], &[]);
            let (device, serial) = (option("--device", target), option("--serial", serial));
            let format = if *raw { " --format raw" } else { "" };
            let at_next_start = if *at_next_start { " --at-next-start" } else { "" };
            format!("{attach}{device}{format}{serial}{at_next_start}")
        }
        Verb::DiskDetach { vm, target, keep } => {
            join_words("disk detach", &[vm, target], &[("--keep", *keep)])
        }
        Verb::DiskResize { vm, target, size_gib } => {
            join_words("disk resize", &[vm, target, &format!("{size_gib}GiB")], &[])
        }
        Verb::Console { vm, force } => join_words("console", &[vm], &[("--force", *force)]),
        Verb::Logs { vm } => join_words("logs", &[vm], &[]),
        Verb::Clone { vm, name, addresses } => {
            let ip = |address: &String| format!(" --ip {}", quote_for_shell(address));
            join_words("clone", &[vm, name], &[]) + &addresses.iter().map(ip).collect::<String>()
        }
        Verb::Start { vm } => join_words("start", &[vm], &[]),
        Verb::Stop { vm, force } => join_words("stop", &[vm], &[("--force", *force)]),
        Verb::Resume { vm } => join_words("resume", &[vm], &[]),
        Verb::Adopt { vm } => join_words("adopt", &[vm], &[]),
        Verb::RepaveAccept { vm } => join_words("repave", &[vm], &[("--accept", true)]),
        Verb::RepaveAgain { vm, image } => {
            let image = image.as_ref().map(|image| format!(" --image {}", quote_for_shell(image)));
            join_words("repave", &[vm], &[]) + &image.unwrap_or_default()
        }
        Verb::RepaveFromFile { wait } => join_words("repave -f FILE", &[], &[("--wait", *wait)]),
        Verb::RepaveRollBack { vm, force } => {
            join_words("repave", &[vm], &[("--rollback", true), ("--force", *force)])
        }
        Verb::Restart { vm } => join_words("restart", &[vm], &[]),
        Verb::SnapshotCreate { vm, snapshot, no_freeze } => {
            let objects: Vec<&String> = [Some(vm), snapshot.as_ref()].into_iter().flatten().collect();
            join_words("snapshot create", &objects, &[("--no-freeze", *no_freeze)])
        }
        Verb::SnapshotDelete { vm, snapshot } => join_words("snapshot delete", &[vm, snapshot], &[]),
        Verb::SnapshotRestore { vm, snapshot } => join_words("snapshot restore", &[vm, snapshot], &[]),
        Verb::SeedEject { vm, force } => join_words("seed eject", &[vm], &[("--force", *force)]),
        Verb::StorageStatus => "storage status -o wide".into(),
    };
    format!("foundry {line}")
}

/// A command with its objects and the flags that are set.
fn join_words(command: &str, objects: &[&String], flags: &[(&str, bool)]) -> String {
    // `-` is standard input; shell_word would quote it.
    let word =
        |word: &&String| if *word == "-" { "-".to_owned() } else { quote_for_shell(word).into_owned() };
    let flags = flags.iter().filter(|(_, is_set)| *is_set).map(|(flag, _)| (*flag).to_owned());
    let words = std::iter::once(command.to_owned()).chain(objects.iter().map(word)).chain(flags);
    words.collect::<Vec<_>>().join(" ")
}
