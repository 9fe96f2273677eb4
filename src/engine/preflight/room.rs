//! Checks whether a pool has enough space for the disks of a VM.

use crate::Context;
use crate::preflight::issues::PreflightReport;
use crate::storage::backend::PoolBackend;
use foundry_core::error::{Advice, Code, Issue, Verb};
use foundry_core::plan::{DiskFormat, VmPlan};
use foundry_core::units::Bytes;
use foundry_host::Pool;

/// The space that a new, empty qcow2 volume takes, rounded up generously (one of 1 TiB takes about 200 KiB).
pub(crate) const EMPTY_QCOW2: Bytes = Bytes(1 << 20);

/// Checks the space that the disks need at once, and warns if they can grow beyond what is free. Disks are thin, except
/// in LVM pools.
pub(super) fn check_room(
    context: &Context,
    plan: &VmPlan,
    backend: PoolBackend,
    pool: &Pool,
    report: &mut PreflightReport,
) {
    let promised =
        plan.data_disks.iter().fold(plan.boot_disk.size, |sum, disk| sum.saturating_add(disk.size));
    let needed = match backend {
        PoolBackend::Files => room_for_files(plan),
        PoolBackend::Lvm => promised.saturating_add(EMPTY_QCOW2),
        PoolBackend::Zfs | PoolBackend::Ceph => EMPTY_QCOW2,
    };
    if pool.available < needed {
        let message =
            format!("pool '{}' has {} left; the VM needs {needed} at once", pool.name, pool.available);
        report.push(Issue::new(Code::OutOfSpace, message).hint(
            Advice::from(Verb::GcDryRun).text(" lists unused volumes; spec.storagePool selects another pool"),
        ));
        return;
    }
    if pool.available < promised {
        context.warn(format!(
            "the disks can grow to {promised}, but pool '{}' has only {} left",
            pool.name, pool.available
        ));
    }
}

fn room_for_files(plan: &VmPlan) -> Bytes {
    let boot = if plan.boot_disk.format == DiskFormat::Raw { plan.boot_disk.size } else { EMPTY_QCOW2 };
    plan.data_disks.iter().fold(boot.saturating_add(EMPTY_QCOW2), |sum, _| sum.saturating_add(EMPTY_QCOW2))
}
