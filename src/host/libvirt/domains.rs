//! Domains through libvirt.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;
use virt::domain::Domain as Handle;
use virt::error::{Error as VirtError, ErrorNumber};
use virt::sys as c;

use super::calling::is_absence;
use super::why::{state_of, why};
use super::{Libvirt, libvirt_xml, sys, vm};
use crate::{Domain, DomainSample, DomainState, Domains, KeptOnUndefine, Result, StateNow, View};
use foundry_core::record::METADATA_NAMESPACE;
use foundry_core::units::Bytes;

/// The XML namespace prefix of foundry's element in the domain's metadata.
const METADATA_KEY: &str = "foundry";

/// The flags for everything that is deleted with a definition, except saved memory; sets with the most recent flags
/// come first. A daemon that does not know a flag refuses the call, and the next set is tried (`--tpm` came with
/// libvirt 8.9).
const UNDEFINE_FLAGS: [u32; 4] = [
    c::VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
        | c::VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
        | c::VIR_DOMAIN_UNDEFINE_NVRAM
        | c::VIR_DOMAIN_UNDEFINE_TPM,
    c::VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
        | c::VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
        | c::VIR_DOMAIN_UNDEFINE_NVRAM,
    c::VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA | c::VIR_DOMAIN_UNDEFINE_NVRAM,
    c::VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA,
];

impl Libvirt {
    pub(super) fn handle(&self, domain: Uuid) -> Result<Handle> {
        self.call("virDomainLookupByUUID", &vm(format!("look up domain {domain}")), || {
            self.connection.lookup_domain_by_uuid(domain)
        })
    }

    pub(super) fn find_handle(&self, domain: Uuid) -> Result<Option<Handle>> {
        self.find("virDomainLookupByUUID", &vm(format!("look up domain {domain}")), || {
            self.connection.lookup_domain_by_uuid(domain)
        })
    }

    /// Calls one function on a domain. `verb` forms the message: "cannot `verb` domain 'web'".
    pub(super) fn on_domain<T>(
        &self,
        domain: Uuid,
        function: &str,
        verb: &str,
        act: impl FnOnce(&Handle) -> std::result::Result<T, VirtError>,
    ) -> Result<T> {
        let handle = self.handle(domain)?;
        self.call(function, &vm(format!("{verb} domain '{}'", name_of(&handle))), || act(&handle))
    }

    /// Whether the domain has saved memory, which its next start restores. Not every driver can save.
    fn is_saved(&self, handle: &Handle) -> Result<bool> {
        let asked = vm(format!("look for the saved memory of domain '{}'", name_of(handle)));
        match self.raw("virDomainHasManagedSaveImage", &asked, || handle.has_managed_save(0)) {
            Ok(saved) => Ok(saved),
            Err(e) if is_absence(&e) || e.code().is(ErrorNumber::NoSupport) => Ok(false),
            Err(e) => Err(self.failed(&asked, &e)),
        }
    }

    pub(super) fn read_record(&self, handle: &Handle) -> Result<Option<String>> {
        let asked = vm(format!("read foundry's record of domain '{}'", name_of(handle)));
        let element = self.find("virDomainGetMetadata", &asked, || {
            handle.metadata(
                c::VIR_DOMAIN_METADATA_ELEMENT.cast_signed(),
                Some(METADATA_NAMESPACE),
                // Of a running domain, this is the live record; the engine also reads the persistent one.
                c::VIR_DOMAIN_AFFECT_CURRENT,
            )
        })?;
        // An unreadable record is passed on unchanged: it must not count as "no record".
        Ok(element.map(|xml| libvirt_xml::metadata_text(&xml).unwrap_or(xml)))
    }
}

impl Domains for Libvirt {
    fn domains(&self, active_only: bool) -> Result<Vec<Domain>> {
        let asked = vm("list the domains");
        let stats = self
            .call("virConnectGetAllDomainStats", &asked, || sys::all_states(&self.connection, active_only))?;
        let flagged = |flag| -> Result<HashSet<Uuid>> {
            let list =
                self.call("virConnectListAllDomains", &asked, || self.connection.list_all_domains(flag))?;
            // A handle knows its UUID since its lookup, so this cannot fail.
            Ok(list.iter().filter_map(|d| d.uuid().ok()).collect())
        };
        // List the kind that is usually the smaller one.
        let transient = flagged(c::VIR_CONNECT_LIST_DOMAINS_TRANSIENT)?;
        let autostart = flagged(c::VIR_CONNECT_LIST_DOMAINS_AUTOSTART)?;
        // An active domain has no saved memory.
        let saved =
            if active_only { HashSet::new() } else { flagged(c::VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE)? };
        let sizes = if active_only { HashMap::new() } else { self.sizes_of_inactive(&asked)? };
        let details = self.read_details(&stats, &sizes)?;
        let listed = stats.into_iter().zip(details).map(|(one, (record, (vcpus, memory_kib)))| {
            Ok(Domain {
                state: state_of(one.state),
                why: why(one.state, one.reason),
                vcpus,
                memory: Bytes(memory_kib * 1024),
                persistent: !transient.contains(&one.uuid),
                autostart: autostart.contains(&one.uuid),
                saved: saved.contains(&one.uuid),
                uuid: one.uuid,
                name: one.name,
                record,
            })
        });
        listed.collect()
    }

    fn domain(&self, name: &str) -> Result<Option<Domain>> {
        let asked = vm(format!("look up domain '{name}'"));
        let found =
            self.find("virDomainLookupByName", &asked, || self.connection.lookup_domain_by_name(name))?;
        let Some(handle) = found else { return Ok(None) };
        // A domain that disappears between two calls is reported as absent.
        let Some(info) = self.find("virDomainGetInfo", &asked, || handle.info())? else { return Ok(None) };
        let Some((state, reason)) = self.find("virDomainGetState", &asked, || sys::state(&handle))? else {
            return Ok(None);
        };
        let persistent =
            self.find("virDomainIsPersistent", &asked, || handle.is_persistent())?.unwrap_or(false);
        let autostart = if persistent {
            self.find("virDomainGetAutostart", &asked, || handle.autostart())?
        } else {
            None
        };
        Ok(Some(Domain {
            uuid: self.call("virDomainGetUUID", &asked, || handle.uuid())?,
            name: name.to_owned(),
            state: state_of(state),
            why: why(state, reason),
            vcpus: info.nr_virt_cpu,
            memory: Bytes(info.max_mem * 1024),
            persistent,
            autostart: autostart.unwrap_or(false),
            saved: !state_of(state).is_active() && self.is_saved(&handle)?,
            record: self.read_record(&handle)?,
        }))
    }

    fn state(&self, domain: Uuid) -> Result<Option<StateNow>> {
        let Some(handle) = self.find_handle(domain)? else { return Ok(None) };
        let asked = vm(format!("look at domain '{}'", name_of(&handle)));
        let now = self.find("virDomainGetState", &asked, || sys::state(&handle))?;
        Ok(now.map(|(state, reason)| StateNow { state: state_of(state), why: why(state, reason) }))
    }

    fn sample_domains(&self) -> Result<Vec<DomainSample>> {
        let asked = vm("sample the domains");
        self.call("virConnectGetAllDomainStats", &asked, || sys::sample_active(&self.connection))
    }

    fn define_domain(&self, xml: &str) -> Result<Uuid> {
        let name = libvirt_xml::DomainDescription::read(xml).map(|d| d.name).unwrap_or_default();
        let asked = vm(format!("define domain '{name}'"));
        // Otherwise libvirt ignores elements that it does not know, such as those of a newer version.
        let flags = c::VIR_DOMAIN_DEFINE_VALIDATE;
        let handle = self.call("virDomainDefineXMLFlags", &asked, || {
            self.connection.define_domain_xml_flags(xml, flags)
        })?;
        self.call("virDomainGetUUID", &asked, || handle.uuid())
    }

    fn domain_xml(&self, domain: Uuid, view: View) -> Result<Option<String>> {
        let flags = match view {
            View::Current => 0,
            View::Config => c::VIR_DOMAIN_XML_INACTIVE,
        };
        let Some(handle) = self.find_handle(domain)? else { return Ok(None) };
        let asked = vm(format!("describe domain '{}'", name_of(&handle)));
        self.find("virDomainGetXMLDesc", &asked, || handle.xml_desc(flags))
    }

    fn full_definition(&self, domain: Uuid) -> Result<Option<String>> {
        let Some(handle) = self.find_handle(domain)? else { return Ok(None) };
        let asked = vm(format!("describe domain '{}'", name_of(&handle)));
        let flags = c::VIR_DOMAIN_XML_INACTIVE | c::VIR_DOMAIN_XML_SECURE;
        self.find("virDomainGetXMLDesc", &asked, || handle.xml_desc(flags))
    }

    fn set_memory_now(&self, domain: Uuid, memory: Bytes) -> Result<()> {
        self.on_domain(domain, "virDomainSetMemoryFlags", "change the memory of", |d| {
            d.set_memory_flags(memory.to_kib(), c::VIR_DOMAIN_AFFECT_LIVE)
        })
    }

    fn set_vcpus_now(&self, domain: Uuid, vcpus: u32) -> Result<()> {
        self.on_domain(domain, "virDomainSetVcpusFlags", "change the CPUs of", |d| {
            d.set_vcpus_flags(vcpus, c::VIR_DOMAIN_AFFECT_LIVE)
        })
    }

    fn update_interface_now(&self, domain: Uuid, xml: &str) -> Result<()> {
        self.on_domain(domain, "virDomainUpdateDeviceFlags", "change an interface of", |d| {
            d.update_device_flags(xml, c::VIR_DOMAIN_AFFECT_LIVE)
        })
    }

    fn set_record(&self, domain: Uuid, text: &str) -> Result<()> {
        let handle = self.handle(domain)?;
        let asked = vm(format!("write foundry's record of domain '{}'", name_of(&handle)));
        let is_active = || self.call("virDomainIsActive", &asked, || handle.is_active());
        let element = format!("<vm>{}</vm>", quick_xml::escape::escape(text));
        let write = |flags| {
            // The bindings want a signed number, and the header has an unsigned one.
            let kind = c::VIR_DOMAIN_METADATA_ELEMENT.cast_signed();
            self.call("virDomainSetMetadata", &asked, || {
                handle.set_metadata(kind, Some(&element), Some(METADATA_KEY), Some(METADATA_NAMESPACE), flags)
            })
        };
        // With CURRENT alone, the record of a running domain would be lost at its next power-off.
        let (config, live) = (c::VIR_DOMAIN_AFFECT_CONFIG, c::VIR_DOMAIN_AFFECT_LIVE);
        match if is_active()? { write(config | live) } else { write(config) } {
            // The domain stopped meanwhile.
            Err(refused) if !refused.outcome_unknown() && !is_active()? => write(config),
            // A transient domain has only a live record.
            Err(refused)
                if !refused.outcome_unknown()
                    && !self.call("virDomainIsPersistent", &asked, || handle.is_persistent())? =>
            {
                write(live)
            }
            written => written,
        }
    }

    fn set_autostart(&self, domain: Uuid, on: bool) -> Result<()> {
        self.on_domain(domain, "virDomainSetAutostart", "set autostart of", |d| d.set_autostart(on))
    }

    fn rename_domain(&self, domain: Uuid, name: &str) -> Result<()> {
        self.on_domain(domain, "virDomainRename", "rename", |d| d.rename(name, 0))
    }

    fn start(&self, domain: Uuid) -> Result<()> {
        self.on_domain(domain, "virDomainCreate", "start", Handle::create)
    }

    fn start_without_memory(&self, domain: Uuid) -> Result<()> {
        self.on_domain(domain, "virDomainCreateWithFlags", "start", |handle| {
            handle.create_with_flags(c::VIR_DOMAIN_START_FORCE_BOOT).map(drop)
        })
    }

    /// libvirt has the flag since 8.1.
    fn start_with_new_variables(&self, domain: Uuid) -> Result<()> {
        self.on_domain(domain, "virDomainCreateWithFlags", "start", |handle| {
            handle.create_with_flags(c::VIR_DOMAIN_START_RESET_NVRAM).map(drop)
        })
    }

    /// libvirt itself stops the guest when the connection ends, for whatever reason.
    fn start_transient(&self, xml: &str) -> Result<Uuid> {
        let asked = vm("start a guest for a moment");
        let started = self.call("virDomainCreateXML", &asked, || {
            self.connection.create_domain_xml(xml, c::VIR_DOMAIN_START_AUTODESTROY)
        })?;
        self.call("virDomainGetUUID", &asked, || started.uuid())
    }

    /// Without a flag, libvirt uses the guest agent if there is one, and returns only after the guest is off or a
    /// minute has passed. The ACPI power button returns at once, so the caller decides how long to wait.
    fn request_shutdown(&self, domain: Uuid) -> Result<()> {
        let handle = self.handle(domain)?;
        let asked = vm(format!("shut down domain '{}'", name_of(&handle)));
        let press = || handle.shutdown_flags(virt::sys::VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN);
        match self.raw("virDomainShutdownFlags", &asked, press) {
            // Not every driver supports this flag.
            Err(e) if is_unknown_flag(&e) => self.call("virDomainShutdown", &asked, || handle.shutdown()),
            pressed => pressed.map_err(|e| self.failed(&asked, &e)),
        }
    }

    /// With the agent first, a guest whose agent hangs would hold up the call; the power button returns at once.
    fn request_reboot(&self, domain: Uuid) -> Result<()> {
        self.on_domain(domain, "virDomainReboot", "reboot", |handle| {
            handle.reboot(c::VIR_DOMAIN_REBOOT_ACPI_POWER_BTN)
        })
    }

    fn pause(&self, domain: Uuid) -> Result<()> {
        self.on_domain(domain, "virDomainSuspend", "pause", Handle::suspend)
    }

    fn resume(&self, domain: Uuid) -> Result<()> {
        let handle = self.handle(domain)?;
        let asked = vm(format!("resume domain '{}'", name_of(&handle)));
        let (state, _) = self.call("virDomainGetState", &asked, || sys::state(&handle))?;
        if state_of(state) == DomainState::Suspended {
            // virDomainResume refuses a guest that sleeps (S3).
            return self.call("virDomainPMWakeup", &asked, || handle.pm_wakeup(0));
        }
        self.call("virDomainResume", &asked, || handle.resume())
    }

    fn force_off(&self, domain: Uuid) -> Result<()> {
        let Some(handle) = self.find_handle(domain)? else { return Ok(()) };
        let asked = vm(format!("force off domain '{}'", name_of(&handle)));
        // libvirt's error codes for "already off" differ by driver. So check the state, act, and check again.
        let is_off =
            || self.find("virDomainIsActive", &asked, || handle.is_active()).map(|a| a != Some(true));
        if is_off()? {
            return Ok(());
        }
        match self.call("virDomainDestroy", &asked, || handle.destroy()) {
            Err(refusal) if !refusal.outcome_unknown() && is_off()? => Ok(()),
            outcome => outcome,
        }
    }

    fn undefine_keeping(&self, domain: Uuid, kept: KeptOnUndefine) -> Result<()> {
        let Some(handle) = self.find_handle(domain)? else { return Ok(()) };
        let asked = vm(format!("undefine domain '{}'", name_of(&handle)));
        let last = UNDEFINE_FLAGS.len() - 1;
        for (index, flags) in UNDEFINE_FLAGS.into_iter().enumerate() {
            let flags = undefine_flags(flags, kept);
            match self.raw("virDomainUndefineFlags", &asked, || handle.undefine_flags(flags)) {
                Ok(()) => return Ok(()),
                Err(e) if is_absence(&e) => return Ok(()),
                // An older daemon: the next set lacks the newest flag.
                Err(e) if index < last && is_unknown_flag(&e) => {}
                Err(e) => return Err(self.failed(&asked, &e)),
            }
        }
        Ok(())
    }

    fn saved_xml(&self, domain: Uuid) -> Result<Option<String>> {
        let Some(handle) = self.find_handle(domain)? else { return Ok(None) };
        let asked = vm(format!("describe the saved memory of domain '{}'", name_of(&handle)));
        match self.call("virDomainManagedSaveGetXMLDesc", &asked, || sys::saved_xml(&handle)) {
            // The saved memory may have been restored or deleted meanwhile.
            Err(refused) if !refused.outcome_unknown() && !self.is_saved(&handle)? => Ok(None),
            described => described.map(Some),
        }
    }
}

/// libvirt requires an explicit choice, to keep or to delete, for each store of EFI variables.
fn undefine_flags(known: u32, kept: KeptOnUndefine) -> u32 {
    let saved = if kept.saved { 0 } else { c::VIR_DOMAIN_UNDEFINE_MANAGED_SAVE };
    let nvram = known & c::VIR_DOMAIN_UNDEFINE_NVRAM;
    if kept.nvram && nvram != 0 {
        return saved | (known & !nvram) | c::VIR_DOMAIN_UNDEFINE_KEEP_NVRAM;
    }
    saved | known
}

pub(super) fn name_of(handle: &Handle) -> String {
    // The handle stores the name since its lookup, so this makes no call.
    handle.name().unwrap_or_default()
}

/// Whether an error means that the daemon or the driver does not know a flag. Both codes are in use.
fn is_unknown_flag(error: &VirtError) -> bool {
    error.code().is(ErrorNumber::InvalidArg) || error.code().is(ErrorNumber::NoSupport)
}
