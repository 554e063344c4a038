//! A report as one page: no script, nothing that is loaded from elsewhere.

use std::fmt::Write;
use std::time::Duration;

use super::report::{Report, TaskReport};
use super::spread::Spread;
use super::svg::{self, colour, escape};
use super::text;

const STYLE: &str = "\
:root{color-scheme:light}\
body{font:14px/1.5 system-ui,sans-serif;color:#22252a;background:#fff;max-width:1080px;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.5rem;margin:0 0 .2rem}h2{font-size:1.1rem;margin:2rem 0 .5rem}p{margin:.3rem 0}\
.quiet{color:#6b7280}.tiles{display:flex;flex-wrap:wrap;gap:.8rem;margin:1rem 0}\
.tile{border:1px solid #e3e5e8;border-radius:8px;padding:.5rem .9rem;min-width:7rem}\
.tile b{display:block;font-size:1.25rem;font-weight:600}.bad b{color:#b42334}\
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}\
th{font-weight:500;color:#6b7280;text-align:right;border-bottom:1px solid #d5d8dd}\
td{text-align:right;border-bottom:1px solid #eef0f3}th,td{padding:.2rem .6rem}\
th:first-child,td:first-child,.left{text-align:left}code{font-size:.9em;overflow-wrap:anywhere}\
.spreads{display:grid;grid-template-columns:repeat(auto-fit,minmax(280px,1fr));gap:.5rem;margin:.6rem 0}\
svg{width:100%;height:auto;display:block}.wide{overflow-x:auto}.dot{display:inline-block;width:.8em;height:.8em;border-radius:2px;margin-right:.4em}";

fn long(duration: Duration) -> String {
    text::nanos(duration.as_nanos() as u64)
}

/// The page.
pub(super) fn page(report: &Report) -> String {
    let mut out = String::new();
    let title = escape(&format!("{}: what its tasks did", report.name));
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>{title}</title>\
         <style>{STYLE}</style></head><body><h1>{title}</h1>\
         <p class=\"quiet\">Pool in process {}, measured for {}.</p>",
        report.pid,
        long(report.elapsed)
    );
    if !report.is_on {
        out.push_str("<p>Nothing was measured: ask for it with <code>account(true)</code>.</p></body></html>\n");
        return out;
    }
    tiles(&mut out, report);
    let _ = write!(out, "<h2>Timeline</h2><div class=\"wide\">{}</div>", svg::timeline(report));
    if report.left_out > 0 {
        let _ =
            write!(out, "<p class=\"quiet\">{} older or later events are left out.</p>", text::count(report.left_out));
    }
    for (number, task) in report.tasks.iter().enumerate() {
        write_task(&mut out, number, task);
    }
    workers(&mut out, report);
    incidents(&mut out, report);
    out.push_str("</body></html>\n");
    out
}

fn tiles(out: &mut String, report: &Report) {
    let sum = |count: fn(&TaskReport) -> u64| report.tasks.iter().map(count).sum::<u64>();
    let (items, failed) = (sum(|task| task.items()), sum(|task| task.refused + task.lost));
    let (not_run, retried) = (sum(|task| task.not_run), sum(|task| task.retried));
    let busy: Duration = report.workers.iter().map(|worker| worker.busy).sum();
    let alive = |worker: &super::report::WorkerReport| {
        worker.ended.unwrap_or(report.elapsed).saturating_sub(worker.began).as_secs_f64()
    };
    let there: f64 = report.workers.iter().map(alive).sum();
    out.push_str("<div class=\"tiles\">");
    let mut tile = |label: &str, value: String, is_bad: bool| {
        let class = if is_bad { "tile bad" } else { "tile" };
        let _ = write!(out, "<div class=\"{class}\"><b>{}</b>{label}</div>", escape(&value));
    };
    tile("items", text::count(items), false);
    tile("failed", text::count(failed), failed > 0);
    if not_run > 0 {
        tile("not run", text::count(not_run), true);
    }
    tile("tried again", text::count(retried), retried > 0);
    tile("workers", text::count(report.workers.len() as u64), false);
    tile("running items", long(busy), false);
    if there > 0.0 {
        tile("of the workers' time", format!("{:.0} %", 100.0 * (busy.as_secs_f64() / there).min(1.0)), false);
    }
    out.push_str("</div>");
}

fn write_task(out: &mut String, number: usize, task: &TaskReport) {
    let _ = write!(
        out,
        "<h2><span class=\"dot\" style=\"background:{}\"></span><code>{}</code></h2><p>{}</p>",
        colour(number),
        escape(&task.name),
        escape(&task.counts())
    );
    if task.wall.count() == 0 {
        return;
    }
    out.push_str("<div class=\"spreads\">");
    for (label, spread) in [("wall time", &task.wall), ("CPU time", &task.cpu), ("wait", &task.wait)] {
        out.push_str(&svg::spread(label, spread, text::nanos, number));
    }
    out.push_str(
        "</div><table><tr><th></th><th>least</th><th>median</th><th>90 %</th><th>99 %</th><th>most</th><th>mean</th><th>in \
         all</th></tr>",
    );
    let mut row = |label: &str, spread: &Spread, show: fn(u64) -> String, sums: bool| {
        let _ = write!(out, "<tr><td>{label}</td><td>{}</td>", show(spread.min()));
        for percent in [50.0, 90.0, 99.0] {
            let _ = write!(out, "<td>{}</td>", show(spread.percentile(percent)));
        }
        let sum = if sums { show(u64::try_from(spread.sum()).unwrap_or(u64::MAX)) } else { String::new() };
        let _ =
            write!(out, "<td>{}</td><td>{}</td><td>{sum}</td></tr>", show(spread.max()), show(spread.mean() as u64));
    };
    row("wall time", &task.wall, text::nanos, true);
    row("CPU time", &task.cpu, text::nanos, true);
    row("wait", &task.wait, text::nanos, false);
    row("worker's peak memory", &task.peak, text::bytes, false);
    row("bytes in", &task.bytes_in, text::bytes, true);
    row("bytes out", &task.bytes_out, text::bytes, true);
    out.push_str(
        "</table><p class=\"quiet\">The slowest:</p><table><tr><th>item</th><th class=\"left\">input</th><th>wall</th>\
         <th>CPU</th><th>wait</th><th>memory raised</th><th>worker</th><th>try</th><th>end</th></tr>",
    );
    for slow in &task.slowest {
        let item = slow.item.map_or("a call".to_owned(), |item| item.to_string());
        let _ = write!(
            out,
            "<tr><td>{item}</td><td class=\"left\"><code>{}</code></td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
             <td>{}</td><td>{}</td><td>{}</td></tr>",
            escape(slow.input.as_deref().unwrap_or("")),
            long(slow.wall),
            long(slow.cpu),
            long(slow.wait),
            text::bytes(slow.raised),
            slow.worker,
            slow.tries,
            slow.end.as_str()
        );
    }
    out.push_str("</table>");
}

fn workers(out: &mut String, report: &Report) {
    out.push_str(
        "<h2>Workers</h2><table><tr><th>process</th><th class=\"left\">name</th><th>started</th><th>items</th><th>busy</th>\
         <th>CPU</th><th>peak memory</th><th class=\"left\">end</th></tr>",
    );
    for worker in &report.workers {
        let end = match (&worker.status, worker.ended) {
            (Some(status), Some(at)) => format!("{status}, at {}", long(at)),
            _ => "runs".to_owned(),
        };
        let _ = write!(
            out,
            "<tr><td>{}</td><td class=\"left\">{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
             <td class=\"left\">{}</td></tr>",
            worker.pid,
            escape(&worker.name),
            long(worker.began),
            text::count(worker.items),
            long(worker.busy),
            long(worker.cpu),
            text::bytes(worker.peak),
            escape(&end)
        );
    }
    out.push_str("</table>");
}

fn incidents(out: &mut String, report: &Report) {
    const SHOWN: usize = 200;
    if report.incidents.is_empty() {
        return;
    }
    out.push_str("<h2>Deaths and retries</h2><table><tr><th>at</th><th>worker</th><th class=\"left\">what</th></tr>");
    for incident in report.incidents.iter().take(SHOWN) {
        let what = escape(&format!("{}{}", incident.kind.as_str(), report.about(incident)));
        let _ = write!(
            out,
            "<tr><td>{}</td><td>{}</td><td class=\"left\">{what}</td></tr>",
            long(incident.at),
            incident.worker
        );
    }
    out.push_str("</table>");
    if let Some(more @ 1..) = report.incidents.len().checked_sub(SHOWN) {
        let _ = write!(out, "<p class=\"quiet\">and {} more</p>", text::count(more as u64));
    }
}
