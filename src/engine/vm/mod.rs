//! The lifecycle of a VM: create, wait for readiness, show, destroy.

pub mod console;
pub mod console_session;
pub mod create;
pub mod destroy;
pub mod guest_copy;
pub mod guest_exec;
pub mod guest_login;
pub mod inspect;
pub mod inventory;
pub mod logs;
pub mod power;
pub mod seed;
pub mod wait;
pub mod whois;

pub(crate) mod address_race;
mod blueprint;
mod busy;
pub(crate) mod cloud_init_log;
pub(crate) mod created;
mod destroy_mark;
mod destroy_plan;
pub(crate) mod goal;
pub(crate) mod guest_agent;
pub(crate) mod guest_file;
pub(crate) mod handle;
pub(crate) mod journal;
mod leftover;
pub(crate) mod lookup;
pub(crate) mod plan_destroy;
mod plan_volumes;
pub(crate) mod record_pair;
pub(crate) mod rollback;
pub(crate) mod ssh_greeting;
pub(crate) mod stop;
