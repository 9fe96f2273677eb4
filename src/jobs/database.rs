//! The file: opening it, its tables, and whether another process has changed it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use foundry_core::error::{Code, Error};
use foundry_core::text::describe_io_error;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::error::database_error;

/// Steps from each version of the tables to the next. A step never changes once it was released.
const MIGRATIONS: [&str; 1] = [include_str!("schema_1.sql")];

/// How long one process waits for another that writes.
const PATIENCE: Duration = Duration::from_secs(10);

/// An open database.
#[derive(Debug)]
pub struct JobDatabase {
    pub(crate) connection: Connection,
    path: PathBuf,
    /// SQLite's count of other connections' changes, when it was looked at last.
    seen_version: i64,
}

impl JobDatabase {
    /// Opens a database, and makes or completes its tables. A new file can be read by this user only, because it names
    /// repositories.
    ///
    /// # Errors
    /// [`Code::JobDatabaseUnusable`] if the file cannot be used, or a later foundry has made it.
    pub fn open(path: &Path) -> Result<Self, Error> {
        create_private(path)?;
        Self::open_file(path)
    }

    /// Opens a database that is there; `None` if there is none.
    ///
    /// # Errors
    /// As [`JobDatabase::open`].
    pub fn open_existing(path: &Path) -> Result<Option<Self>, Error> {
        match path.try_exists() {
            Ok(true) => Self::open_file(path).map(Some),
            Ok(false) => Ok(None),
            Err(e) => Err(unusable(path).because(describe_io_error(&e))),
        }
    }

    fn open_file(path: &Path) -> Result<Self, Error> {
        let told = |e: rusqlite::Error| database_error(path, &e);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(told)?;
        connection.busy_timeout(PATIENCE).map_err(told)?;
        // A writer and readers do not wait for each other; a commit is on the disk before a webhook is answered.
        connection.pragma_update(None, "journal_mode", "wal").map_err(told)?;
        connection.pragma_update(None, "synchronous", "full").map_err(told)?;
        let mut database = Self { connection, path: path.to_owned(), seen_version: 0 };
        database.migrate()?;
        database.seen_version = database.data_version()?;
        Ok(database)
    }

    fn migrate(&mut self) -> Result<(), Error> {
        let path = self.path.clone();
        let told = |e: rusqlite::Error| database_error(&path, &e);
        let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
        if self.told(read_version(&self.connection))? == known {
            return Ok(());
        }
        // Two processes that open a new file migrate it one after the other.
        let change =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(told)?;
        let version = read_version(&change).map_err(told)?;
        if version > known {
            return Err(unusable(&path).because(format!(
                "its tables have version {version}, and this foundry knows them up to {known}: a later foundry made it"
            )));
        }
        let done = usize::try_from(version).unwrap_or_default();
        for step in MIGRATIONS.iter().skip(done) {
            change.execute_batch(step).map_err(told)?;
        }
        change.pragma_update(None, "user_version", known).map_err(told)?;
        change.commit().map_err(told)
    }

    /// Whether another connection has changed the file since this was asked last. It costs no reading of the tables.
    ///
    /// # Errors
    /// [`Code::JobDatabaseUnusable`].
    pub fn has_changed(&mut self) -> Result<bool, Error> {
        let version = self.data_version()?;
        Ok(std::mem::replace(&mut self.seen_version, version) != version)
    }

    fn data_version(&self) -> Result<i64, Error> {
        self.told(self.connection.pragma_query_value(None, "data_version", |row| row.get(0)))
    }

    /// SQLite's answer, with this file's name in an error.
    pub(crate) fn told<T>(&self, answer: rusqlite::Result<T>) -> Result<T, Error> {
        answer.map_err(|e| database_error(&self.path, &e))
    }

    /// Forgets jobs and runners that ended before a time.
    ///
    /// # Errors
    /// [`Code::JobDatabaseUnusable`].
    pub fn forget_before(&self, time: u64) -> Result<(), Error> {
        self.told(self.connection.execute("delete from jobs where ended_at < ?1", [time]))?;
        self.told(self.connection.execute("delete from runners where gone_at < ?1", [time]))?;
        Ok(())
    }
}

fn read_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn unusable(path: &Path) -> Error {
    Error::new(Code::JobDatabaseUnusable, format!("cannot use the database {}", path.display()))
}

/// Creates the file if it is not there, for this user only. SQLite would make it with the rights of the umask.
fn create_private(path: &Path) -> Result<(), Error> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let made = std::fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
    made.map(drop).map_err(|e| unusable(path).because(describe_io_error(&e)))
}
