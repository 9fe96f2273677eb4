//! The terminal: results on stdout, everything else on stderr.

mod call_log;
mod error_text;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use error_text::{error_mark, error_text, is_declined, is_worth_explaining};

use super::progress::{self, ProgressEvent, StepTimes};
use super::words;
use foundry_core::error::{Code, Error};
use foundry_core::text::{escape_unseen, escape_unseen_lines};
use foundry_engine::{Event, Progress};

/// The terminal. Clones share its state.
#[derive(Clone)]
pub struct Ui {
    quiet: bool,
    verbose: u8,
    colour: bool,
    progress: progress::ProgressForm,
    times: Arc<Mutex<StepTimes>>,
    /// Whether stdout was a terminal at the start. A terminal that has closed no longer looks like one.
    shows: bool,
    /// The spinner or bar that is on the screen.
    spinner: Arc<Mutex<Option<ProgressBar>>>,
    /// Warnings that were printed, so that one about the host is not repeated for each VM.
    warned: Arc<Mutex<BTreeSet<String>>>,
}

impl Ui {
    /// `verbose` is the number of `-v`. `colour` is `always`, `never` or `auto`, and `progress` is `plain`, `json`,
    /// `none` or `auto`; `auto` depends on stderr.
    pub fn new(quiet: bool, verbose: u8, colour: &str, progress: &str) -> Self {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let colour = match colour {
            "always" => true,
            "never" => false,
            // https://no-color.org: any value but the empty one.
            _ if set("NO_COLOR").is_some() => false,
            // https://bixense.com/clicolors: any value but 0.
            _ => set("CLICOLOR_FORCE").is_some_and(|value| value != "0") || io::stderr().is_terminal(),
        };
        let progress = progress::ProgressForm::from_setting(progress, io::stderr().is_terminal());
        let times = Arc::default();
        let shows = io::stdout().is_terminal();
        Self {
            quiet,
            verbose,
            colour,
            progress,
            times,
            shows,
            spinner: Arc::default(),
            warned: Arc::default(),
        }
    }

    /// The same terminal without the progress of operations.
    #[must_use]
    pub fn without_progress(&self) -> Self {
        Self { progress: progress::ProgressForm::None, ..self.clone() }
    }

    /// Writes a result exactly as it is, for a program to read.
    ///
    /// # Errors
    /// If stdout cannot be written. A reader that has closed the pipe, or a closed terminal, is not an error: it has
    /// read what it wanted.
    pub fn write_result(&self, text: &str) -> Result<(), Error> {
        self.write_bytes(text.as_bytes())
    }

    /// Writes bytes exactly as they are.
    ///
    /// # Errors
    /// As [`Ui::write_result`].
    pub fn write_bytes(&self, bytes: &[u8]) -> Result<(), Error> {
        self.clear_spinner();
        let mut stdout = io::stdout().lock();
        match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
            Err(e) if e.kind() != io::ErrorKind::BrokenPipe && !self.shows => {
                Err(Error::new(Code::OutputUnwritable, "cannot write to stdout").because(e.to_string()))
            }
            _ => Ok(()),
        }
    }

    /// Passes on a piece of a guest's output, to stdout or stderr, as it is.
    ///
    /// # Errors
    /// If it cannot be written, also if the reader has closed the pipe: nobody needs the rest.
    pub fn write_piece(&self, to_stderr: bool, bytes: &[u8]) -> Result<(), Error> {
        self.clear_spinner();
        let write = |out: &mut dyn Write| out.write_all(bytes).and_then(|()| out.flush());
        let written =
            if to_stderr { write(&mut io::stderr().lock()) } else { write(&mut io::stdout().lock()) };
        let name = if to_stderr { "stderr" } else { "stdout" };
        written.map_err(|e| {
            Error::new(Code::OutputUnwritable, format!("cannot write to {name}")).because(e.to_string())
        })
    }

    /// Reads stdin to its end, but at most `limit` bytes and one. Empty if it is a terminal.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read_stdin(&self, limit: usize) -> Result<Vec<u8>, Error> {
        let mut content = Vec::new();
        if !self.can_ask() {
            let read = io::stdin().lock().take(limit as u64 + 1).read_to_end(&mut content);
            read.map_err(|e| Error::new(Code::FileUnreadable, "cannot read stdin").because(e.to_string()))?;
        }
        Ok(content)
    }

    /// Writes lines for people. Invisible characters in them are escaped by `escape_unseen_lines`.
    ///
    /// # Errors
    /// As [`Ui::write_result`].
    pub fn write_text(&self, text: &str) -> Result<(), Error> {
        self.write_result(&escape_unseen_lines(text))
    }

    /// Writes one line for people.
    ///
    /// # Errors
    /// As [`Ui::write_result`].
    pub fn write_line(&self, text: &str) -> Result<(), Error> {
        self.write_text(&format!("{}\n", escape_unseen(text)))
    }

    /// Writes names, one per line, with invisible characters escaped by [`escape_unseen`]. `-o json` prints the exact
    /// names.
    ///
    /// # Errors
    /// As [`Ui::write_result`].
    pub fn write_names<'a>(&self, names: impl Iterator<Item = &'a str>) -> Result<(), Error> {
        self.write_result(&names.map(|name| escape_unseen(name) + "\n").collect::<String>())
    }

    /// Whether stdout was a terminal at the start.
    pub fn is_on_terminal(&self) -> bool {
        self.shows
    }

    /// The width of the terminal on stdout; `None` if stdout is not a terminal.
    pub fn terminal_columns(&self) -> Option<u16> {
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok().filter(|_| self.shows)?;
        Some(size.ws_col).filter(|columns| *columns > 0)
    }

    /// Whether the screen can be redrawn: stdout is a terminal that understands ECMA-48.
    pub fn can_redraw(&self) -> bool {
        let knows = std::env::var("TERM").is_ok_and(|name| !name.is_empty() && name != "dumb");
        knows && io::stdout().is_terminal()
    }

    /// Replaces the content of the screen (ECMA-48: CUP, EL, ED). It overwrites line by line, because clearing first
    /// flickers, and sets no mode that a signal could leave set.
    ///
    /// # Errors
    /// As [`Ui::write_result`].
    pub fn redraw_screen(&self, text: &str) -> Result<(), Error> {
        let lines = escape_unseen_lines(text).replace('\n', "\u{1b}[K\n");
        self.write_result(&format!("\u{1b}[H{lines}\u{1b}[J"))
    }

    /// Whether the reader of stdout has closed it (poll(2): POLLERR of a pipe).
    pub fn is_unread(&self) -> bool {
        let stdout = io::stdout();
        // poll(2) reports errors without being asked for them.
        let mut polled = [PollFd::new(&stdout, PollFlags::empty())];
        poll(&mut polled, Some(&Timespec::default())).is_ok()
            && polled[0].revents().intersects(PollFlags::ERR | PollFlags::HUP)
    }

    /// Writes a message to stderr, unless `--quiet` is given.
    pub fn show_note(&self, text: &str) {
        if !self.quiet {
            self.write_event(&ProgressEvent::Note { message: text }, "", &escape_unseen(text));
        }
    }

    /// Writes a warning to stderr, once.
    pub fn show_warning(&self, text: &str) {
        if self.warned.lock().is_ok_and(|mut warned| !warned.insert(text.to_owned())) {
            return;
        }
        if !self.quiet {
            self.write_event(
                &ProgressEvent::Warning { message: text },
                &self.paint_text("warning: ", "33"),
                &escape_unseen(text),
            );
        }
    }

    /// Writes an error to stderr: code, message, cause, hint and outcomes.
    pub fn show_error(&self, error: &Error) {
        let mut text = error_text(error, self.verbose);
        // Not in a file or a pipe, where nobody reads it at once.
        if io::stderr().is_terminal() && is_worth_explaining(error) {
            let _ = write!(text, "\n  {}", words::hints::explain_error(error.code()));
        }
        // A user who declined needs no error code.
        let mark = if is_declined(error) { String::new() } else { self.paint_text(&error_mark(error), "31") };
        self.write_event(&ProgressEvent::from(error), &mark, &text);
    }

    /// Whether stdin is a terminal, so a question can be answered.
    pub fn can_ask(&self) -> bool {
        io::stdin().is_terminal()
    }

    /// Whether a person watches stderr, or asked for more output.
    pub fn is_watched(&self) -> bool {
        self.verbose > 0 || io::stderr().is_terminal()
    }

    /// Asks a yes-or-no question. Returns true without asking if stdin is not a terminal.
    ///
    /// # Errors
    /// If stdin is a terminal, but the question cannot be written to one.
    pub fn ask_yes_no(&self, question: &str) -> Result<bool, Error> {
        if !self.can_ask() {
            return Ok(true);
        }
        self.clear_spinner();
        prompt_terminal(&format!("{} [y/N] ", escape_unseen_lines(question))).map_err(|e| {
            Error::new(Code::NobodyToAsk, "cannot ask on the terminal").because(e.to_string())
        })?;
        let mut answer = String::new();
        let read = io::stdin().lock().read_line(&mut answer).is_ok();
        Ok(read && matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
    }

    /// Asks for a line of text; `None` if stdin is not a terminal.
    ///
    /// # Errors
    /// As [`Ui::ask_yes_no`].
    pub fn ask_text(&self, question: &str) -> Result<Option<String>, Error> {
        if !self.can_ask() {
            return Ok(None);
        }
        self.clear_spinner();
        prompt_terminal(&escape_unseen_lines(question)).map_err(|e| {
            Error::new(Code::NobodyToAsk, "cannot ask on the terminal").because(e.to_string())
        })?;
        let mut answer = String::new();
        // An unreadable line counts as an empty answer.
        let _ = io::stdin().lock().read_line(&mut answer);
        Ok(Some(answer.trim().to_owned()))
    }

    /// The text in an ECMA-48 colour, if colours are enabled.
    fn paint_text(&self, text: &str, colour: &str) -> String {
        let word = text.trim_end();
        let blank = &text[word.len()..];
        if self.colour { format!("\u{1b}[{colour}m{word}\u{1b}[0m{blank}") } else { text.to_owned() }
    }

    /// Writes an event to stderr: as JSON, or as a mark and a text.
    fn write_event(&self, event: &ProgressEvent<'_>, mark: &str, text: &str) {
        if self.progress == progress::ProgressForm::Json {
            self.write_stderr("", &event.to_json_line());
        } else {
            self.write_stderr(mark, text);
        }
    }

    /// `mark` may contain colours. `text` may contain anything, so it is escaped.
    fn write_stderr(&self, mark: &str, text: &str) {
        self.clear_spinner();
        write_whole(format!("{mark}{}", escape_unseen_lines(text)));
    }

    fn clear_spinner(&self) {
        if let Ok(mut spinner) = self.spinner.lock()
            && let Some(shown) = spinner.take()
        {
            shown.finish_and_clear();
        }
    }

    fn start_spinner(&self, what: &str) {
        self.clear_spinner();
        let bar = ProgressBar::new_spinner().with_message(escape_unseen(what));
        bar.enable_steady_tick(Duration::from_millis(100));
        if let Ok(mut spinner) = self.spinner.lock() {
            *spinner = Some(bar);
        }
    }

    fn show_bytes(&self, done: u64, total: Option<u64>) {
        let Ok(mut spinner) = self.spinner.lock() else { return };
        let fits = spinner.as_ref().is_some_and(|bar| bar.length() == total);
        if !fits {
            let (bar, style) = match total {
                Some(total) => {
                    (ProgressBar::new(total), "{bar:30} {bytes}/{total_bytes} {bytes_per_sec}, {eta} left")
                }
                None => (ProgressBar::no_length(), "{spinner} {bytes} {bytes_per_sec}"),
            };
            let style = ProgressStyle::with_template(style);
            *spinner = Some(style.map_or(bar.clone(), |style| bar.with_style(style)));
        }
        if let Some(bar) = spinner.as_ref() {
            bar.set_position(done);
        }
    }
}

impl Progress for Ui {
    fn on_event(&self, event: Event) {
        match event {
            Event::Warning { message, advice } => {
                self.show_warning(&words::with_advice(&message, advice.as_ref()))
            }
            _ if self.quiet || self.progress == progress::ProgressForm::None => {}
            Event::Begins(task) => {
                let what = words::render_task(&task);
                self.begin_step();
                self.write_event(&ProgressEvent::Begin { message: &what }, "", &escape_unseen(&what));
            }
            Event::Started(step) => self.show_working(&words::render_started(&step)),
            Event::Finished(step) => self.show_done(&words::render_finished(&step)),
            Event::Bytes { done, total } => self.show_transfer(done, total),
        }
    }
}

impl Ui {
    /// Starts a step and returns how long the one before it took.
    fn begin_step(&self) -> Duration {
        self.times.lock().map(|mut times| times.begin_step()).unwrap_or_default()
    }

    fn show_working(&self, what: &str) {
        match self.progress {
            progress::ProgressForm::Moving => self.start_spinner(what),
            progress::ProgressForm::Json => {
                self.write_stderr("", &ProgressEvent::Working { message: what }.to_json_line())
            }
            progress::ProgressForm::Plain | progress::ProgressForm::None => {}
        }
    }

    fn show_done(&self, what: &str) {
        let seconds = self.begin_step().as_secs_f64();
        let time = if self.progress == progress::ProgressForm::Moving {
            format!(" ({seconds:.1}s)")
        } else {
            String::new()
        };
        let event = ProgressEvent::Done { message: what, seconds: (seconds * 1000.0).round() / 1000.0 };
        self.write_event(&event, &self.paint_text("✓ ", "32"), &format!("{}{time}", escape_unseen(what)));
    }

    fn show_transfer(&self, done: u64, total: Option<u64>) {
        let is_due = || self.times.lock().is_ok_and(|mut times| times.is_transfer_due(done, total));
        match self.progress {
            progress::ProgressForm::Moving => self.show_bytes(done, total),
            progress::ProgressForm::Json if is_due() => {
                self.write_stderr("", &ProgressEvent::Bytes { done, total }.to_json_line())
            }
            _ => {}
        }
    }
}

/// Writes a message from another thread while an operation hangs. On a terminal it gets a line of its own.
pub(super) fn write_late(text: &str) {
    let begin = if io::stderr().is_terminal() { "\r\u{1b}[K" } else { "" };
    write_whole(format!("{begin}{}", escape_unseen_lines(text)));
}

/// Writes a text and its line end with one call: several processes may write to the same terminal or log, and partial
/// writes would mix.
fn write_whole(mut text: String) {
    text.push('\n');
    // Nothing can be done if stderr is closed.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Writes why the process ends while an operation hangs.
pub(super) fn write_late_error(error: &Error) {
    write_late(&format!("{}{}", error_mark(error), error_text(error, 0)));
}

/// Writes a question to the terminal itself, because stderr may be a file.
fn prompt_terminal(question: &str) -> io::Result<()> {
    let mut terminal = OpenOptions::new().write(true).open("/dev/tty")?;
    terminal.write_all(question.as_bytes())?;
    terminal.flush()
}
