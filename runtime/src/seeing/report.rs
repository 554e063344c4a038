//! What users get of the ledger.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use super::ledger::{Books, RunEnd, What};
use super::spread::Spread;
use super::{html, json::Json, text, trace};

/// Where a pool's time went: what was measured of each item while [accounting](crate::PoolBuilder::account) was on; made by
/// [`Pool::report`](crate::Pool::report).
///
/// It is a picture of the moment at which it was made. Printed, it is a table for people; [`to_json`](Self::to_json) is for programs,
/// [`to_html`](Self::to_html) a page with a timeline and distributions, [`to_trace`](Self::to_trace) a timeline for trace viewers.
///
/// # What is measured
///
/// | what | how | unit |
/// | --- | --- | --- |
/// | wall | `CLOCK_MONOTONIC`, from before the item's input is read to after its result is written | ns |
/// | cpu | user and system time of all threads of the worker meanwhile (`getrusage`), fine to a microsecond: single short items show 0 or 1,000 | ns |
/// | wait | from when the item's part of the batch was handed to the workers to when it began | ns |
/// | peak | the most memory that the worker has had resident *so far*, shared memory that it touched included (`ru_maxrss`): not of the item alone. [`SlowItem::raised`] says by how much the item raised it | bytes |
/// | bytes in, out | the input and the result as they lie in shared memory, handles and shared values not followed | bytes |
///
/// What was measured of finished items outlives their worker. Of an item whose worker is killed there is the time, up to when its end was noticed,
/// but neither CPU time nor memory.
///
/// # Examples
///
/// ```
/// use offspring::{Pool, task};
///
/// #[task]
/// fn square(x: u64) -> u64 {
///     x * x
/// }
///
/// let pool = Pool::builder().workers(2).account(true).build()?;
/// pool.map(square, 0..100)?;
/// let report = pool.report();
/// let squares = &report.tasks()[0];
/// assert_eq!((squares.values, squares.wall.count()), (100, 100));
/// println!("{report}");
/// # Ok::<(), offspring::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Report {
    pub(super) name: String,
    pub(super) pid: u32,
    pub(super) is_on: bool,
    pub(super) elapsed: Duration,
    pub(super) tasks: Vec<TaskReport>,
    pub(super) workers: Vec<WorkerReport>,
    pub(super) runs: Vec<TaskRun>,
    pub(super) incidents: Vec<Incident>,
    pub(super) batches: Vec<Batch>,
    pub(super) left_out: u64,
}

/// A batch on the timeline.
#[derive(Debug, Clone)]
pub(super) struct Batch {
    pub(super) task: usize,
    pub(super) began: Duration,
    pub(super) ended: Duration,
    pub(super) items: u64,
}

/// What was measured of one task; see [`Report`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TaskReport {
    /// The task's name.
    pub name: String,
    /// Items with a value. A task's own `Err` is counted as `refused`.
    pub values: u64,
    /// Items for which the task returned an `Err`; of a flow, those that a stage refused or that panicked in one.
    pub refused: u64,
    /// Items without a value: they panicked, their worker died and no tries were left, they ran too long, they were ended.
    pub lost: u64,
    /// Items that never began, as their batch was cancelled or stopped.
    pub not_run: u64,
    /// Runs that were lost with their worker and tried again.
    pub retried: u64,
    /// Time, in nanoseconds.
    pub wall: Spread,
    /// CPU time, in nanoseconds.
    pub cpu: Spread,
    /// Time between being handed out and beginning, in nanoseconds.
    pub wait: Spread,
    /// The worker's peak of resident memory after the item, in bytes.
    pub peak: Spread,
    /// Bytes of the input.
    pub bytes_in: Spread,
    /// Bytes of the result.
    pub bytes_out: Spread,
    /// The slowest items, the slowest first: 20 at most.
    pub slowest: Vec<SlowItem>,
}

/// One of a task's slowest items; see [`TaskReport`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct SlowItem {
    /// Its index in its batch; `None` for a single call.
    pub item: Option<usize>,
    /// Its input in short, as `Debug` prints it, where all of the task's parameters have that. 80 characters at most.
    pub input: Option<String>,
    /// How long it ran.
    pub wall: Duration,
    /// The CPU time that it took.
    pub cpu: Duration,
    /// How long it had waited.
    pub wait: Duration,
    /// By how much it raised the worker's peak of resident memory, in bytes.
    pub raised: u64,
    /// The process that ran it.
    pub worker: u32,
    /// How often it was tried, this time included.
    pub tries: u32,
    /// How it ended.
    pub end: RunEnd,
}

/// What is known of a worker; see [`Report`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct WorkerReport {
    /// Its process.
    pub pid: u32,
    /// Its name; empty if it was started before anything was measured.
    pub name: String,
    /// When it was started, from the report's beginning on.
    pub began: Duration,
    /// When it ended, if it has.
    pub ended: Option<Duration>,
    /// How it ended.
    pub status: Option<String>,
    /// Items that it finished.
    pub items: u64,
    /// How long it ran items.
    pub busy: Duration,
    /// The CPU time of those items.
    pub cpu: Duration,
    /// Its peak of resident memory after the last item, in bytes.
    pub peak: u64,
}

/// A run of an item on the timeline, or several short ones; see [`Report::runs`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct TaskRun {
    /// Which of [`Report::tasks`].
    pub task: usize,
    /// The item's index in its batch; `None` for a single call.
    pub item: Option<usize>,
    /// The process that ran it.
    pub worker: u32,
    /// Which try it was.
    pub tries: u32,
    /// When it began, from the report's beginning on.
    pub began: Duration,
    /// When it ended.
    pub ended: Duration,
    /// How long the item had waited.
    pub wait: Duration,
    /// The CPU time that it took.
    pub cpu: Duration,
    /// How it ended.
    pub end: RunEnd,
    /// 1; or how many short runs these are, one after the other, beginning with `item`.
    pub items: u64,
    /// How much of the time they ran.
    pub busy: Duration,
}

/// Something that happened to a worker or an item; see [`Report::incidents`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Incident {
    /// When it was noticed, from the report's beginning on.
    pub at: Duration,
    /// What it was.
    pub kind: IncidentKind,
    /// The process.
    pub worker: u32,
    /// Which of [`Report::tasks`] it was running, if it was.
    pub task: Option<usize>,
    /// And which item.
    pub item: Option<usize>,
    /// What is known of it.
    pub text: String,
}

/// What happened; see [`Incident`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IncidentKind {
    /// A worker died, or was killed from outside.
    Died,
    /// A worker was killed, as its item ran too long.
    TimedOut,
    /// A worker was killed, as its item was cancelled.
    Cancelled,
    /// An item that was lost is tried again.
    Retried,
}

impl IncidentKind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            IncidentKind::Died => "died",
            IncidentKind::TimedOut => "timed out",
            IncidentKind::Cancelled => "cancelled",
            IncidentKind::Retried => "retried",
        }
    }
}

impl RunEnd {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            RunEnd::Value => "value",
            RunEnd::Refused => "refused",
            RunEnd::Fault => "fault",
            RunEnd::Died => "died",
            RunEnd::TimedOut => "timed out",
            RunEnd::Cancelled => "cancelled",
        }
    }
}

impl TaskReport {
    /// Items that are over, whether with a value or not.
    pub fn items(&self) -> u64 {
        self.values + self.refused + self.lost
    }

    /// Without the parts of the module.
    pub(super) fn short_name(&self) -> &str {
        self.name.rsplit("::").next().unwrap_or(&self.name)
    }
}

impl Report {
    /// What `books` say at `now`.
    pub(crate) fn of(name: &str, mut books: Books, is_on: bool, now: u64) -> Report {
        let origin = books.origin;
        let since = |at: u64| Duration::from_nanos(at.saturating_sub(origin));
        let tasks = std::mem::take(&mut books.tasks).into_iter().map(|task| {
            let slowest = task.slowest.into_iter().map(|slow| SlowItem {
                item: slow.item,
                input: slow.input,
                wall: Duration::from_nanos(slow.measured.ended.saturating_sub(slow.measured.began)),
                cpu: Duration::from_nanos(slow.measured.cpu),
                wait: Duration::from_nanos(slow.measured.waited),
                raised: slow.measured.raised_kib.saturating_mul(1024),
                worker: slow.measured.worker,
                tries: slow.measured.tries,
                end: slow.measured.end,
            });
            TaskReport {
                slowest: slowest.collect(),
                name: task.name,
                values: task.values,
                refused: task.refused,
                lost: task.lost,
                not_run: task.not_run,
                retried: task.retried,
                wall: task.wall,
                cpu: task.cpu,
                wait: task.wait,
                peak: task.peak,
                bytes_in: task.bytes_in,
                bytes_out: task.bytes_out,
            }
        });
        let first_run = |pid: u32| books.runs.iter().filter(|run| run.worker == pid).map(|run| run.began).min();
        let mut workers: Vec<WorkerReport> = Vec::new();
        for (pid, worker) in &books.workers {
            workers.push(WorkerReport {
                pid: *pid,
                name: worker.name.clone(),
                began: since(if worker.began > 0 { worker.began } else { first_run(*pid).unwrap_or(origin) }),
                ended: worker.ended.map(since),
                status: Some(worker.status.clone()).filter(|_| worker.ended.is_some()),
                items: worker.items,
                busy: Duration::from_nanos(worker.busy),
                cpu: Duration::from_nanos(worker.cpu),
                peak: worker.peak_kib.saturating_mul(1024),
            });
        }
        workers.sort_by_key(|worker| (worker.began, worker.pid));
        let mut runs: Vec<TaskRun> = books
            .runs
            .iter()
            .map(|run| TaskRun {
                task: run.task,
                item: run.item,
                worker: run.worker,
                tries: run.tries,
                began: since(run.began),
                ended: since(run.ended),
                wait: Duration::from_nanos(run.waited),
                cpu: Duration::from_nanos(run.cpu),
                end: run.end,
                items: run.items,
                busy: Duration::from_nanos(run.busy),
            })
            .collect();
        runs.sort_by_key(|run| (run.worker, run.began));
        let incidents = books.events.into_iter().map(|event| Incident {
            at: since(event.at),
            kind: match event.what {
                What::Died => IncidentKind::Died,
                What::TimedOut => IncidentKind::TimedOut,
                What::Cancelled => IncidentKind::Cancelled,
                What::Retried => IncidentKind::Retried,
            },
            worker: event.worker,
            task: event.task,
            item: event.item,
            text: event.text,
        });
        let batch = |batch: &super::ledger::BatchBook| Batch {
            task: batch.task,
            began: since(batch.began),
            ended: since(batch.ended),
            items: batch.items,
        };
        Report {
            name: name.to_owned(),
            pid: std::process::id(),
            is_on,
            elapsed: if is_on { since(now) } else { Duration::ZERO },
            tasks: tasks.collect(),
            workers,
            runs,
            incidents: incidents.collect(),
            batches: books.batches.iter().map(batch).collect(),
            left_out: books.left_out,
        }
    }

    /// Is anything measured? `false`: nothing was asked for, and the report is empty.
    pub fn is_on(&self) -> bool {
        self.is_on
    }

    /// The time that the report is about: since accounting was first asked for.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// Task by task, in the order in which they were first run.
    pub fn tasks(&self) -> &[TaskReport] {
        &self.tasks
    }

    /// Worker by worker, those that have ended included, in the order in which they were started.
    pub fn workers(&self) -> &[WorkerReport] {
        &self.workers
    }

    /// The timeline: what ran when, by worker. Of more than some ten thousand runs short neighbours are told as one.
    pub fn runs(&self) -> &[TaskRun] {
        &self.runs
    }

    /// Deaths, timeouts, and what was tried again, in order: the first ten thousand.
    pub fn incidents(&self) -> &[Incident] {
        &self.incidents
    }

    /// The report as JSON (RFC 8259): one object, times in nanoseconds, sizes in bytes.
    ///
    /// Its keys: `pool`, `pid`, `accounting`, `elapsed_ns`, `tasks` (each with the counts and the spreads of [`TaskReport`], a spread being `count`,
    /// `sum`, `min`, `mean`, `p50`, `p90`, `p99`, `max`, and `slowest`), `workers`, `incidents`, `left_out` (of runs and incidents). The timeline is in
    /// [`to_trace`](Self::to_trace).
    pub fn to_json(&self) -> String {
        let mut json = Json::default();
        json.open('{').key("pool").string(&self.name).key("pid").number(self.pid);
        json.key("accounting").number(u8::from(self.is_on));
        json.key("elapsed_ns").number(self.elapsed.as_nanos());
        json.key("tasks").open('[');
        self.tasks.iter().for_each(|task| task.write(&mut json));
        json.close(']').key("workers").open('[');
        for worker in &self.workers {
            json.open('{').key("pid").number(worker.pid).key("name").string(&worker.name);
            json.key("began_ns").number(worker.began.as_nanos());
            json.key("ended_ns").maybe(worker.ended.map(|ended| ended.as_nanos() as u64));
            match &worker.status {
                Some(status) => json.key("status").string(status),
                None => json.key("status").null(),
            };
            json.key("items").number(worker.items).key("busy_ns").number(worker.busy.as_nanos());
            json.key("cpu_ns").number(worker.cpu.as_nanos()).key("peak").number(worker.peak).close('}');
        }
        json.close(']').key("incidents").open('[');
        for incident in &self.incidents {
            json.open('{').key("at_ns").number(incident.at.as_nanos()).key("kind").string(incident.kind.as_str());
            json.key("worker").number(incident.worker);
            match incident.task.and_then(|task| self.tasks.get(task)) {
                Some(task) => json.key("task").string(&task.name),
                None => json.key("task").null(),
            };
            json.key("item").maybe(incident.item.map(|item| item as u64));
            json.key("text").string(&incident.text).close('}');
        }
        json.close(']').key("left_out").number(self.left_out).close('}');
        json.finish()
    }

    /// The report as one page: HTML with the timeline and the distributions as pictures in it. It names nothing outside of itself and has no script, so
    /// it can be sent by mail and kept.
    pub fn to_html(&self) -> String {
        html::page(self)
    }

    /// The timeline as a picture: SVG, as it stands in the page.
    pub fn to_svg(&self) -> String {
        super::svg::timeline(self)
    }

    /// The timeline in Chrome's trace event format, JSON: open it with <https://ui.perfetto.dev>, or `chrome://tracing`.
    ///
    /// A row for each worker has the runs of items (with item, try, wait, CPU time and how they ended), when it waited for work, deaths and retries as marks.
    /// Batches are rows of their own.
    pub fn to_trace(&self) -> String {
        trace::trace(self)
    }

    /// Writes the report to a file, in the form that its name asks for: `.html`, `.svg`, `.json`, `.trace.json` for
    /// [`to_trace`](Self::to_trace), anything else as text.
    ///
    /// # Errors
    ///
    /// Those of [`std::fs::write`].
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # let pool = offspring::Pool::builder().account(true).build()?;
    /// pool.report().save("batch.html").expect("the report can be written here");
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn save(&self, path: impl AsRef<Path>) -> std::io::Result<()> {
        let name = path.as_ref().file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let text = match name.rsplit_once('.') {
            Some((stem, "json")) if stem.ends_with(".trace") || stem == "trace" => self.to_trace(),
            Some((_, "json")) => self.to_json(),
            Some((_, "html" | "htm")) => self.to_html(),
            Some((_, "svg")) => self.to_svg(),
            _ => self.to_string(),
        };
        std::fs::write(path, text)
    }
}

impl TaskReport {
    fn write(&self, json: &mut Json) {
        json.open('{').key("name").string(&self.name);
        for (key, value) in [
            ("values", self.values),
            ("refused", self.refused),
            ("lost", self.lost),
            ("not_run", self.not_run),
            ("retried", self.retried),
        ] {
            json.key(key).number(value);
        }
        for (key, spread) in [
            ("wall_ns", &self.wall),
            ("cpu_ns", &self.cpu),
            ("wait_ns", &self.wait),
            ("peak", &self.peak),
            ("bytes_in", &self.bytes_in),
            ("bytes_out", &self.bytes_out),
        ] {
            json.key(key).open('{').key("count").number(spread.count()).key("sum").number(spread.sum());
            json.key("min").number(spread.min()).key("mean").decimal(spread.mean());
            for (name, percent) in [("p50", 50.0), ("p90", 90.0), ("p99", 99.0)] {
                json.key(name).number(spread.percentile(percent));
            }
            json.key("max").number(spread.max()).close('}');
        }
        json.key("slowest").open('[');
        for slow in &self.slowest {
            json.open('{').key("item").maybe(slow.item.map(|item| item as u64));
            match &slow.input {
                Some(input) => json.key("input").string(input),
                None => json.key("input").null(),
            };
            json.key("wall_ns").number(slow.wall.as_nanos()).key("cpu_ns").number(slow.cpu.as_nanos());
            json.key("wait_ns").number(slow.wait.as_nanos()).key("raised").number(slow.raised);
            json.key("worker").number(slow.worker).key("tries").number(slow.tries);
            json.key("end").string(slow.end.as_str()).close('}');
        }
        json.close(']').close('}');
    }
}

/// A table for people.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_on {
            return f.write_str("nothing was measured: ask for it with `account(true)`, for a pool or for a batch\n");
        }
        let long = |duration: Duration| text::nanos(duration.as_nanos() as u64);
        writeln!(f, "pool {} in process {}, {}", self.name, self.pid, long(self.elapsed))?;
        for task in &self.tasks {
            writeln!(f, "\n{}: {}", task.name, task.counts())?;
            if task.wall.count() > 0 {
                writeln!(f, "  {:<10}{:>10}{:>10}{:>10}{:>10}{:>10}", "", "median", "90 %", "99 %", "most", "in all")?;
            }
            let row = |f: &mut fmt::Formatter<'_>, name: &str, spread: &Spread, show: fn(u64) -> String, sums: bool| {
                if spread.count() == 0 {
                    return Ok(());
                }
                write!(f, "  {name:<10}")?;
                for percent in [50.0, 90.0, 99.0] {
                    write!(f, "{:>10}", show(spread.percentile(percent)))?;
                }
                let sum = if sums { show(u64::try_from(spread.sum()).unwrap_or(u64::MAX)) } else { String::new() };
                writeln!(f, "{:>10}{sum:>10}", show(spread.max()))
            };
            row(f, "wall", &task.wall, text::nanos, true)?;
            row(f, "cpu", &task.cpu, text::nanos, true)?;
            row(f, "wait", &task.wait, text::nanos, false)?;
            row(f, "peak", &task.peak, text::bytes, false)?;
            row(f, "bytes in", &task.bytes_in, text::bytes, true)?;
            row(f, "bytes out", &task.bytes_out, text::bytes, true)?;
            for slow in task.slowest.iter().take(5) {
                let name = slow.item.map_or("a call".to_owned(), |item| format!("item {item}"));
                let input = slow.input.as_deref().map_or(String::new(), |input| format!(": {input}"));
                let how = if slow.end == RunEnd::Value { String::new() } else { format!(" ({})", slow.end.as_str()) };
                writeln!(f, "  {:>10}  {name}{how}{input}", long(slow.wall))?;
            }
        }
        writeln!(f, "\n{:>8}  {:<20}{:>10}{:>10}{:>10}{:>10}  end", "worker", "name", "items", "busy", "cpu", "peak")?;
        for worker in &self.workers {
            let (items, end) = (text::count(worker.items), worker.status.as_deref().unwrap_or("runs"));
            let (busy, cpu, peak) = (long(worker.busy), long(worker.cpu), text::bytes(worker.peak));
            writeln!(f, "{:>8}  {:<20}{items:>10}{busy:>10}{cpu:>10}{peak:>10}  {end}", worker.pid, worker.name)?;
        }
        for incident in self.incidents.iter().take(20) {
            let (at, kind) = (long(incident.at), incident.kind.as_str());
            writeln!(f, "{at:>10}  worker {} {kind}{}", incident.worker, self.about(incident))?;
        }
        if self.incidents.len() > 20 {
            writeln!(f, "{:>10}  and {} more", "", self.incidents.len() - 20)?;
        }
        Ok(())
    }
}

impl TaskReport {
    /// `100 items, 3 lost, 1 retried`.
    pub(super) fn counts(&self) -> String {
        let mut counts = format!("{} items", text::count(self.items()));
        for (count, what) in
            [(self.refused, "refused"), (self.lost, "lost"), (self.not_run, "not run"), (self.retried, "retried")]
        {
            if count > 0 {
                counts += &format!(", {} {what}", text::count(count));
            }
        }
        counts
    }
}

impl Report {
    /// `, parse item 7: killed by SIGKILL`.
    pub(super) fn about(&self, incident: &Incident) -> String {
        let mut about = String::new();
        if let Some(task) = incident.task.and_then(|task| self.tasks.get(task)) {
            about += &format!(", {}", task.short_name());
        }
        if let Some(item) = incident.item {
            about += &format!(" item {item}");
        }
        if !incident.text.is_empty() {
            about += &format!(": {}", incident.text);
        }
        about
    }
}
