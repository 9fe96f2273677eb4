//! The log of libvirt calls that `-vv` prints.

use std::sync::Arc;
use std::time::Duration;

use super::{Ui, write_whole};
use crate::progress::{self, ProgressEvent};
use foundry_core::text::escape_unseen;
use foundry_host::CallObserver;

/// Writes a line for each libvirt call, for `-vv`.
struct CallLog {
    to_program: bool,
}

impl CallObserver for CallLog {
    fn called(&self, function: &str, operation: &str, took: Duration, error: Option<&str>) {
        if self.to_program {
            let event = ProgressEvent::Call { function, operation, seconds: took.as_secs_f64(), error };
            write_whole(event.to_json_line());
            return;
        }
        let outcome = error.map(|e| format!(": {e}")).unwrap_or_default();
        let line =
            format!("[libvirt] {:>9.3} ms  {function} ({operation}){outcome}", took.as_secs_f64() * 1000.0);
        write_whole(escape_unseen(&line));
    }
}

impl Ui {
    /// The observer of libvirt calls that `-vv` needs.
    pub fn call_observer(&self) -> Arc<dyn CallObserver> {
        let to_program = self.progress == progress::ProgressForm::Json;
        if self.verbose > 1 { Arc::new(CallLog { to_program }) } else { Arc::new(()) }
    }
}
