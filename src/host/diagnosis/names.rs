//! Names that are already in use.

use super::words::{has_any, named_after, quoted_after};
use super::{Diagnosis, Evidence};
use foundry_core::error::{Advice, Code, Verb};
use foundry_core::text::quote_for_shell;

const TAKEN: [&str; 3] = ["already exists with", "is already defined with uuid", "exists already"];

/// `domain 'web' already exists with uuid …`
pub(super) fn name_taken(text: &str, _: &Evidence) -> Option<Diagnosis> {
    let name = taken_name(text).filter(|_| !has_any(text, &["storage volume '", "pool '"]))?;
    Some(
        Diagnosis::new(Code::NameTaken, format!("the name {name} is taken")).hint(
            Advice::from("choose another name; ")
                .run(Verb::ListAll)
                .text(" shows foundry's VMs, virsh list --all those of others too"),
        ),
    )
}

/// `storage volume 'x' exists already`, or for a file that the pool has not seen yet `volume target path '/srv/x'
/// already exists`.
pub(super) fn volume_taken(text: &str, _: &Evidence) -> Option<Diagnosis> {
    if let Some(file) = quoted_after(text, "volume target path ").filter(|_| text.contains("already exists"))
    {
        let cause = format!("there is a file {file} that the pool does not know");
        return Some(
            Diagnosis::new(Code::VolumeTaken, cause).hint(
                Advice::from(Verb::PoolRefresh { pool: "POOL".into() })
                    .text(" makes it a volume; if nobody needs it, remove it"),
            ),
        );
    }
    let name = taken_name(text).filter(|_| text.contains("storage volume '"))?;
    Some(Diagnosis::new(Code::VolumeTaken, format!("the name {name} is taken")))
}

/// `pool 'x' already exists with uuid …`, and two pools on one directory.
pub(super) fn pool_taken(text: &str, _: &Evidence) -> Option<Diagnosis> {
    if let Some(other) = named_after(text, "Storage source conflict with pool: ") {
        return Some(
            Diagnosis::new(Code::PoolTaken, format!("pool '{other}' already has that source"))
                .hint(format!("use that one: --vm-pool or spec.storagePool {}", quote_for_shell(other))),
        );
    }
    let name = taken_name(text).filter(|_| text.contains("pool '"))?;
    Some(Diagnosis::new(Code::PoolTaken, format!("the name {name} is taken")))
}

fn taken_name(text: &str) -> Option<&str> {
    has_any(text, &TAKEN).then(|| quoted_after(text, ""))?
}
