//! What was measured of a batch: its counts agree with its results, whatever happened to the workers.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use offspring::{
    CancelLevel, CancelToken, IncidentKind, OnError, Pool, Report, RunEnd, StartMethod, TaskReport, WaitFor, message,
    task,
};
use offspring_tests::{Watchdog, watchdog};
use serde_json::Value;

#[task]
fn square(x: u64) -> u64 {
    x.wrapping_mul(x)
}

#[task]
fn nap(millis: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(millis));
    millis
}

#[task]
fn spin(millis: u64) -> u64 {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(millis) {
        std::hint::spin_loop();
    }
    millis
}

/// 0: a value; 1: an error; 2: a panic; 3: kills its worker.
#[task]
fn fare(how: u32) -> Result<u32, String> {
    match how {
        1 => Err("no".into()),
        2 => panic!("never"),
        3 => std::process::abort(),
        _ => Ok(how),
    }
}

/// Kills its worker the first time.
#[task]
fn second_time(x: u64) -> u64 {
    if x % 10 == 7 && task::current().unwrap().tries == 1 {
        std::process::abort();
    }
    x
}

#[task]
fn grow(len: usize) -> Vec<u8> {
    vec![7; len]
}

#[task]
fn length(text: &str) -> usize {
    text.len()
}

#[message]
struct Opaque(u64);

#[message]
#[derive(Debug)]
struct Page {
    name: String,
    size: u64,
}

#[task]
fn of_opaque(value: Opaque) -> u64 {
    value.0
}

#[task]
fn of_page(page: Page, times: u64) -> u64 {
    page.size * times
}

#[task]
fn touch(mib: usize) -> usize {
    let memory = vec![1u8; mib << 20];
    memory.iter().step_by(4096).map(|byte| usize::from(*byte)).sum()
}

fn watch() -> Watchdog {
    watchdog(Duration::from_secs(120))
}

fn pool() -> Pool {
    Pool::builder().workers(2).account(true).build().unwrap()
}

fn task<'r>(report: &'r Report, name: &str) -> &'r TaskReport {
    report.tasks().iter().find(|task| task.name.ends_with(&format!("::{name}"))).unwrap()
}

#[test]
fn nothing_is_measured_unless_it_is_asked_for() {
    let _watch = watch();
    let pool = Pool::builder().workers(1).build().unwrap();
    pool.map(square, 0..10).unwrap();
    let report = pool.report();
    assert!(!report.is_on() && report.tasks().is_empty() && report.to_string().contains("account(true)"));
    pool.batch().account(true).map(square, 0..10).unwrap();
    pool.map(nap, [0]).unwrap();
    let report = pool.report();
    assert!(report.is_on());
    assert_eq!(report.tasks().len(), 1);
    assert_eq!(task(&report, "square").values, 10);
    // The worker was there before.
    assert!(report.workers().iter().all(|worker| worker.name.starts_with("worker-")), "{:?}", report.workers());
}

#[test]
fn counts_agree_with_results_whatever_becomes_of_an_item() {
    let _watch = watch();
    let pool = pool();
    let items: Vec<u32> = (0..60).map(|item| if item % 5 == 0 { item / 5 % 4 } else { 0 }).collect();
    let results = pool.batch().chunk_size(4).try_map(fare, &items).unwrap();
    let values = results.iter().filter(|result| matches!(result, Ok(Ok(_)))).count() as u64;
    let refused = results.iter().filter(|result| matches!(result, Ok(Err(_)))).count() as u64;
    let died =
        results.iter().filter(|result| result.as_ref().is_err_and(|error| error.is_worker_died())).count() as u64;
    let lost = results.iter().filter(|result| result.is_err()).count() as u64;
    assert!(refused == 3 && died == 3 && lost == 6, "{results:?}");
    let report = pool.report();
    let fare = task(&report, "fare");
    assert_eq!((fare.values, fare.refused, fare.lost, fare.not_run, fare.retried), (values, refused, lost, 0, 0));
    assert_eq!(fare.items(), 60);
    // Measured is what did not end with its worker.
    assert_eq!(fare.wall.count(), 60 - died);
    let deaths = report.incidents().iter().filter(|incident| incident.kind == IncidentKind::Died);
    let dead: HashSet<Option<usize>> = deaths.map(|incident| incident.item).collect();
    let expected = items.iter().enumerate().filter(|(_, how)| **how == 3).map(|(item, _)| Some(item));
    assert_eq!(dead, expected.collect::<HashSet<_>>());
    let ends: Vec<RunEnd> = report.runs().iter().map(|run| run.end).collect();
    let count = |end: RunEnd| ends.iter().filter(|other| **other == end).count() as u64;
    assert_eq!((count(RunEnd::Died), count(RunEnd::Fault), count(RunEnd::Refused)), (died, 3, refused));
    let ended = report.workers().iter().filter(|worker| worker.status.is_some()).count() as u64;
    assert_eq!(ended, died);
}

#[test]
fn runs_that_were_lost_and_tried_again_are_in_the_report() {
    let _watch = watch();
    let pool = pool();
    let results = pool.batch().chunk_size(5).retries(1).map(second_time, 0..100).unwrap();
    assert_eq!(results, (0..100).collect::<Vec<u64>>());
    let report = pool.report();
    let task = task(&report, "second_time");
    assert_eq!((task.values, task.lost, task.retried), (100, 0, 10));
    let again = report.incidents().iter().filter(|incident| incident.kind == IncidentKind::Retried);
    let mut items: Vec<usize> = again.filter_map(|incident| incident.item).collect();
    items.sort_unstable();
    assert_eq!(items, (0..10).map(|ten| 10 * ten + 7).collect::<Vec<_>>());
    // Each of them ran twice, the second time with a value, and not before the first was over.
    for item in items {
        let mut runs: Vec<_> = report.runs().iter().filter(|run| run.item == Some(item)).collect();
        runs.sort_by_key(|run| run.tries);
        let [first, second] = runs[..] else { panic!("{runs:?}") };
        assert_eq!((first.tries, first.end, second.tries, second.end), (1, RunEnd::Died, 2, RunEnd::Value));
        assert!(first.ended <= second.began && first.worker != second.worker, "{runs:?}");
    }
    // Items that were finished by a worker that then died are all there.
    assert_eq!(report.runs().iter().filter(|run| run.end == RunEnd::Value).map(|run| run.items).sum::<u64>(), 100);
}

#[test]
fn an_item_that_ran_too_long_is_a_timeout_of_that_length() {
    let _watch = watch();
    let pool = pool();
    let limit = Duration::from_millis(150);
    let results = pool.batch().chunk_size(1).timeout(limit).try_map(nap, [0, 600_000, 0]).unwrap();
    assert!(results[1].as_ref().unwrap_err().is_timed_out());
    let report = pool.report();
    assert_eq!((task(&report, "nap").values, task(&report, "nap").lost), (2, 1));
    let run = report.runs().iter().find(|run| run.end == RunEnd::TimedOut).unwrap();
    assert_eq!(run.item, Some(1));
    assert!(run.busy >= limit, "{run:?}");
    // Of all it was the slowest, and is shown as such.
    let slowest = &task(&report, "nap").slowest;
    assert_eq!((slowest.len(), slowest[0].item, slowest[0].end), (3, Some(1), RunEnd::TimedOut), "{slowest:?}");
    assert_eq!((slowest[0].input.as_deref(), slowest[0].wall >= limit), (Some("600000"), true), "{slowest:?}");
    assert!(report.incidents().iter().any(|incident| incident.kind == IncidentKind::TimedOut));
}

#[test]
fn what_never_began_is_not_run_and_what_is_cancelled_by_force_is_lost() {
    let _watch = watch();
    let pool = pool();
    let results =
        pool.batch().chunk_size(1).on_error(OnError::Stop).try_map(fare, (0..400).map(|item| u32::from(item == 3)));
    let results = results.unwrap();
    let not_run = results.iter().filter(|result| result.as_ref().is_err_and(|error| error.is_stopped())).count() as u64;
    let report = pool.report();
    let fare = task(&report, "fare");
    assert_eq!((fare.refused, fare.lost, fare.not_run), (1, 0, not_run));
    assert_eq!(fare.values + not_run + 1, results.len() as u64);
    let token = CancelToken::new().unwrap();
    let canceller = token.clone();
    let handle = pool.batch().cancel(&token).submit(nap, 600_000).unwrap();
    while !pool.workers().iter().any(|worker| worker.task.as_deref().is_some_and(|task| task.ends_with("nap"))) {
        std::thread::yield_now();
    }
    std::thread::sleep(Duration::from_millis(50));
    canceller.cancel_with(CancelLevel::Hard);
    assert!(handle.get().unwrap_err().is_cancelled());
    let report = pool.report();
    assert_eq!((task(&report, "nap").values, task(&report, "nap").lost + task(&report, "nap").not_run), (0, 1));
}

#[test]
fn times_are_those_of_the_items() {
    let _watch = watch();
    let pool = pool();
    pool.batch().chunk_size(2).map(nap, [60; 8]).unwrap();
    pool.batch().chunk_size(1).map(spin, [60; 4]).unwrap();
    let report = pool.report();
    let (nap, spin) = (task(&report, "nap"), task(&report, "spin"));
    let least = 60_000_000;
    assert!(nap.wall.min() >= least && spin.wall.min() >= least, "{report}");
    // Who sleeps uses no CPU; who spins does, as far as it gets one.
    assert!(nap.cpu.max() < least && spin.cpu.max() > least / 10, "{report}");
    assert!(u128::from(spin.cpu.max()) <= spin.wall.sum(), "{report}");
    // Of eight items in chunks of two for two workers the last have waited for three others.
    assert!(nap.wait.max() >= 3 * least, "{report}");
    let busy: Duration = report.workers().iter().map(|worker| worker.busy).sum();
    assert_eq!(busy.as_nanos(), nap.wall.sum() + spin.wall.sum());
    // On one worker nothing overlaps.
    for pair in report.runs().windows(2).filter(|pair| pair[0].worker == pair[1].worker) {
        assert!(pair[0].ended <= pair[1].began, "{pair:?}");
    }
}

#[test]
fn bytes_are_those_that_cross() {
    let _watch = watch();
    let pool = pool();
    let texts: Vec<String> = [10, 100, 5000, 300_000].iter().map(|len| "x".repeat(*len)).collect();
    pool.map(length, &texts).unwrap();
    pool.map(grow, [0, 1000, 100_000, 3_000_000]).unwrap();
    pool.map(square, 0..4).unwrap();
    let report = pool.report();
    let (length, grow, square) = (task(&report, "length"), task(&report, "grow"), task(&report, "square"));
    assert_eq!((square.bytes_in.min(), square.bytes_in.max(), square.bytes_out.max()), (8, 8, 8));
    // A text and where it is; short ones fit in that.
    let slot = length.bytes_in.min();
    assert_eq!(length.bytes_in.max(), slot + 300_000);
    assert_eq!(length.bytes_in.sum(), u128::from(4 * slot + 100 + 5000 + 300_000) + if slot < 10 { 10 } else { 0 });
    assert_eq!(grow.bytes_out.sum(), u128::from(4 * grow.bytes_out.min() + 1000 + 100_000 + 3_000_000));
}

#[test]
fn memory_that_an_item_took_shows_whichever_way_its_worker_was_made() {
    let _watch = watch();
    // This process has more than the workers ever will: `exec` must not hand that on.
    let large = vec![1u8; 256 << 20];
    for method in [StartMethod::ForkServer, StartMethod::Spawn] {
        let pool = Pool::builder().workers(1).account(true).start_method(method).build().unwrap();
        pool.batch().chunk_size(1).map(touch, [1, 96]).unwrap();
        let report = pool.report();
        let touch = task(&report, "touch");
        let most = touch.slowest.iter().map(|slow| slow.raised).max().unwrap();
        assert!((80 << 20..180 << 20).contains(&most), "{method:?}: {most}");
        assert!((96 << 20..240 << 20).contains(&touch.peak.max()), "{method:?}: {}", touch.peak.max());
    }
    assert_eq!(std::hint::black_box(&large)[large.len() / 2], 1);
}

#[test]
fn the_slowest_are_named_with_their_inputs_where_those_can_be_shown() {
    let _watch = watch();
    let pool = pool();
    pool.batch().chunk_size(1).map(nap, [0, 40, 0, 90, 0]).unwrap();
    pool.map(length, ["short", "tab\tand \u{1F600}"]).unwrap();
    pool.map(of_opaque, [Opaque(1)]).unwrap();
    pool.map(of_page, [(Page { name: "a".repeat(200), size: 2 }, 3)]).unwrap();
    let report = pool.report();
    let nap = task(&report, "nap");
    let named: Vec<_> = nap.slowest.iter().take(2).map(|slow| (slow.item, slow.input.as_deref())).collect();
    assert_eq!(named, [(Some(3), Some("90")), (Some(1), Some("40"))]);
    let texts: HashSet<_> = task(&report, "length").slowest.iter().filter_map(|slow| slow.input.as_deref()).collect();
    assert_eq!(texts, HashSet::from(["\"short\"", "\"tab\\tand \u{1F600}\""]));
    assert_eq!(task(&report, "of_opaque").slowest[0].input, None);
    let page = task(&report, "of_page").slowest[0].input.clone().unwrap();
    assert!(page.starts_with("Page { name: \"aaaa") && page.ends_with('…') && page.chars().count() == 80, "{page}");
}

#[test]
fn inputs_are_shown_although_workers_have_died() {
    let _watch = watch();
    let pool = pool();
    pool.batch().chunk_size(4).retries(1).map(second_time, 0..50).unwrap();
    let report = pool.report();
    let slowest = &task(&report, "second_time").slowest;
    assert_eq!(slowest.len(), 20);
    assert!(slowest.iter().all(|slow| slow.input == slow.item.map(|item| item.to_string())), "{slowest:?}");
}

#[test]
fn every_way_to_run_items_is_measured() {
    let _watch = watch();
    let pool = pool();
    assert_eq!(pool.imap(square, 0..50).count(), 50);
    assert_eq!(pool.imap_unordered(square, 0..50).count(), 50);
    assert_eq!(pool.imap_ahead(square, 0..50).count(), 50);
    assert_eq!(pool.map_in_place(square, 0..50).unwrap().len(), 50);
    let handles: Vec<_> = (0..50).map(|x| pool.submit(square, x).unwrap()).collect();
    let handles = offspring::wait(handles, WaitFor::All, None).0;
    assert_eq!(handles.len(), 50);
    assert_eq!(pool.call(square, 3).unwrap(), 9);
    // Those whose handles are still held are counted, too.
    assert_eq!(task(&pool.report(), "square").values, 251);
    drop(handles);
    let report = pool.report();
    assert_eq!(task(&report, "square").values, 251);
    let calls = report.runs().iter().filter(|run| run.item.is_none()).map(|run| run.items).sum::<u64>();
    assert_eq!(calls, 51);
}

#[test]
fn a_flow_is_measured_item_by_item_and_what_its_stages_ended_is_counted() {
    let _watch = watch();
    let pool = pool();
    let mut ended = 0;
    let kept = pool.flow((0..40).map(|item| item % 3)).on_failure(|_| ended += 1).try_map(fare).count().unwrap();
    assert_eq!((kept, ended), (14, 26));
    let report = pool.report();
    let flow = &report.tasks()[0];
    assert_eq!((flow.values, flow.refused, flow.lost), (14, 26, 0));
}

#[test]
fn a_report_of_a_running_batch_has_what_is_done() {
    let _watch = watch();
    let pool = pool();
    let mut results = pool.batch().chunk_size(1).imap(nap, [0, 0, 0, 0, 500]);
    for _ in 0..4 {
        results.next().unwrap().unwrap();
    }
    let values = task(&pool.report(), "nap").values;
    assert!((4..=5).contains(&values), "{values}");
    drop(results);
}

#[test]
fn many_items_are_measured_in_bounded_memory_and_all_are_counted() {
    let _watch = watch();
    let pool = pool();
    let items = 200_000;
    assert_eq!(pool.map(square, 0..items).unwrap().len() as u64, items);
    let report = pool.report();
    assert_eq!(task(&report, "square").wall.count(), items);
    assert!(report.runs().len() < 20_000);
    assert_eq!(report.runs().iter().map(|run| run.items).sum::<u64>(), items);
    let (html, json) = (report.to_html(), report.to_json());
    assert!(html.len() < 2 << 20 && json.len() < 1 << 20, "{} {}", html.len(), json.len());
}

#[test]
fn json_says_what_the_report_says() {
    let _watch = watch();
    let pool = Pool::builder().workers(2).name("a \"pool\"").account(true).build().unwrap();
    pool.batch().retries(1).map(second_time, 0..30).unwrap();
    let report = pool.report();
    let json: Value = serde_json::from_str(&report.to_json()).unwrap();
    assert_eq!((&json["pool"], &json["accounting"]), (&Value::from("a \"pool\""), &Value::from(1)));
    let task = &json["tasks"][0];
    assert_eq!((task["values"].as_u64(), task["retried"].as_u64()), (Some(30), Some(3)));
    assert_eq!(task["wall_ns"]["count"], 30);
    assert_eq!(task["wall_ns"]["p99"], report.tasks()[0].wall.percentile(99.0));
    assert_eq!(task["slowest"].as_array().unwrap().len(), report.tasks()[0].slowest.len());
    assert_eq!(json["workers"].as_array().unwrap().len(), report.workers().len());
    assert_eq!(json["incidents"].as_array().unwrap().len(), report.incidents().len());
}
