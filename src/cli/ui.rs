//! The terminal: results on stdout, everything else on stderr.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, BufRead, IsTerminal, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::progress::{self, ProgressEvent, StepTimes};
use super::words;
use foundry_core::error::{Code, Error};
use foundry_core::text::{escape_unseen, escape_unseen_lines};
use foundry_engine::{Event, Progress};
use foundry_host::CallObserver;

/// Owns the terminal. A copy writes to the same one.
#[derive(Clone)]
pub struct Ui {
    quiet: bool,
    verbose: u8,
    colour: bool,
    progress: progress::ProgressForm,
    times: Arc<Mutex<StepTimes>>,
    /// Whether stdout was a terminal in the beginning: one that was closed is none any more.
    shows: bool,
    /// Shown on a terminal while something takes time.
    spinner: Arc<Mutex<Option<ProgressBar>>>,
    /// Warnings that were given already: what is true of the host is said once, not once for each VM.
    warned: Arc<Mutex<BTreeSet<String>>>,
}

impl Ui {
    /// `verbose` is how often `-v` was given; `colour` is `always`, `never`, or what suits stderr, and
    /// `progress` is `plain`, `json`, `none`, or what suits it.
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

    /// Writes a result exactly as it is, for a program to read.
    ///
    /// # Errors
    /// None where the reader of stdout has gone, as the terminal has when it was closed: it has read what it wanted.
    pub fn write_result(&self, text: &str) -> Result<(), Error> {
        self.clear_spinner();
        let mut stdout = io::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Err(e) if e.kind() != io::ErrorKind::BrokenPipe && !self.shows => {
                Err(Error::new(Code::OutputUnwritable, "cannot write to stdout").because(e.to_string()))
            }
            _ => Ok(()),
        }
    }

    /// Writes a result for people, of lines in which what others said is shown as `printable` does.
    ///
    /// # Errors
    /// As [`Ui::write_result`].
    pub fn write_text(&self, text: &str) -> Result<(), Error> {
        self.write_result(&escape_unseen_lines(text))
    }

    /// Writes a result for people of one line.
    ///
    /// # Errors
    /// As [`Ui::write_result`].
    pub fn write_line(&self, text: &str) -> Result<(), Error> {
        self.write_text(&format!("{}\n", escape_unseen(text)))
    }

    /// Writes names, one each line, as [`escape_unseen`] shows them: a program reads any name whole with `-o json`.
    ///
    /// # Errors
    /// As [`Ui::write_result`].
    pub fn write_names<'a>(&self, names: impl Iterator<Item = &'a str>) -> Result<(), Error> {
        self.write_result(&names.map(|name| escape_unseen(name) + "\n").collect::<String>())
    }

    /// How many columns the terminal has that shows results; `None` where a program reads them.
    pub fn terminal_columns(&self) -> Option<u16> {
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok().filter(|_| self.shows)?;
        Some(size.ws_col).filter(|columns| *columns > 0)
    }

    /// Whether what was shown can be replaced: stdout is a terminal that knows how.
    pub fn can_redraw(&self) -> bool {
        let knows = std::env::var("TERM").is_ok_and(|name| !name.is_empty() && name != "dumb");
        knows && io::stdout().is_terminal()
    }

    /// Shows a text in the place of everything else on the terminal (ECMA-48: CUP, EL, ED). Line by line over what was
    /// there: a screen that is emptied first flickers. Nothing is switched that a signal could leave switched.
    ///
    /// # Errors
    /// As [`Ui::write_result`].
    pub fn redraw_screen(&self, text: &str) -> Result<(), Error> {
        let lines = escape_unseen_lines(text).replace('\n', "\u{1b}[K\n");
        self.write_result(&format!("\u{1b}[H{lines}\u{1b}[J"))
    }

    /// Whether the reader of stdout has gone (poll(2), POLLERR of a pipe).
    pub fn is_unread(&self) -> bool {
        let stdout = io::stdout();
        let mut polled = [PollFd::new(&stdout, PollFlags::empty())];
        poll(&mut polled, Some(&Timespec::default())).is_ok()
            && polled[0].revents().intersects(PollFlags::ERR | PollFlags::HUP)
    }

    /// Says something on stderr, unless it is to be quiet.
    pub fn show_note(&self, text: &str) {
        if !self.quiet {
            self.write_event(&ProgressEvent::Note { message: text }, "", &escape_unseen(text));
        }
    }

    /// Shows a warning on stderr, once.
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

    /// Says what failed: once, with its code, its cause, what to do, and what became of what was begun.
    pub fn show_error(&self, error: &Error) {
        let mut text = error_text(error, self.verbose);
        // A file has no reader yet.
        if io::stderr().is_terminal() && is_worth_explaining(error) {
            let _ = write!(text, "\n  {}", words::hints::explain_error(error.code()));
        }
        // Whoever says no knows why.
        let mark = if is_declined(error) { String::new() } else { self.paint_text(&error_mark(error), "31") };
        self.write_event(&ProgressEvent::from(error), &mark, &text);
    }

    /// Whether somebody is there to answer a question.
    pub fn can_ask(&self) -> bool {
        io::stdin().is_terminal()
    }

    /// Whether a person follows what is said, or wants more of it.
    pub fn is_watched(&self) -> bool {
        self.verbose > 0 || io::stderr().is_terminal()
    }

    /// Asks a question on the terminal; yes where stdin is none and there is nobody to ask.
    ///
    /// # Errors
    /// Where somebody sits at stdin and cannot be shown the question.
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

    /// What somebody at the terminal types in answer; `None` where nobody is there.
    ///
    /// # Errors
    /// As [`Ui::confirm`].
    pub fn ask_text(&self, question: &str) -> Result<Option<String>, Error> {
        if !self.can_ask() {
            return Ok(None);
        }
        self.clear_spinner();
        prompt_terminal(&escape_unseen_lines(question)).map_err(|e| {
            Error::new(Code::NobodyToAsk, "cannot ask on the terminal").because(e.to_string())
        })?;
        let mut answer = String::new();
        // A line that cannot be read is no answer.
        let _ = io::stdin().lock().read_line(&mut answer);
        Ok(Some(answer.trim().to_owned()))
    }

    /// The text in a colour of ECMA-48, where colours are shown.
    fn paint_text(&self, text: &str, colour: &str) -> String {
        let word = text.trim_end();
        let blank = &text[word.len()..];
        if self.colour { format!("\u{1b}[{colour}m{word}\u{1b}[0m{blank}") } else { text.to_owned() }
    }

    /// Says something on stderr: an event to programs, else a mark and a text.
    fn write_event(&self, event: &ProgressEvent<'_>, mark: &str, text: &str) {
        if self.progress == progress::ProgressForm::Json {
            self.write_stderr("", &event.to_json_line());
        } else {
            self.write_stderr(mark, text);
        }
    }

    /// `mark` is ours and may be coloured; `text` may hold words of anybody's.
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
            Event::Begins(what) => {
                self.begin_step();
                self.write_event(&ProgressEvent::Begin { message: &what }, "", &escape_unseen(&what));
            }
            Event::Working(what) => self.show_working(&what),
            Event::Done(what) => self.show_done(&what),
            Event::Bytes { done, total } => self.show_transfer(done, total),
        }
    }
}

impl Ui {
    /// Begins a step; the time that the one before it took.
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

/// What an error begins with: `error[FND-4002]: `, as rustc marks its own.
fn error_mark(error: &Error) -> String {
    format!("error[{}]: ", error.code())
}

/// A user who got a hint, or who declined, needs no more text.
fn is_worth_explaining(error: &Error) -> bool {
    let code = error.code();
    error.advice().is_none() && !code.is_general() && !is_declined(error)
}

fn is_declined(error: &Error) -> bool {
    matches!(error.code(), Code::VmDeclined | Code::StorageDeclined)
}

/// All that an error says.
fn error_text(error: &Error, verbose: u8) -> String {
    let mut text = words::render_error(error);
    if let Some(detail) = error.detail_text().filter(|_| verbose > 0) {
        let _ = write!(text, "\n  libvirt: {}", detail.trim_end().replace('\n', "\n    "));
    }
    if let Some(hint) = words::render_hint(error) {
        let _ = write!(text, "\n  hint: {hint}");
    }
    for outcome in words::render_outcomes(error) {
        let _ = write!(text, "\n  {outcome}");
    }
    text
}

/// Says something while an operation hangs, from outside of it; on a terminal on a line of its own.
pub(super) fn write_late(text: &str) {
    let begin = if io::stderr().is_terminal() { "\r\u{1b}[K" } else { "" };
    write_whole(format!("{begin}{}", escape_unseen_lines(text)));
}

/// Writes a text and the end of its line by one call: several programs may write to the same terminal or log, and a
/// line that comes in pieces has theirs in it.
fn write_whole(mut text: String) {
    text.push('\n');
    // A closed stderr leaves nobody to tell.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Says why the process ends while an operation hangs.
pub(super) fn write_late_error(error: &Error) {
    write_late(&format!("{}{}", error_mark(error), error_text(error, 0)));
}

/// Shows a question on the terminal itself: stderr may be a file, whose reader cannot answer.
fn prompt_terminal(question: &str) -> io::Result<()> {
    let mut terminal = OpenOptions::new().write(true).open("/dev/tty")?;
    terminal.write_all(question.as_bytes())?;
    terminal.flush()
}

/// Shows each libvirt call, for `-vv`.
pub struct CallLog {
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
    /// What to be told of libvirt's calls.
    pub fn call_observer(&self) -> Arc<dyn CallObserver> {
        let to_program = self.progress == progress::ProgressForm::Json;
        if self.verbose > 1 { Arc::new(CallLog { to_program }) } else { Arc::new(()) }
    }
}
