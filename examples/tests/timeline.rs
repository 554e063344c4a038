//! What `timeline` writes: a trace that viewers understand, and a page that a real browser shows.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use offspring_tests::{skip, watchdog};
use serde_json::Value;

fn run(directory: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_timeline")).arg(directory).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    // Not a terminal: no bar is drawn.
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!errors.contains("rendering"), "{errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Checks all that the Trace Event Format asks of what is used of it, and that nothing else is; gives how many events there are of each phase.
///
/// By "Trace Event Format" of the Chromium project: "JSON Object Format", and there the sections on complete, instant, async, flow and metadata events.
fn check_format(trace: &Value) -> HashMap<&str, usize> {
    let top: HashSet<&str> = trace.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(top, HashSet::from(["displayTimeUnit", "traceEvents"]));
    assert!(["ms", "ns"].contains(&trace["displayTimeUnit"].as_str().unwrap()));
    let events = trace["traceEvents"].as_array().unwrap();
    let mut phases: HashMap<&str, usize> = HashMap::new();
    let time = |event: &Value, key: &str| {
        let time = event[key].as_f64().unwrap_or_else(|| panic!("{key} is no number: {event}"));
        assert!(time.is_finite() && time >= 0.0, "{event}");
        time
    };
    let row = |event: &Value| (event["pid"].as_u64().unwrap(), event["tid"].as_u64().unwrap());
    let (mut slices, mut spans, mut flows) = (HashMap::<_, Vec<(f64, f64)>>::new(), HashMap::new(), HashMap::new());
    for event in events {
        let phase = event["ph"].as_str().unwrap();
        *phases.entry(phase).or_default() += 1;
        let (common, own): (&[&str], &[&str]) = match phase {
            "M" => (&["ph", "name", "pid", "tid"], &["args"]),
            "X" => (&["ph", "name", "pid", "tid", "ts", "cat"], &["dur", "args", "cname"]),
            "i" => (&["ph", "name", "pid", "tid", "ts", "cat"], &["s", "args"]),
            "b" | "e" => (&["ph", "name", "pid", "tid", "ts", "cat"], &["id", "args"]),
            "s" => (&["ph", "name", "pid", "tid", "ts", "cat"], &["id"]),
            "f" => (&["ph", "name", "pid", "tid", "ts", "cat"], &["id", "bp"]),
            other => panic!("a phase that nobody asked for: {other}"),
        };
        let keys: Vec<&str> = event.as_object().unwrap().keys().map(String::as_str).collect();
        assert!(common.iter().all(|key| keys.contains(key)), "a key is missing: {event}");
        assert!(keys.iter().all(|key| common.contains(key) || own.contains(key)), "a key too many: {event}");
        assert!(!event["name"].as_str().unwrap().is_empty(), "{event}");
        assert!(event.get("args").is_none_or(Value::is_object), "{event}");
        assert!(event.get("cat").is_none_or(|cat| cat.as_str().is_some_and(|cat| !cat.is_empty())), "{event}");
        let (row, name) = (row(event), event["name"].as_str().unwrap());
        match phase {
            "M" => match name {
                "process_name" | "thread_name" => assert!(event["args"]["name"].is_string(), "{event}"),
                "thread_sort_index" => assert!(event["args"]["sort_index"].is_u64(), "{event}"),
                other => panic!("metadata that viewers do not know: {other}"),
            },
            "X" => {
                let from = time(event, "ts");
                slices.entry(row).or_default().push((from, from + time(event, "dur")));
                // Among the names that the viewer has colours for.
                assert!(event.get("cname").is_none_or(|name| name == "terrible" || name == "grey"), "{event}");
            }
            "i" => assert!(["g", "p", "t"].contains(&event["s"].as_str().unwrap()) && time(event, "ts") >= 0.0),
            "b" | "e" => {
                // A pair is told by category, number and process; it may lie across others.
                let key = (event["cat"].as_str(), event["id"].as_u64().unwrap(), row.0);
                let pair: &mut Vec<(&str, &str, f64)> = spans.entry(key).or_default();
                pair.push((phase, name, time(event, "ts")));
            }
            _ => {
                assert!(phase == "s" || event["bp"] == "e", "{event}");
                let key = (event["cat"].as_str(), event["id"].as_u64().unwrap(), name);
                let ends: &mut Vec<(&str, (u64, u64), f64)> = flows.entry(key).or_default();
                ends.push((phase, row, time(event, "ts")));
            }
        }
    }
    // Slices of one row lie within each other or apart.
    for (row, slices) in &slices {
        for (at, one) in slices.iter().enumerate() {
            for other in &slices[at + 1..] {
                let apart = one.1 <= other.0 + 0.01 || other.1 <= one.0 + 0.01;
                let nested = one.0 <= other.0 && other.1 <= one.1 || other.0 <= one.0 && one.1 <= other.1;
                assert!(apart || nested, "{row:?}: {one:?} and {other:?}");
            }
        }
    }
    for (key, pair) in &spans {
        let [("b", began, from), ("e", ended, to)] = pair[..] else { panic!("{key:?}: {pair:?}") };
        assert!(began == ended && from <= to, "{key:?}: {pair:?}");
    }
    // An arrow begins and ends in a slice, and does not go back in time.
    for (key, ends) in &flows {
        let [("s", from, begins), ("f", to, ends)] = ends[..] else { panic!("{key:?}: {ends:?}") };
        let is_in_a_slice = |row, at| {
            slices.get(&row).is_some_and(|slices| slices.iter().any(|(from, to)| (*from..=*to).contains(&at)))
        };
        assert!(begins <= ends && is_in_a_slice(from, begins) && is_in_a_slice(to, ends), "{key:?}: {begins} {ends}");
    }
    // Every row that anything is on has a name.
    let named: HashSet<(u64, u64)> = events.iter().filter(|event| event["name"] == "thread_name").map(row).collect();
    assert!(events.iter().filter(|event| event["ph"] != "M").all(|event| named.contains(&row(event))));
    phases
}

#[test]
fn the_trace_is_one_that_viewers_understand_and_says_what_happened() {
    let _watch = watchdog(Duration::from_secs(120));
    let directory = tempfile::tempdir().unwrap();
    let text = run(directory.path());
    assert!(text.ends_with("39 of 40 pages rendered, 37 checked and good\n"), "{text}");
    let trace = std::fs::read_to_string(directory.path().join("report.trace.json")).unwrap();
    let trace: Value = serde_json::from_str(&trace).unwrap();
    let phases = check_format(&trace);
    let events = trace["traceEvents"].as_array().unwrap();
    assert_eq!((phases["b"], phases["e"], phases["s"], phases["f"]), (2, 2, 1, 1), "{phases:?}");
    // Rows: the batches, and each worker by its name.
    let is_name = |event: &&Value| event["name"] == "thread_name";
    let rows: HashMap<u64, &str> = events
        .iter()
        .filter(is_name)
        .map(|event| (event["tid"].as_u64().unwrap(), event["args"]["name"].as_str().unwrap()))
        .collect();
    assert!(rows.values().any(|name| *name == "batches") && rows.values().any(|name| *name == "pages-1"), "{rows:?}");
    // Runs: 40 of each task, and the two that were lost.
    let runs: Vec<&Value> =
        events.iter().filter(|event| event["ph"] == "X" && event["args"]["task"].is_string()).collect();
    let of = |task: &str| runs.iter().filter(|run| run["args"]["task"].as_str().unwrap().ends_with(task)).count();
    assert_eq!((of("::render"), of("::check")), (41, 40));
    assert!(runs.iter().all(|run| rows.contains_key(&run["tid"].as_u64().unwrap())));
    let ends = |end: &str| runs.iter().filter(|run| run["args"]["end"] == end).count();
    assert_eq!((ends("died"), ends("timed out"), ends("refused")), (1, 1, 3));
    let again: Vec<&&Value> = runs.iter().filter(|run| run["args"]["try"] == 2).collect();
    assert!(again.len() == 1 && again[0]["args"]["item"] == 13 && again[0]["args"]["end"] == "value", "{again:?}");
    // On one row nothing overlaps, waits included.
    let mut by_row: HashMap<u64, Vec<(f64, f64)>> = HashMap::new();
    for event in events.iter().filter(|event| event["ph"] == "X") {
        let (begin, length) = (event["ts"].as_f64().unwrap(), event["dur"].as_f64().unwrap());
        by_row.entry(event["tid"].as_u64().unwrap()).or_default().push((begin, begin + length));
    }
    for row in by_row.values_mut() {
        row.sort_by(|one, other| one.0.total_cmp(&other.0));
        assert!(row.windows(2).all(|pair| pair[0].1 <= pair[1].0 + 0.01), "{row:?}");
    }
    assert!(events.iter().any(|event| event["name"] == "waits for work" && event["ph"] == "X"));
    let marks: HashSet<&str> =
        events.iter().filter(|event| event["ph"] == "i").map(|event| event["name"].as_str().unwrap()).collect();
    assert_eq!(marks, HashSet::from(["died", "timed out", "retried"]));
}

/// A browser that can show a page without a screen.
fn browser() -> Option<PathBuf> {
    let names = ["chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"];
    let path = std::env::var_os("PATH")?;
    names.iter().flat_map(|name| std::env::split_paths(&path).map(move |dir| dir.join(name))).find(|path| path.exists())
}

#[test]
fn a_real_browser_shows_the_page() {
    let _watch = watchdog(Duration::from_secs(300));
    let Some(browser) = browser() else { skip!("there is no chromium: install chromium-headless-shell") };
    let directory = tempfile::tempdir().unwrap();
    run(directory.path());
    let page = std::fs::read_to_string(directory.path().join("report.html")).unwrap();
    assert!(!page.contains("<script") && !page.contains("href=") && !page.contains("src="), "it refers to something");
    // What the browser has made of it is asked by a script that the report itself does not have.
    let question = "<script>addEventListener('load', () => { \
        const wide = e => e.getBoundingClientRect(); \
        const seen = [...document.querySelectorAll('svg.timeline rect.run')].filter(e => wide(e).width > 0 && wide(e).height > 0); \
        document.body.setAttribute('data-answer', JSON.stringify({ \
            runs: seen.length, \
            killed: document.querySelectorAll('svg.timeline path.killed').length, \
            retried: document.querySelectorAll('svg.timeline path.retried').length, \
            rows: document.querySelectorAll('svg.timeline g.worker').length, \
            spreads: [...document.querySelectorAll('svg.spread')].filter(e => wide(e).width > 100).length, \
            bars: document.querySelectorAll('svg.spread rect.bar').length, \
            width: wide(document.querySelector('svg.timeline')).width, \
            inside: seen.every(e => wide(e).left >= 0 && wide(e).right <= innerWidth), \
            tables: document.querySelectorAll('table').length, \
            loaded: performance.getEntriesByType('resource').length, \
        })); });</script></body>";
    let asked = directory.path().join("asked.html");
    std::fs::write(&asked, page.replace("</body>", question)).unwrap();
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--virtual-time-budget=5000"])
        .arg(format!("--user-data-dir={}", directory.path().join("profile").display()))
        .args(["--window-size=1200,1600", "--dump-dom"])
        .arg(format!("file://{}", asked.display()))
        .output()
        .unwrap();
    let dom = String::from_utf8_lossy(&output.stdout);
    let answer = dom.split("data-answer=\"").nth(1).and_then(|rest| rest.split('"').next());
    let Some(answer) = answer else { panic!("no answer: {output:?}") };
    let answer: Value = serde_json::from_str(&answer.replace("&quot;", "\"")).unwrap();
    let number = |key: &str| answer[key].as_u64().unwrap_or_else(|| answer[key].as_f64().unwrap() as u64);
    assert!((20..=82).contains(&number("runs")), "{answer}");
    assert_eq!((number("killed"), number("retried")), (2, 1), "{answer}");
    assert!((4..=5).contains(&number("rows")), "{answer}");
    assert!(number("spreads") == 6 && number("bars") >= 6, "{answer}");
    assert!(number("width") > 800 && answer["inside"] == true, "{answer}");
    assert!(number("tables") >= 6 && number("loaded") == 0, "{answer}");
}
