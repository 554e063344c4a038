//! What the pool's process makes of the records of a job that is over, and the report.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::pool::job::Job;
use crate::pool::job::errand::Errand;
use crate::pool::layout::outcome;
use crate::pool::master::core::Core;
use crate::process::Death;
use crate::seeing::Report;
use crate::seeing::ledger::{BatchBook, Books, Event, Measured, Run, RunEnd, What};
use crate::sys::clock;
use crate::task::because;

/// A run that ended with its worker.
#[derive(Debug, Clone)]
pub(in crate::pool) struct Attempt {
    pub(in crate::pool) item: Option<usize>,
    /// 0: nobody has looked at the clock.
    pub(in crate::pool) began: u64,
    pub(in crate::pool) waited: u64,
    pub(in crate::pool) tries: u32,
    pub(in crate::pool) end: RunEnd,
    /// It is tried again.
    pub(in crate::pool) again: bool,
}

/// Enters what is done of a job.
fn enter(job: &Job, books: &mut Books) {
    let view = job.view();
    if view.records.is_empty() {
        return;
    }
    let task = books.task(&job.errand().name);
    let clean = job.is_clean();
    let failures = if clean { BTreeMap::new() } else { job.failures() };
    let tries = if job.is_suspect() { job.tries() } else { HashMap::new() };
    for chunk in (0..job.chunks()).filter(|chunk| job.is_done(*chunk)) {
        for item in view.range(chunk) {
            let Some(read) = view.records.get(item).map(|record| record.read()) else { continue };
            let failure = if clean { None } else { failures.get(&item) };
            let end = match (failure, read.outcome) {
                (None, outcome::REFUSED) => RunEnd::Refused,
                (None, _) => RunEnd::Value,
                (Some(_), outcome::FAULT) => RunEnd::Fault,
                (Some(error), _) => {
                    // What ended with its worker was entered then; what never began has nothing to tell.
                    let gone = error.is_cancelled() || error.is_stopped() || error.is_pool_closed();
                    let book = &mut books.tasks[task];
                    match read.began == 0 && (gone || error.is_crash_limit() || error.is_no_worker()) {
                        true => book.not_run += 1,
                        false => book.lost += 1,
                    }
                    if read.began != 0 {
                        let run = (read.worker, read.began);
                        books.lost(task, job.context(item).item, run, || job.show_input(item));
                    }
                    continue;
                }
            };
            if read.began == 0 {
                // A task whose state could not be made, and the like.
                let book = &mut books.tasks[task];
                if failure.is_some() {
                    book.lost += 1
                } else {
                    book.values += 1
                }
                continue;
            }
            let measured = Measured {
                began: read.began,
                ended: read.ended.max(read.began),
                waited: read.began.saturating_sub(job.published()),
                cpu: read.cpu,
                peak_kib: read.peak_kib,
                raised_kib: read.raised_kib,
                bytes_in: read.bytes_in,
                bytes_out: read.bytes_out,
                worker: read.worker,
                tries: tries.get(&item).copied().unwrap_or(0) + 1,
                end,
            };
            books.measured(task, job.context(item).item, measured, || job.show_input(item));
        }
    }
}

impl Core {
    /// Enters a job that is over, once.
    pub(in crate::pool) fn account(&self, job: &Job) {
        let mut books = self.ledger.books();
        // Under the lock: a report counts what is not marked.
        if job.mark_gathered() {
            enter(job, &mut books);
        }
    }

    /// Notes that a worker was started.
    pub(in crate::pool) fn note_start(&self, pid: u32, name: &str) {
        if self.ledger.is_on() {
            let mut books = self.ledger.books();
            let book = books.workers.entry(pid).or_default();
            (book.name, book.began) = (name.to_owned(), clock::monotonic_nanos());
        }
    }

    /// Notes that a worker has ended, with what it was running.
    pub(in crate::pool) fn note_end(&self, death: &Death, fate: Option<(&Job, &Attempt)>) {
        if !self.ledger.is_on() {
            return;
        }
        let (at, pid) = (clock::monotonic_nanos(), death.pid);
        let note = death.note.as_ref().map(ToString::to_string);
        let status = format!("{}{}", death.status, because(death.status, death.oom_killed, note.as_deref()));
        let mut books = self.ledger.books();
        let book = books.workers.entry(pid).or_default();
        book.ended = Some(at);
        book.status.clone_from(&status);
        let Some((job, attempt)) = fate.filter(|(job, _)| job.errand().policy.account) else {
            if !death.status.success() {
                let event = Event { at, worker: pid, task: None, item: None, what: What::Died, text: status };
                books.event(event);
            }
            return;
        };
        let task = books.task(&job.errand().name);
        let Attempt { item, began, waited, tries, end, again, .. } = *attempt;
        if began != 0 {
            let busy = at.saturating_sub(began);
            let run = Run { task, item, worker: pid, tries, began, ended: at, waited, cpu: 0, end, items: 1, busy };
            books.killed(run);
        }
        let what = match end {
            RunEnd::TimedOut => What::TimedOut,
            RunEnd::Cancelled => What::Cancelled,
            _ => What::Died,
        };
        books.event(Event { at, worker: pid, task: Some(task), item, what, text: status });
        if again {
            books.tasks[task].retried += 1;
            let text = format!("try {}", tries + 1);
            books.event(Event { at, worker: pid, task: Some(task), item, what: What::Retried, text });
        }
    }

    /// Notes that a batch is over.
    pub(in crate::pool) fn note_batch(&self, errand: &Errand, began: u64, items: usize) {
        let mut books = self.ledger.books();
        let task = books.task(&errand.name);
        books.batch(BatchBook { task, began, ended: clock::monotonic_nanos(), items: items as u64 });
    }

    /// All that was measured so far.
    pub(in crate::pool) fn report(&self) -> Report {
        let name = match self.options.name.as_str() {
            "worker" => program_name().unwrap_or_else(|| "a pool".to_owned()),
            name => name.to_owned(),
        };
        if !self.ledger.is_on() || !self.is_here() {
            return Report::of(&name, Books::default(), false, 0);
        }
        let (live, crew): (Vec<Arc<Job>>, Vec<(u32, String)>) = {
            let inner = self.lock();
            let live = inner.jobs.values().filter(|job| job.errand().policy.account).cloned().collect();
            (live, inner.crew.members().map(|worker| (worker.pid(), worker.name().to_owned())).collect())
        };
        let (mut books, live) = {
            let books = self.ledger.books();
            let live: Vec<Arc<Job>> = live.into_iter().filter(|job| !job.is_gathered()).collect();
            (books.clone(), live)
        };
        live.iter().for_each(|job| enter(job, &mut books));
        for (pid, name) in crew {
            // One that was there before anything was asked for.
            let book = books.workers.entry(pid).or_default();
            if book.name.is_empty() {
                book.name = name;
            }
        }
        Report::of(&name, books, true, clock::monotonic_nanos())
    }
}

fn program_name() -> Option<String> {
    let path = std::env::current_exe().ok()?;
    Some(path.file_name()?.to_string_lossy().into_owned())
}
