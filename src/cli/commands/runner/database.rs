//! The database of jobs, as the commands find it.

use std::path::PathBuf;

use clap::Args;

use foundry_core::error::{Code, Error};
use foundry_core::text::describe_io_error;
use foundry_host::local::service_directory;
use foundry_jobs::JobDatabase;

/// Where the database is.
#[derive(Debug, Clone, Args)]
pub(super) struct DatabaseArgs {
    /// Database of jobs [default: /var/lib/foundry/runner.db, without root in the home]
    #[arg(long, value_name = "FILE", env = "FOUNDRY_RUNNER_DATABASE", hide_env = true)]
    database: Option<PathBuf>,
}

impl DatabaseArgs {
    /// The file.
    ///
    /// # Errors
    /// [`Code::NoDirectory`] if nothing says where it is.
    pub(super) fn path(&self) -> Result<PathBuf, Error> {
        let usual = || service_directory().map(|directory| directory.join("runner.db"));
        self.database.clone().or_else(usual).ok_or_else(|| {
            Error::new(Code::NoDirectory, "there is no directory for the database of jobs")
                .because("neither HOME nor XDG_STATE_HOME is set")
                .hint("set HOME, or name a file with --database")
        })
    }

    /// Opens the database for the controller, and makes it and its usual directory if they are not there.
    ///
    /// # Errors
    /// [`Code::JobDatabaseUnusable`].
    pub(super) fn open_for_controller(&self) -> Result<JobDatabase, Error> {
        let path = self.path()?;
        if let (None, Some(directory)) = (&self.database, path.parent()) {
            std::fs::create_dir_all(directory).map_err(|e| {
                Error::new(
                    Code::JobDatabaseUnusable,
                    format!("cannot make the directory {}", directory.display()),
                )
                .because(describe_io_error(&e))
                .hint("name a file that this user may write: --database FILE")
            })?;
        }
        JobDatabase::open(&path)
    }

    /// Opens the database that a controller has made.
    ///
    /// # Errors
    /// [`Code::JobDatabaseUnusable`], also if there is none: no controller has run.
    pub(super) fn open(&self) -> Result<JobDatabase, Error> {
        let path = self.path()?;
        JobDatabase::open_existing(&path)?.ok_or_else(|| {
            Error::new(Code::JobDatabaseUnusable, format!("there is no database {}", path.display()))
                .because("the controller makes it, and has not run with it")
                .hint("name the controller's with --database")
                .unchanged()
        })
    }
}
