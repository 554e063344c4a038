//! The timeline in Chrome's trace event format.
//!
//! Source: "Trace Event Format" by the Chromium project. Used are complete events (`X`), instant events of a thread (`i`), metadata (`M`), flow events
//! (`s`, `f`) from a lost run to the next try, and async events (`b`, `e`) for batches, which may overlap. Times are in microseconds.

use std::collections::HashMap;
use std::time::Duration;

use super::json::Json;
use super::ledger::RunEnd;
use super::report::{IncidentKind, Report, TaskRun};

/// A worker that has nothing to do for less than this is not said to wait.
const GAP: Duration = Duration::from_micros(20);

fn micros(duration: Duration) -> f64 {
    duration.as_nanos() as f64 / 1e3
}

/// Events being written.
struct Events<'r> {
    report: &'r Report,
    json: Json,
}

impl Events<'_> {
    /// Begins an event; the caller adds to it, and closes it.
    fn begin(&mut self, phase: &str, name: &str, thread: u32) -> &mut Json {
        let pid = self.report.pid;
        self.json.open('{').key("ph").string(phase).key("name").string(name);
        self.json.key("pid").number(pid).key("tid").number(thread)
    }

    fn name_thread(&mut self, thread: u32, name: &str, place: usize) {
        let json = self.begin("M", "thread_name", thread);
        json.key("args").open('{').key("name").string(name).close('}').close('}');
        let json = self.begin("M", "thread_sort_index", thread);
        json.key("args").open('{').key("sort_index").number(place as u64).close('}').close('}');
    }

    fn run(&mut self, run: &TaskRun) {
        let report = self.report;
        let task = report.tasks.get(run.task);
        let name = task.map_or("?", |task| task.short_name());
        let name = match (run.items, run.item) {
            (1, Some(item)) => format!("{name} {item}"),
            (1, None) => name.to_owned(),
            (items, _) => format!("{name} x {items}"),
        };
        let json = self.begin("X", &name, run.worker);
        json.key("cat").string(if run.end == RunEnd::Value { "task" } else { "task,failed" });
        json.key("ts").decimal(micros(run.began)).key("dur").decimal(micros(run.ended.saturating_sub(run.began)));
        if run.end != RunEnd::Value {
            json.key("cname").string("terrible");
        }
        json.key("args").open('{').key("task").string(task.map_or("?", |task| &task.name));
        json.key("item").maybe(run.item.map(|item| item as u64)).key("try").number(run.tries);
        json.key("end").string(run.end.as_str()).key("items").number(run.items);
        json.key("waited_us").decimal(micros(run.wait)).key("cpu_us").decimal(micros(run.cpu));
        json.close('}').close('}');
    }

    fn wait(&mut self, worker: u32, from: Duration, to: Duration) {
        if to.saturating_sub(from) < GAP {
            return;
        }
        let json = self.begin("X", "waits for work", worker);
        json.key("cat").string("wait").key("ts").decimal(micros(from));
        json.key("dur").decimal(micros(to.saturating_sub(from))).key("cname").string("grey").close('}');
    }
}

pub(super) fn trace(report: &Report) -> String {
    let mut events = Events { report, json: Json::default() };
    events.json.open('{').key("displayTimeUnit").string("ms").key("traceEvents").open('[');
    let json = events.begin("M", "process_name", report.pid);
    json.key("args").open('{').key("name").string(&report.name).close('}').close('}');
    events.name_thread(report.pid, "batches", 0);
    for (place, worker) in report.workers.iter().enumerate() {
        let name = if worker.name.is_empty() { format!("worker {}", worker.pid) } else { worker.name.clone() };
        events.name_thread(worker.pid, &name, place + 1);
    }
    for (number, batch) in report.batches.iter().enumerate() {
        let name = report.tasks.get(batch.task).map_or("?", |task| task.short_name());
        for (phase, at) in [("b", batch.began), ("e", batch.ended)] {
            let json = events.begin(phase, name, report.pid);
            json.key("cat").string("batch").key("id").number(number as u64).key("ts").decimal(micros(at));
            json.key("args").open('{').key("items").number(batch.items).close('}').close('}');
        }
    }
    // The first run of each worker begins when it has been waiting since its start.
    let mut free: HashMap<u32, Duration> = report.workers.iter().map(|worker| (worker.pid, worker.began)).collect();
    for run in &report.runs {
        if let Some(free) = free.get_mut(&run.worker) {
            events.wait(run.worker, *free, run.began);
            *free = run.ended.max(*free);
        }
        events.run(run);
    }
    for worker in &report.workers {
        let end = worker.ended.unwrap_or(report.elapsed);
        if let Some(free) = free.get(&worker.pid) {
            events.wait(worker.pid, *free, end);
        }
    }
    for (number, incident) in report.incidents.iter().enumerate() {
        let json = events.begin("i", incident.kind.as_str(), incident.worker);
        json.key("cat").string("incident").key("s").string("t").key("ts").decimal(micros(incident.at));
        json.key("args").open('{').key("what").string(&report.about(incident)).close('}').close('}');
        if incident.kind == IncidentKind::Retried {
            arrow(&mut events, number, incident.at, (incident.worker, incident.task, incident.item));
        }
    }
    events.json.close(']').close('}');
    events.json.finish()
}

/// From a lost run to the next try of its item.
fn arrow(events: &mut Events<'_>, number: usize, at: Duration, lost: (u32, Option<usize>, Option<usize>)) {
    let (worker, task, item) = lost;
    let is_next = |run: &&TaskRun| Some(run.task) == task && run.item == item && run.items == 1 && run.began >= at;
    let Some(next) = events.report.runs.iter().filter(is_next).min_by_key(|run| run.began) else { return };
    let is_lost = |run: &&TaskRun| {
        run.worker == worker
            && Some(run.task) == task
            && run.item == item
            && run.end != RunEnd::Value
            && run.ended <= at
    };
    let lost = events.report.runs.iter().filter(is_lost).max_by_key(|run| run.began);
    // A flow event belongs to the complete event that its time falls into.
    let from = lost.map_or(at, |lost| lost.began + lost.ended.saturating_sub(lost.began) / 2);
    for (phase, thread, time) in [("s", worker, from), ("f", next.worker, next.began)] {
        let json = events.begin(phase, "tried again", thread);
        json.key("cat").string("retry").key("id").number(number as u64).key("ts").decimal(micros(time));
        if phase == "f" {
            json.key("bp").string("e");
        }
        json.close('}');
    }
}
