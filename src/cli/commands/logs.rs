//! `foundry logs`

use clap::Args;

use crate::connect::connect_host;
use crate::ui::Ui;
use crate::{Global, interrupt};
use foundry_core::error::Error;
use foundry_core::text::strip_terminal_sequences;
use foundry_engine::vm::logs::{self, LogEnd, LogOptions, LogSink};

/// Print what a VM wrote to its serial console
///
/// It begins with the last start. Terminal sequences are removed, unless --raw is given. Rotated backups are read, too.
/// The console log has no times, so nothing can be selected by time.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  foundry logs web
  foundry logs web --tail 50 --follow
  foundry logs web --qemu
  foundry logs web --raw > console.log")]
pub(crate) struct LogsArgs {
    /// Name of the VM
    #[arg(value_name = "VM")]
    name: String,
    /// Go on with what is written from now on, also after a restart
    #[arg(short, long)]
    follow: bool,
    /// Print only the last lines
    #[arg(long, value_name = "LINES")]
    tail: Option<usize>,
    /// Print QEMU's log: its command lines and its messages
    #[arg(long)]
    qemu: bool,
    /// Print the bytes of the log exactly as they are
    #[arg(long)]
    raw: bool,
}

pub(super) fn run_logs(args: &LogsArgs, global: &Global, ui: &Ui) -> Result<(), Error> {
    let context = connect_host(global, ui)?;
    interrupt::install_handler(&context.cancel)?;
    let options = LogOptions { qemu: args.qemu, follow: args.follow, tail: args.tail };
    let mut printer = LogPrinter { ui, raw: args.raw, line: Vec::new(), is_line_open: false };
    if let LogEnd::VmDeleted(vm) = logs::read_log(&context, &args.name, options, &mut printer)? {
        ui.show_note(&format!("VM '{vm}' was deleted"));
    }
    printer.finish()
}

/// Prints a log.
struct LogPrinter<'a> {
    ui: &'a Ui,
    raw: bool,
    /// Text that is not printed yet: the beginning of a line.
    line: Vec<u8>,
    /// Whether what was printed last has no line end.
    is_line_open: bool,
}

impl LogSink for LogPrinter<'_> {
    fn take(&mut self, bytes: &[u8]) -> Result<bool, Error> {
        if self.raw {
            self.ui.write_bytes(bytes)?;
        } else if bytes.is_empty() {
            self.print_line_so_far()?;
        } else {
            self.print_lines(bytes)?;
        }
        Ok(!self.ui.is_unread())
    }
}

impl LogPrinter<'_> {
    /// Prints whole lines, because a terminal sequence does not span two.
    fn print_lines(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n') else {
            self.line.extend_from_slice(bytes);
            return Ok(());
        };
        self.line.extend_from_slice(&bytes[..end]);
        let whole = std::mem::replace(&mut self.line, bytes[end + 1..].to_vec());
        let text = String::from_utf8_lossy(&whole);
        let lines: String = text.split('\n').map(|line| strip_terminal_sequences(line) + "\n").collect();
        self.is_line_open = false;
        self.ui.write_bytes(lines.as_bytes())
    }

    /// Prints a line that has no end yet, such as a prompt, once nothing more comes.
    fn print_line_so_far(&mut self) -> Result<(), Error> {
        if self.line.is_empty() {
            return Ok(());
        }
        let line = std::mem::take(&mut self.line);
        self.is_line_open = true;
        self.ui.write_bytes(strip_terminal_sequences(&String::from_utf8_lossy(&line)).as_bytes())
    }

    /// Ends the last line.
    fn finish(&mut self) -> Result<(), Error> {
        self.print_line_so_far()?;
        if self.is_line_open { self.ui.write_bytes(b"\n") } else { Ok(()) }
    }
}
