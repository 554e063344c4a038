//! Pictures: the timeline of a report, and distributions. Scalable, of a fixed inner width, with a title on each part that can be pointed at.

use std::fmt::Write;
use std::time::Duration;

use super::ledger::RunEnd;
use super::report::{IncidentKind, Report, TaskRun, WorkerReport};
use super::spread::Spread;
use super::text;

/// Width of a timeline, of the names before it, and of what is drawn.
const WIDTH: f64 = 1000.0;
const NAMES: f64 = 150.0;
const DRAWN: f64 = WIDTH - NAMES - 10.0;
/// Height of a row, and of the bar in it.
const ROW: f64 = 24.0;
const BAR: f64 = 16.0;
const TOP: f64 = 26.0;
/// More rows than that nobody reads: those of the busiest workers are shown.
const MOST_ROWS: usize = 64;
/// What is narrower than that is drawn together with its neighbour.
const NARROW: f64 = 0.8;

/// One for each task, again from the first where there are more. Apart for those who do not see red from green, too.
const COLOURS: [&str; 8] = ["#4477aa", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#ee8866", "#44bb99", "#777788"];
const BAD: &str = "#d62839";

pub(super) fn colour(task: usize) -> &'static str {
    COLOURS[task % COLOURS.len()]
}

/// Text as it may stand in XML and HTML, in attributes, too.
pub(super) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            // XML has no other characters below the blank.
            char if char < ' ' && !matches!(char, '\t' | '\n' | '\r') => safe.push('\u{fffd}'),
            char => safe.push(char),
        }
    }
    safe
}

/// Steps of an axis: round, and about ten of them.
fn step(whole: f64) -> f64 {
    let rough = (whole / 10.0).max(1.0);
    let power = 10f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|step| *step >= rough).unwrap_or(rough)
}

/// What runs of a worker are drawn as one bar.
struct Bar {
    from: f64,
    to: f64,
    task: usize,
    end: RunEnd,
    items: u64,
    busy: f64,
    title: String,
}

/// The timeline of a report.
pub(super) fn timeline(report: &Report) -> String {
    let last = report.runs.iter().map(|run| run.ended).max().unwrap_or_default();
    let last = report.incidents.iter().map(|incident| incident.at).max().unwrap_or_default().max(last);
    let first = report.runs.iter().map(|run| run.began).chain(report.workers.iter().map(|worker| worker.began)).min();
    let first = first.unwrap_or_default();
    let whole = (last.saturating_sub(first).as_nanos() as f64).max(1.0);
    let x = |at: Duration| NAMES + DRAWN * (at.saturating_sub(first).as_nanos() as f64 / whole).clamp(0.0, 1.0);
    let mut rows: Vec<&WorkerReport> = report.workers.iter().collect();
    let hidden = rows.len().saturating_sub(MOST_ROWS);
    if hidden > 0 {
        rows.sort_by_key(|worker| std::cmp::Reverse(worker.busy));
        rows.truncate(MOST_ROWS);
        rows.sort_by_key(|worker| (worker.began, worker.pid));
    }
    let legend = TOP + ROW * rows.len() as f64 + 8.0;
    let height = legend + 40.0;
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"timeline\" role=\"img\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"11\" fill=\"#333\">\
         <title>What each worker did, over {}</title>",
        text::nanos(whole as u64)
    );
    axis(&mut out, whole, legend - 8.0);
    for (at, worker) in rows.iter().enumerate() {
        let y = TOP + ROW * at as f64;
        row(&mut out, report, worker, y, &x, last);
    }
    key(&mut out, report, legend, hidden);
    out.push_str("</svg>");
    out
}

fn axis(out: &mut String, whole: f64, bottom: f64) {
    let step = step(whole);
    let mut at = 0.0;
    while at <= whole {
        let x = NAMES + DRAWN * at / whole;
        let anchor = if at == 0.0 {
            "start"
        } else if x > WIDTH - 40.0 {
            "end"
        } else {
            "middle"
        };
        let label = text::nanos(at as u64);
        let _ = write!(
            out,
            "<line x1=\"{x:.1}\" y1=\"18\" x2=\"{x:.1}\" y2=\"{bottom:.1}\" stroke=\"#e3e5e8\"/>\
             <text x=\"{x:.1}\" y=\"12\" text-anchor=\"{anchor}\" fill=\"#777\">{label}</text>"
        );
        at += step;
    }
}

fn row(out: &mut String, report: &Report, worker: &WorkerReport, y: f64, x: &impl Fn(Duration) -> f64, last: Duration) {
    let name = if worker.name.is_empty() { "worker" } else { &worker.name };
    let (from, to) = (x(worker.began), x(worker.ended.unwrap_or(last)));
    let _ = write!(
        out,
        "<g class=\"worker\"><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{} ({})</text>\
         <rect class=\"life\" x=\"{from:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BAR}\" rx=\"2\" fill=\"#eef0f3\">\
         <title>{}</title></rect>",
        NAMES - 8.0,
        y + 12.0,
        escape(&shorten(name, 14)),
        worker.pid,
        (to - from).max(1.0),
        escape(&format!(
            "{name} ({}): {} items, busy for {}",
            worker.pid,
            text::count(worker.items),
            text::nanos(worker.busy.as_nanos() as u64)
        )),
    );
    for bar in bars(report, worker, x) {
        let width = (bar.to - bar.from).max(NARROW);
        // How much of the time was spent running.
        let depth = if bar.items > 1 { (bar.busy / width).clamp(0.25, 1.0) } else { 1.0 };
        let fill = match bar.end {
            RunEnd::Value => colour(bar.task),
            _ => BAD,
        };
        let _ = write!(
            out,
            "<rect class=\"run\" x=\"{:.2}\" y=\"{y:.1}\" width=\"{width:.2}\" height=\"{BAR}\" fill=\"{fill}\" \
             fill-opacity=\"{depth:.2}\"><title>{}</title></rect>",
            bar.from,
            escape(&bar.title)
        );
    }
    for incident in report.incidents.iter().filter(|incident| incident.worker == worker.pid) {
        let (x, middle) = (x(incident.at), y + BAR / 2.0);
        let (class, shape) = match incident.kind {
            IncidentKind::Retried => {
                ("retried", format!("M{:.1} {:.1}l5 5l-5 5z\" fill=\"#1d4ed8", x + 6.0, middle - 5.0))
            }
            _ => (
                "killed",
                format!(
                    "M{0:.1} {1:.1}l10 10m0 -10l-10 10\" fill=\"none\" stroke=\"{BAD}\" stroke-width=\"2.5",
                    x - 5.0,
                    middle - 5.0
                ),
            ),
        };
        let title = format!("{}{}", incident.kind.as_str(), report.about(incident));
        let _ = write!(out, "<path class=\"{class}\" d=\"{shape}\"><title>{}</title></path>", escape(&title));
    }
    out.push_str("</g>");
}

/// The runs of a worker, those that are too narrow to be told apart drawn as one.
fn bars(report: &Report, worker: &WorkerReport, x: &impl Fn(Duration) -> f64) -> Vec<Bar> {
    let from = report.runs.partition_point(|run| run.worker < worker.pid);
    let runs = report.runs[from..].iter().take_while(|run| run.worker == worker.pid);
    let mut bars: Vec<Bar> = Vec::new();
    for run in runs {
        let (from, to) = (x(run.began), x(run.ended));
        let share = run.busy.as_secs_f64() / run.ended.saturating_sub(run.began).as_secs_f64().max(1e-12);
        let busy = (to - from) * share.clamp(0.0, 1.0);
        match bars.last_mut() {
            Some(last)
                if last.task == run.task
                    && (last.end == RunEnd::Value) == (run.end == RunEnd::Value)
                    && from - last.to < NARROW
                    && (to - from < NARROW || last.to - last.from < NARROW) =>
            {
                last.to = last.to.max(to);
                last.items += run.items;
                last.busy += busy;
                last.title = format!("{}: {} items", name_of(report, run.task), text::count(last.items));
            }
            _ => {
                let title = title(report, run);
                bars.push(Bar { from, to, task: run.task, end: run.end, items: run.items, busy, title });
            }
        }
    }
    bars
}

fn name_of(report: &Report, task: usize) -> &str {
    report.tasks.get(task).map_or("?", |task| task.short_name())
}

fn title(report: &Report, run: &TaskRun) -> String {
    let (name, length) = (name_of(report, run.task), run.ended.saturating_sub(run.began).as_nanos() as u64);
    if run.items > 1 {
        return format!("{name}: {} items in {}", text::count(run.items), text::nanos(length));
    }
    let item = run.item.map_or(String::new(), |item| format!(" item {item}"));
    let tries = if run.tries > 1 { format!(", try {}", run.tries) } else { String::new() };
    let end = if run.end == RunEnd::Value { String::new() } else { format!(", {}", run.end.as_str()) };
    format!("{name}{item}: {}{tries}{end}", text::nanos(length))
}

/// Which colour is which task.
fn key(out: &mut String, report: &Report, y: f64, hidden: usize) {
    let mut x = NAMES;
    let mut entry = |out: &mut String, mark: String, label: &str| {
        let width = 24.0 + 6.2 * label.chars().count() as f64;
        if x + width > WIDTH {
            return;
        }
        let _ = write!(
            out,
            "<g transform=\"translate({x:.1} {y:.1})\">{mark}<text x=\"16\" y=\"10\">{}</text></g>",
            escape(label)
        );
        x += width;
    };
    for (number, task) in report.tasks.iter().enumerate() {
        let mark = format!("<rect width=\"11\" height=\"11\" rx=\"2\" fill=\"{}\"/>", colour(number));
        entry(out, mark, &shorten(task.short_name(), 24));
    }
    if report.runs.iter().any(|run| run.end != RunEnd::Value) {
        entry(out, format!("<rect width=\"11\" height=\"11\" rx=\"2\" fill=\"{BAD}\"/>"), "failed");
    }
    if report.incidents.iter().any(|incident| incident.kind != IncidentKind::Retried) {
        let mark = format!("<path d=\"M1 1l9 9m0 -9l-9 9\" stroke=\"{BAD}\" stroke-width=\"2.5\"/>");
        entry(out, mark, "worker ended");
    }
    if report.incidents.iter().any(|incident| incident.kind == IncidentKind::Retried) {
        entry(out, "<path d=\"M2 0l6 5l-6 5z\" fill=\"#1d4ed8\"/>".into(), "tried again");
    }
    if hidden > 0 {
        let _ = write!(
            out,
            "<text x=\"{NAMES}\" y=\"{:.1}\" fill=\"#777\">and {hidden} workers that did less</text>",
            y + 28.0
        );
    }
}

fn shorten(name: &str, most: usize) -> String {
    match name.chars().count() > most {
        true => name.chars().take(most - 1).chain(['…']).collect(),
        false => name.to_owned(),
    }
}

/// A distribution: a bar for each doubling, the median and two percentiles as lines.
pub(super) fn spread(label: &str, spread: &Spread, show: fn(u64) -> String, task: usize) -> String {
    const WIDTH: f64 = 320.0;
    const HEIGHT: f64 = 110.0;
    const FLOOR: f64 = 84.0;
    let bars = spread.doublings();
    let most = bars.iter().map(|bar| bar.2).max().unwrap_or(0).max(1) as f64;
    let width = (WIDTH - 20.0) / bars.len().max(1) as f64;
    let mut out = String::new();
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"spread\" role=\"img\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"10\" fill=\"#333\"><title>{}</title>\
         <text x=\"10\" y=\"11\" font-weight=\"600\">{}</text>",
        escape(&format!("How {label} is spread over {} items", text::count(spread.count()))),
        escape(label)
    );
    for (at, (from, to, count)) in bars.iter().enumerate() {
        let (x, height) = (10.0 + width * at as f64, 60.0 * *count as f64 / most);
        let to_text = show(u64::try_from(*to).unwrap_or(u64::MAX));
        let _ = write!(
            out,
            "<rect class=\"bar\" x=\"{x:.2}\" y=\"{:.2}\" width=\"{:.2}\" height=\"{height:.2}\" fill=\"{}\" \
             fill-opacity=\"0.75\"><title>{} from {} to {to_text}</title></rect>",
            FLOOR - height,
            (width - 1.0).max(0.5),
            colour(task),
            text::count(*count),
            show(*from),
        );
    }
    // Where a value lies between the bars.
    let place = |value: u64| {
        let at = bars.iter().position(|(from, to, _)| *from <= value && u128::from(value) < *to).unwrap_or(0);
        let (from, to, _) = bars.get(at).copied().unwrap_or((0, 1, 0));
        let within = (value - from.min(value)) as f64 / (to as f64 - from as f64).max(1.0);
        10.0 + width * (at as f64 + within)
    };
    for (percent, dash) in [(50.0, "none"), (90.0, "4 2"), (99.0, "1 2")] {
        let x = place(spread.percentile(percent));
        let _ = write!(
            out,
            "<line x1=\"{x:.1}\" y1=\"18\" x2=\"{x:.1}\" y2=\"{FLOOR}\" stroke=\"#111\" stroke-dasharray=\"{dash}\">\
             <title>{percent} %: {}</title></line>",
            show(spread.percentile(percent))
        );
    }
    let _ = write!(
        out,
        "<line x1=\"10\" y1=\"{FLOOR}\" x2=\"{:.1}\" y2=\"{FLOOR}\" stroke=\"#999\"/>\
         <text x=\"10\" y=\"97\" fill=\"#777\">{}</text>\
         <text x=\"{:.1}\" y=\"97\" text-anchor=\"middle\">median {}</text>\
         <text x=\"{:.1}\" y=\"97\" text-anchor=\"end\" fill=\"#777\">{}</text></svg>",
        WIDTH - 10.0,
        show(spread.min()),
        WIDTH / 2.0,
        show(spread.percentile(50.0)),
        WIDTH - 10.0,
        show(spread.max()),
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_has_about_ten_round_steps() {
        for whole in [1.0, 999.0, 1_234_567.0, 3.6e12] {
            let steps = whole / step(whole);
            assert!(steps <= 10.0, "{whole}: {steps}");
        }
        assert_eq!(step(1e9), 1e8);
        assert_eq!(step(1.5e9), 2e8);
    }

    #[test]
    fn what_users_write_cannot_leave_its_place() {
        assert_eq!(escape("<b a='x' & \"\u{1}\">"), "&lt;b a=&#39;x&#39; &amp; &quot;\u{fffd}&quot;&gt;");
    }
}
