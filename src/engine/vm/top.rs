//! What the running guests use: CPU, memory, disks and network.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use crate::Context;
use crate::poll::{Poll, Waited};
use foundry_core::error::Error;
use foundry_core::units::Bytes;
use foundry_host::DomainSample;

/// The time between two samples, from which rates follow.
const INTERVAL: Duration = Duration::from_secs(1);

/// What one running guest uses. Rates are for one second, since the previous sample.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LoadView {
    /// The name of the domain.
    pub vm: String,
    /// Its UUID.
    pub uuid: String,
    /// Processor time in percent; 100 is one processor of the host.
    pub cpu_percent: f64,
    /// Number of virtual CPUs.
    pub vcpus: u32,
    /// Memory assigned to the guest, in bytes.
    pub memory: Bytes,
    /// Memory of the host that its QEMU uses, in bytes, if libvirt reports it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resident: Option<Bytes>,
    /// Bytes read from its disks.
    pub disk_read: Bytes,
    /// Bytes written to its disks.
    pub disk_written: Bytes,
    /// Bytes that it received.
    pub net_received: Bytes,
    /// Bytes that it sent.
    pub net_sent: Bytes,
}

/// Takes samples and remembers the last one.
#[derive(Debug, Default)]
pub struct LoadSampler {
    before: Option<Sample>,
}

/// The counters of all running domains at one time.
#[derive(Debug)]
struct Sample {
    /// By the context's clock.
    at: Duration,
    domains: BTreeMap<Uuid, DomainSample>,
}

impl LoadSampler {
    /// Samples all running domains and returns what they use, the busiest first. The first time it takes two samples, a
    /// second apart. A domain that started since the previous sample is left out.
    ///
    /// # Errors
    /// A failed call to the host.
    pub fn sample(&mut self, context: &Context) -> Result<Vec<LoadView>, Error> {
        let (before, now) = match self.before.take() {
            Some(before) => (before, take_sample(context)?),
            None => (take_sample(context)?, sample_after_interval(context)?),
        };
        let elapsed = now.at.saturating_sub(before.at);
        let pairs = now.domains.iter().filter_map(|(uuid, now)| Some((before.domains.get(uuid)?, now)));
        let mut views: Vec<LoadView> = pairs.map(|(before, now)| view_load(before, now, elapsed)).collect();
        views.sort_by(|a, b| b.cpu_percent.total_cmp(&a.cpu_percent).then_with(|| a.vm.cmp(&b.vm)));
        self.before = Some(now);
        Ok(views)
    }
}

fn sample_after_interval(context: &Context) -> Result<Sample, Error> {
    match Poll::new(context, INTERVAL).pause_first().until(|| take_sample(context).map(Some))? {
        Waited::Done(sample) => Ok(sample),
        // Nothing limits or cancels this wait.
        Waited::TimeOver | Waited::Cancelled => take_sample(context),
    }
}

fn take_sample(context: &Context) -> Result<Sample, Error> {
    let domains = context.host.sample_domains()?;
    Ok(Sample {
        at: context.clock.elapsed(),
        domains: domains.into_iter().map(|domain| (domain.uuid, domain)).collect(),
    })
}

/// A counter that is lower than before was reset: the guest was restarted, or a device replaced.
fn view_load(before: &DomainSample, now: &DomainSample, elapsed: Duration) -> LoadView {
    let seconds = elapsed.as_secs_f64();
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate, for people"
    )]
    let rate = |before: Bytes, now: Bytes| {
        let grown = now.0.saturating_sub(before.0) as f64;
        Bytes(if seconds > 0.0 { (grown / seconds).round() as u64 } else { 0 })
    };
    let used = now.cpu_time.saturating_sub(before.cpu_time).as_secs_f64();
    let percent = if seconds > 0.0 { used / seconds * 100.0 } else { 0.0 };
    LoadView {
        vm: now.name.clone(),
        uuid: now.uuid.to_string(),
        cpu_percent: (percent * 10.0).round() / 10.0,
        vcpus: now.vcpus,
        memory: now.memory,
        resident: now.resident,
        disk_read: rate(before.disk_read, now.disk_read),
        disk_written: rate(before.disk_written, now.disk_written),
        net_received: rate(before.net_received, now.net_received),
        net_sent: rate(before.net_sent, now.net_sent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_for_a_second_and_never_negative() {
        let sample = |cpu: u64, bytes: u64| DomainSample {
            cpu_time: Duration::from_millis(cpu),
            disk_read: Bytes(bytes),
            net_sent: Bytes(2 * bytes),
            ..DomainSample::default()
        };
        let seen = view_load(&sample(1000, 100), &sample(4000, 4100), Duration::from_secs(2));
        assert_eq!((seen.cpu_percent, seen.disk_read, seen.net_sent), (150.0, Bytes(2000), Bytes(4000)));
        let reset = view_load(&sample(4000, 4100), &sample(10, 0), Duration::from_secs(2));
        assert_eq!((reset.cpu_percent, reset.disk_read), (0.0, Bytes(0)));
        let at_once = view_load(&sample(0, 0), &sample(10, 10), Duration::ZERO);
        assert_eq!((at_once.cpu_percent, at_once.disk_read), (0.0, Bytes(0)));
    }
}
