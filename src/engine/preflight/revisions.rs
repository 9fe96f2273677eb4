//! Chooses other names for the volumes of a new VM if another VM has those that follow from its name: that VM was
//! renamed, or it is a linked copy of an earlier VM of the name.
//!
//! All volumes get the same next revision, as in a repave: `web_boot.2`. A volume that no VM needs may hold data that
//! somebody kept, and stays in the way.

use crate::Context;
use crate::storage::usage::{self, Usage};
use foundry_core::error::Error;
use foundry_core::names::{VolumeName, VolumeNameParts};
use foundry_core::record::{RecordedVolume, VolumeRef};
use foundry_host::Domain;

/// Renames planned volumes if other VMs have theirs. `taken` is the domain of this name, whose volumes are no obstacle.
/// Returns whether all names are free then.
pub(super) fn revise_names(
    context: &Context,
    volumes: &mut [RecordedVolume],
    taken: Option<&Domain>,
) -> Result<bool, Error> {
    let ours = taken.and_then(Domain::own_record).map(|record| record.volumes).unwrap_or_default();
    let is_ours = |volume: &VolumeRef| ours.iter().any(|own| own.reference() == *volume);
    let mut in_the_way = Vec::new();
    for planned in volumes.iter().map(RecordedVolume::reference).filter(|planned| !is_ours(planned)) {
        in_the_way.extend(context.host.volume(&planned)?);
    }
    if in_the_way.is_empty() {
        return Ok(true);
    }
    let usage = Usage::collect(context, taken.map(|domain| domain.uuid))?;
    if !in_the_way.iter().all(|volume| usage.is_of_other_vm(volume)) {
        return Ok(false);
    }
    let mut names: Vec<String> = usage.recorded_names().map(str::to_owned).collect();
    for pool in volumes.iter().map(|volume| &volume.pool).collect::<std::collections::BTreeSet<_>>() {
        let listed = usage::list_volumes(context, pool)?.into_iter().map(|volume| volume.reference());
        names.extend(listed.filter(|volume| !is_ours(volume)).map(|volume| volume.name));
    }
    let number = next_revision(volumes, &names);
    for planned in volumes {
        let Ok(name) = planned.name.parse::<VolumeName>() else { continue };
        let revised = name.revised(number).to_string();
        let place = planned.path.strip_suffix(planned.name.as_str()).unwrap_or_default().to_owned();
        planned.path = place + &revised;
        planned.name = revised;
    }
    Ok(true)
}

/// The first revision above those that volumes of the same disks have.
fn next_revision(volumes: &[RecordedVolume], names: &[String]) -> u32 {
    let planned: Vec<_> = volumes.iter().filter_map(|volume| VolumeNameParts::parse(&volume.name)).collect();
    let parts = names.iter().filter_map(|name| VolumeNameParts::parse(name));
    let same = parts.filter(|of| planned.iter().any(|own| (own.vm, &own.part) == (of.vm, &of.part)));
    same.map(|of| of.revision).max().unwrap_or(1) + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use foundry_core::record::VolumeRole;
    use foundry_core::units::Bytes;

    #[test]
    fn revision_is_above_those_of_all_disks() {
        let volume = |name: &str| {
            let reference = VolumeRef::new("vms", name);
            RecordedVolume::new(VolumeRole::Boot, reference, format!("/vms/{name}"), "qcow2", Bytes(1))
        };
        let planned = [volume("web_boot"), volume("web_data-vdb")];
        for (names, expected) in [
            (&["web_boot"] as &[&str], 2),
            (&["web_boot", "web_boot.3", "web_data-vdb.7", "web_data-vdc.9", "other_boot.20"], 8),
            (&["web_cloudinit.4"], 2),
        ] {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(next_revision(&planned, &names), expected, "{names:?}");
        }
    }
}
