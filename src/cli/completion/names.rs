//! Names to complete: from the host, the catalogue, the configuration and the manifest's schema.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::sync::Arc;

use clap::{ArgMatches, FromArgMatches};
use clap_complete::engine::CompletionCandidate;

use crate::commands::image::known_aliases;
use crate::config::{ContextName, SettingKey, Sourced};
use crate::host_query::{query_host, within_timeout};
use crate::{Global, command};
use foundry_core::error::Code;
use foundry_core::record::{Owner, VolumeRole};
use foundry_core::schema::{self, Field};
use foundry_core::text::quote_for_shell;
use foundry_engine::network::list::{NetworkView, list_networks};
use foundry_engine::vm::inspect;
use foundry_engine::{Context, disk, image, snapshot};

/// Makes the shell complete files. No name can equal it, because names with `<` would need quotes.
pub(super) const FILES: &str = "<files>";

/// A name and its description.
type Name = (String, String);

/// The command line up to the cursor.
#[derive(Clone)]
pub(super) struct CommandLine(Arc<TypedLine>);

struct TypedLine {
    words: Vec<String>,
    current: String,
    given: Option<ArgMatches>,
}

impl CommandLine {
    /// `index` is the word with the cursor.
    pub(super) fn new(words: &[OsString], index: usize) -> Self {
        let word = |word: &OsString| word.to_string_lossy().into_owned();
        let before: Vec<String> = words.iter().take(index).map(word).collect();
        // The value of a trailing option is being typed, so the option is dropped.
        let is_open = |word: &String| word.starts_with('-') && !word.contains('=');
        let whole = &before[..before.len() - usize::from(before.last().is_some_and(is_open))];
        let given = command().ignore_errors(true).try_get_matches_from(whole).ok();
        Self(Arc::new(TypedLine {
            words: before,
            current: words.get(index).map(word).unwrap_or_default(),
            given,
        }))
    }

    /// The words before the cursor's.
    pub(super) fn previous_words(&self) -> &[String] {
        &self.0.words
    }

    /// The part of the cursor's word that is typed.
    pub(super) fn current_word(&self) -> &str {
        &self.0.current
    }

    /// The completer of an argument, by the name of its value in the help.
    pub(super) fn value_source(
        &self,
        value_name: &str,
    ) -> Option<impl Fn(&OsStr) -> Vec<CompletionCandidate> + Send + Sync + use<>> {
        let names: fn(&TypedLine) -> Option<Vec<Name>> = match value_name {
            "VM" => vm_names,
            "DOMAIN" => foreign_names,
            "POOL" => pool_names,
            "IMAGE" => image_names,
            "DISK" => disk_names,
            "SNAPSHOT" => snapshot_names,
            "BRIDGE" | "CIDR|BRIDGE" => bridge_names,
            "IP|MAC|TAP|VOLUME" => owned_names,
            "NETWORK" => network_names,
            "URL|NAME" => catalogue_names,
            "CONTEXT" => context_names,
            "LABELS" => vm_labels,
            "FIELD|CODE" => |line| Some(fields_or_codes(&line.current)),
            _ => return None,
        };
        let line = Arc::clone(&self.0);
        Some(move |begun: &OsStr| {
            let line = Arc::clone(&line);
            matching_candidates(within_timeout(move || names(&line).map(|found| (found, line))), begun)
        })
    }
}

/// Whether an argument is a file, by the name of its value in the help.
pub(super) fn is_file(value_name: &str) -> bool {
    matches!(value_name, "FILE" | "DIR" | "DIGEST|FILE|URL")
}

/// The names that start with what is typed, were not given before, and need no quotes in a shell.
fn matching_candidates(
    found: Option<(Vec<Name>, Arc<TypedLine>)>,
    begun: &OsStr,
) -> Vec<CompletionCandidate> {
    let Some((names, line)) = found else { return Vec::new() };
    let begun = begun.to_string_lossy();
    let plain = |name: &str| quote_for_shell(name) == name;
    let fits = |name: &str| name.starts_with(&*begun) && !line.words.iter().any(|word| word == name);
    let candidate = |(name, help): Name| {
        CompletionCandidate::new(name).help(Some(help).filter(|help| !help.is_empty()).map(Into::into))
    };
    names.into_iter().filter(|(name, _)| plain(name) && fits(name)).map(candidate).collect()
}

impl TypedLine {
    fn global_args(&self) -> Option<Global> {
        Global::from_arg_matches(self.given.as_ref()?).ok()
    }

    /// The value of an argument of the innermost command.
    fn arg_value(&self, id: &str) -> Option<String> {
        let mut leaf = self.given.as_ref()?;
        // Arguments of a subcommand are in its own matches.
        while let Some((_, inner)) = leaf.subcommand() {
            leaf = inner;
        }
        Some(leaf.try_get_raw(id).ok()??.next()?.to_string_lossy().into_owned())
    }

    fn query_host<T>(&self, look: impl FnOnce(&Context) -> Option<T>) -> Option<T> {
        query_host(&self.global_args()?, look)
    }
}

fn vm_names(line: &TypedLine) -> Option<Vec<Name>> {
    line.query_host(|context| {
        let domains = context.host.domains(false).ok()?;
        Some(domains.into_iter().map(|d| (d.name, d.state.to_string())).collect())
    })
}

/// The domains that foundry did not make.
fn foreign_names(line: &TypedLine) -> Option<Vec<Name>> {
    line.query_host(|context| {
        let domains = context.host.domains(false).ok()?;
        let foreign = domains.into_iter().filter(|domain| matches!(domain.owner(), Owner::Foreign));
        Some(foreign.map(|d| (d.name, d.state.to_string())).collect())
    })
}

fn pool_names(line: &TypedLine) -> Option<Vec<Name>> {
    line.query_host(|context| {
        Some(context.host.pools().ok()?.into_iter().map(|pool| (pool.name, String::new())).collect())
    })
}

fn image_names(line: &TypedLine) -> Option<Vec<Name>> {
    line.query_host(|context| {
        let pool = line.arg_value("pool").unwrap_or_else(|| context.settings.image_pool.to_string());
        let images = image::list_images(context, &pool).ok()?;
        Some(images.into_iter().map(|image| (image.name, image.capacity.to_string())).collect())
    })
}

fn disk_names(line: &TypedLine) -> Option<Vec<Name>> {
    line.query_host(|context| {
        let disks = disk::list_disks(context, Some(&line.arg_value("vm")?)).ok()?;
        Some(disks.into_iter().filter(|disk| disk.role != Some(VolumeRole::Seed)).map(disk_name).collect())
    })
}

/// The snapshots of the VM that was typed before.
fn snapshot_names(line: &TypedLine) -> Option<Vec<Name>> {
    line.query_host(|context| {
        let listed = snapshot::list_snapshots(context, Some(&line.arg_value("vm")?)).ok()?;
        Some(listed.into_iter().map(|s| (s.name, s.description.unwrap_or_default())).collect())
    })
}

/// The boot disk is offered as `boot`, which is easier to recognize than its device.
fn disk_name(disk: disk::DiskView) -> Name {
    let name = if disk.role == Some(VolumeRole::Boot) { "boot".into() } else { disk.device };
    (name, disk.size.map(|size| size.to_string()).unwrap_or_default())
}

/// The labels of all VMs of the host.
fn vm_labels(line: &TypedLine) -> Option<Vec<Name>> {
    line.query_host(|context| {
        let seen = inspect::list_vms(context, true).ok()?;
        let pairs = seen.into_iter().flat_map(|vm| vm.vm.metadata.labels);
        let distinct: BTreeSet<String> = pairs.map(|(key, value)| format!("{key}={value}")).collect();
        Some(distinct.into_iter().map(|label| (label, String::new())).collect())
    })
}

fn bridge_names(line: &TypedLine) -> Option<Vec<Name>> {
    line.query_host(|context| {
        Some(context.host.bridges().ok()??.into_iter().map(|bridge| (bridge.name, String::new())).collect())
    })
}

fn network_names(line: &TypedLine) -> Option<Vec<Name>> {
    line.query_host(|context| {
        let names = |view: NetworkView| (view.name, view.kind.as_str().to_owned());
        Some(list_networks(context).ok()?.into_iter().map(names).collect())
    })
}

/// The addresses and volumes of foundry's VMs, each with the VM.
fn owned_names(line: &TypedLine) -> Option<Vec<Name>> {
    line.query_host(|context| {
        let seen = inspect::list_vms(context, true).ok()?;
        let of = |vm: &inspect::VmView| {
            let addresses = vm.vm.status.iter().flat_map(|s| &s.addresses).map(|a| a.address.clone());
            let volumes = vm.record().into_iter().flat_map(|r| &r.volumes);
            let names = addresses.chain(volumes.map(|v| v.reference().to_argument()));
            names.map(|name| (name, vm.domain.name.clone())).collect::<Vec<_>>()
        };
        Some(seen.iter().flat_map(of).collect())
    })
}

fn catalogue_names(line: &TypedLine) -> Option<Vec<Name>> {
    let known = known_aliases(&line.global_args()?)?;
    Some(known.into_iter().map(|image| (image.alias.to_string(), image.description)).collect())
}

fn context_names(line: &TypedLine) -> Option<Vec<Name>> {
    let global = line.global_args()?;
    let connect =
        |set: &BTreeMap<SettingKey, Sourced>| set.get(&SettingKey::Connect).map(|uri| uri.text.clone());
    let name = |(name, set): (&ContextName, _)| (name.to_string(), connect(set).unwrap_or_default());
    Some(global.effective_config().all_contexts().iter().map(name).collect())
}

/// Error codes are offered only after an F or f, in that case, because there are many.
fn fields_or_codes(begun: &str) -> Vec<Name> {
    let spelt: fn(&Code) -> String = match begun.chars().next() {
        Some('F') => Code::to_string,
        Some('f') => |code| code.to_string().to_lowercase(),
        _ => return field_paths(),
    };
    Code::ALL.iter().map(|code| (spelt(code), code.title().to_owned())).collect()
}

fn field_paths() -> Vec<Name> {
    let schema = schema::document_schema();
    let word = |field: &Field<'_>| (field.path.clone(), field.type_text());
    Field::document_root(&schema).all_fields().iter().map(word).collect()
}
