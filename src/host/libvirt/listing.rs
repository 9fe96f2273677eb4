//! Reads the details of many domains in as few round trips as possible.

use std::collections::HashMap;

use uuid::Uuid;

use super::{Asked, Libvirt, sys, vm};
use crate::Result;

/// The number of threads that read records for a list of domains. A call mostly waits for its answer. With more than
/// four threads, libvirt's client loses more time passing its one connection between them than it gains (measured with
/// 9.0).
const LIST_THREADS: usize = 4;

/// Number of CPUs, and memory in KiB.
type Size = (u32, u64);
/// A domain's record and size.
pub(super) type Details = (Option<String>, Size);

impl Libvirt {
    /// CPUs and memory in KiB of the inactive domains. Not every driver reports them in the bulk call.
    pub(super) fn sizes_of_inactive(&self, asked: &Asked) -> Result<HashMap<Uuid, Size>> {
        let look = || sys::sizes_of_inactive(&self.connection);
        match self.call("virConnectGetAllDomainStats", asked, look) {
            Ok(all) => Ok(all.into_iter().map(|one| (one.uuid, (one.vcpus, one.memory_kib))).collect()),
            Err(lost) if lost.outcome_unknown() => Err(lost),
            Err(_) => Ok(HashMap::new()),
        }
    }

    /// The size that libvirt knows without a query to QEMU.
    fn size_of(&self, one: &sys::DomainStats, sizes: &HashMap<Uuid, Size>) -> Result<Size> {
        match sizes.get(&one.uuid) {
            Some((vcpus, memory_kib)) if *vcpus > 0 && *memory_kib > 0 => Ok((*vcpus, *memory_kib)),
            _ => {
                let asked = vm(format!("look at domain '{}'", one.name));
                let info = self.find("virDomainGetInfo", &asked, || one.handle.info())?;
                Ok(info.map_or((0, 0), |info| (info.nr_virt_cpu, info.max_mem)))
            }
        }
    }

    /// Reads record and size of each domain. libvirt has no bulk call for metadata, so the calls are made in parallel.
    pub(super) fn read_details(
        &self,
        domains: &[sys::DomainStats],
        sizes: &HashMap<Uuid, Size>,
    ) -> Result<Vec<Details>> {
        // At least 1, because `chunks` panics with 0.
        let share = domains.len().div_ceil(LIST_THREADS).max(1);
        let read = |chunk: &[sys::DomainStats]| -> Result<Vec<Details>> {
            chunk.iter().map(|d| Ok((self.read_record(&d.handle)?, self.size_of(d, sizes)?))).collect()
        };
        let answers: Vec<Result<Vec<Details>>> = std::thread::scope(|scope| {
            let running: Vec<_> =
                domains.chunks(share).map(|chunk| scope.spawn(move || read(chunk))).collect();
            running
                .into_iter()
                .map(|t| t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        });
        let lists = answers.into_iter().collect::<Result<Vec<_>>>()?;
        Ok(lists.into_iter().flatten().collect())
    }
}
