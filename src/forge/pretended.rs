//! A forge that is only pretended, to try a pool without an account.

use std::sync::{Mutex, MutexGuard, PoisonError};

use foundry_runner::{Forge, ForgeError, ForgeFailure, RegisteredRunner, Registration, Removal};

/// Keeps registrations in memory. A runner that is registered is online, and never busy: its guest says what it does.
#[derive(Debug, Default)]
pub struct PretendedForge {
    labels: Vec<String>,
    registrations: Mutex<Vec<Registration>>,
}

impl PretendedForge {
    /// A forge whose runners have these labels.
    pub fn new(labels: &[String]) -> Self {
        Self { labels: labels.to_vec(), registrations: Mutex::default() }
    }

    /// The configuration that a runner gets, by which its guest can show that it arrived.
    pub fn configuration_of(name: &str) -> String {
        format!("pretended configuration of {name}")
    }

    fn list(&self) -> MutexGuard<'_, Vec<Registration>> {
        self.registrations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Forge for PretendedForge {
    fn list_registrations(&self) -> Result<Vec<Registration>, ForgeError> {
        Ok(self.list().clone())
    }

    fn register_runner(&self, name: &str) -> Result<RegisteredRunner, ForgeError> {
        let mut list = self.list();
        if list.iter().any(|one| one.name == name) {
            let message = format!("{name} is registered already");
            return Err(ForgeError { failure: ForgeFailure::NameTaken, message });
        }
        list.push(Registration {
            id: name.to_owned(),
            name: name.to_owned(),
            online: true,
            busy: false,
            labels: self.labels.clone(),
        });
        Ok(RegisteredRunner { id: name.to_owned(), configuration: Self::configuration_of(name) })
    }

    fn remove_registration(&self, id: &str) -> Result<Removal, ForgeError> {
        self.list().retain(|one| one.id != id);
        Ok(Removal::Removed)
    }
}
