//! Progress drawn on a terminal, by `indicatif`.
//!
//! All bars of a process are lines of one [`Screen`], which is there as long as one of them goes on: bars of batches that run at the same
//! time stand below each other, and what is written to the terminal meanwhile is written above them.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use indicatif::{HumanDuration, MultiProgress, ProgressDrawTarget, ProgressStyle};

use super::progress::{Progress, WorkerProgress};
use super::text;

/// A progress bar on standard error, for [`Batch::progress`](crate::Batch::progress): a text that names the batch, or this with options.
///
/// Where standard error is no terminal, nothing is written.
///
/// ```
/// use offspring::{Pool, ProgressBar, task};
///
/// #[task]
/// fn square(x: u64) -> u64 {
///     x * x
/// }
///
/// let pool = Pool::builder().workers(2).build()?;
/// let squares = pool.batch().progress("squaring").map(square, 0..100)?;
/// // With a line for each worker.
/// let again = pool.batch().progress(ProgressBar::new("again").per_worker(true)).map(square, 0..100)?;
/// assert_eq!(squares, again);
/// # Ok::<(), offspring::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "a progress bar shows nothing by itself: give it to `progress`"]
pub struct ProgressBar {
    label: Arc<str>,
    per_worker: bool,
    clear: bool,
}

impl ProgressBar {
    /// A bar with this text before it.
    pub fn new(label: impl Into<String>) -> ProgressBar {
        ProgressBar { label: label.into().into(), per_worker: false, clear: false }
    }

    /// Also shows a line for each worker that is at the batch: the item it runs, and for how long. Default: `false`.
    pub fn per_worker(mut self, per_worker: bool) -> ProgressBar {
        self.per_worker = per_worker;
        self
    }

    /// Takes the bar away when the batch is over. Default: `false`, its last state stays.
    pub fn clear(mut self, clear: bool) -> ProgressBar {
        self.clear = clear;
        self
    }

    /// Runs `write` while the bars of this process are off the screen, so that what it writes to the terminal and they do not get into
    /// each other's lines. Where there is no bar it is just called.
    ///
    /// What tasks write needs none of this where the pool [passes it on](crate::OutputMode). No batch with a bar may begin or end
    /// in `write`: it waits for the screen, for ever.
    ///
    /// ```
    /// use offspring::{Pool, ProgressBar, task};
    ///
    /// #[task]
    /// fn square(x: u64) -> u64 {
    ///     x * x
    /// }
    ///
    /// let pool = Pool::builder().workers(2).build()?;
    /// for result in pool.batch().progress("squaring").imap(square, 0..100) {
    ///     let square = result?;
    ///     if square % 1000 == 1 {
    ///         ProgressBar::suspend(|| println!("look at this: {square}"));
    ///     }
    /// }
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn suspend<R>(write: impl FnOnce() -> R) -> R {
        let screen = screen().upgrade();
        match screen {
            Some(screen) => screen.lines.suspend(write),
            None => write(),
        }
    }

    /// Begins to draw.
    pub(super) fn draw(&self) -> Drawn {
        let screen = Screen::get();
        let main = screen.lines.add(indicatif::ProgressBar::no_length());
        main.set_prefix(self.label.to_string());
        Drawn { options: self.clone(), screen, main, has_length: None, workers: BTreeMap::new() }
    }
}

/// Runs `write`, which writes to the standard stream of this number, out of the way of bars.
pub(super) fn aside(stream: i32, write: impl FnOnce()) {
    // A stream that goes elsewhere may be waited for, and bars are not to wait with it.
    let is_terminal = || if stream == 1 { std::io::stdout().is_terminal() } else { std::io::stderr().is_terminal() };
    if screen().strong_count() > 0 && is_terminal() { ProgressBar::suspend(write) } else { write() }
}

/// What all bars of this process are drawn on.
struct Screen {
    lines: MultiProgress,
    /// Bars whose batches are over, and that are to stay: they can be drawn again as long as they are held.
    over: Mutex<Vec<indicatif::ProgressBar>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn screen() -> MutexGuard<'static, Weak<Screen>> {
    static SCREEN: Mutex<Weak<Screen>> = Mutex::new(Weak::new());
    lock(&SCREEN)
}

impl Screen {
    /// The one that is there, or a new one.
    fn get() -> Arc<Screen> {
        let mut screen = screen();
        screen.upgrade().unwrap_or_else(|| {
            let lines = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
            let new = Arc::new(Screen { lines, over: Mutex::default() });
            *screen = Arc::downgrade(&new);
            new
        })
    }
}

impl From<&str> for ProgressBar {
    fn from(label: &str) -> ProgressBar {
        ProgressBar::new(label)
    }
}

impl From<String> for ProgressBar {
    fn from(label: String) -> ProgressBar {
        ProgressBar::new(label)
    }
}

/// A bar that is on the screen.
pub(super) struct Drawn {
    options: ProgressBar,
    screen: Arc<Screen>,
    main: indicatif::ProgressBar,
    /// Which of the two styles it has.
    has_length: Option<bool>,
    workers: BTreeMap<usize, indicatif::ProgressBar>,
}

/// The styles are fixed, so they are templates that can be read; if not, the plain style is better than none.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}

impl Drawn {
    pub(super) fn update(&mut self, progress: &Progress) {
        let has_length = progress.total.is_some();
        if self.has_length.replace(has_length) != Some(has_length) {
            self.main.set_style(match has_length {
                true => style("{prefix} [{bar:30}] {pos}/{len} {msg}"),
                false => style("{prefix} {spinner} {pos} {msg}"),
            });
        }
        if let Some(total) = progress.total {
            self.main.set_length(total);
        }
        self.main.set_message(message(progress));
        self.main.set_position(progress.done);
        self.main.tick();
        if self.options.per_worker {
            self.update_workers(&progress.workers);
        }
        if progress.is_over {
            self.end();
        }
    }

    fn update_workers(&mut self, workers: &[WorkerProgress]) {
        let lines = &self.screen.lines;
        self.workers.retain(|id, line| {
            let stays = workers.iter().any(|worker| worker.id == *id);
            if !stays {
                line.finish_and_clear();
                lines.remove(line);
            }
            stays
        });
        // Below their batch's bar, in order, whatever other bars there are.
        let mut above = self.main.clone();
        for worker in workers {
            let line = self.workers.entry(worker.id).or_insert_with(|| {
                let line = lines.insert_after(&above, indicatif::ProgressBar::new_spinner());
                line.set_style(style("  {msg}"));
                line
            });
            line.set_message(worker_line(worker));
            line.tick();
            above = line.clone();
        }
    }

    fn end(&mut self) {
        for line in std::mem::take(&mut self.workers).into_values() {
            line.finish_and_clear();
        }
        if self.options.clear {
            self.main.finish_and_clear();
        } else {
            self.main.abandon();
            lock(&self.screen.over).push(self.main.clone());
        }
    }
}

/// `1234/s, 12 s left, 3 failed, 1 tried again`.
fn message(progress: &Progress) -> String {
    let mut message = match progress.rate {
        ..10.0 => format!("{:.1}/s", progress.rate),
        rate => format!("{}/s", text::count(rate as u64)),
    };
    match progress.eta {
        _ if progress.is_over => message += &format!(", in {}", text::nanos(progress.elapsed.as_nanos() as u64)),
        Some(eta) => {
            message += &format!(", {} left", HumanDuration(Duration::from_secs(eta.as_secs_f64().ceil() as u64)))
        }
        None => message += &format!(", {}", HumanDuration(Duration::from_secs(progress.elapsed.as_secs()))),
    }
    if progress.failed > 0 {
        message += &format!(", {} failed", text::count(progress.failed));
    }
    if progress.retried > 0 {
        message += &format!(", {} tried again", text::count(progress.retried));
    }
    message
}

/// `worker 3 (4711): item 17, 1.20 s`.
fn worker_line(worker: &WorkerProgress) -> String {
    let what = match worker.item {
        Some(item) => format!("item {item}, {}", text::nanos(worker.since.as_nanos() as u64)),
        None => "between items".to_owned(),
    };
    let own = worker.progress.map_or(String::new(), |(done, total)| format!(", {done}/{total}"));
    format!("worker {} ({}): {what}{own}", worker.id, worker.pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_says_rate_time_left_failures_and_retries() {
        let progress = Progress {
            done: 500,
            total: Some(1000),
            failed: 3,
            retried: 1,
            elapsed: Duration::from_secs(5),
            rate: 1234.5,
            eta: Some(Duration::from_millis(4200)),
            workers: Vec::new(),
            is_over: false,
        };
        assert_eq!(message(&progress), "1 234/s, 5 seconds left, 3 failed, 1 tried again");
        let over = Progress { is_over: true, failed: 0, retried: 0, rate: 2.25, ..progress };
        assert_eq!(message(&over), "2.2/s, in 5.00 s");
        let worker = WorkerProgress {
            item: Some(17),
            since: Duration::from_millis(1200),
            progress: Some((2, 9)),
            ..WorkerProgress::new(3, 4711)
        };
        assert_eq!(worker_line(&worker), "worker 3 (4711): item 17, 1.20 s, 2/9");
    }
}
