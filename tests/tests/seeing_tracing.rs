//! What tasks record with `tracing` comes to this process's subscriber: whole, in order, with its spans, however the worker ends.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use offspring::{Pool, task};
use offspring_tests::{kill, leaks, watchdog};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Level, Subscriber, debug, error, info, info_span, trace, warn};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry};

const LIMIT: Duration = Duration::from_secs(120);

type Fields = BTreeMap<&'static str, String>;

#[derive(Debug, Clone, PartialEq)]
struct Seen {
    level: Level,
    target: String,
    line: Option<u32>,
    fields: Fields,
    /// The innermost span first.
    spans: Vec<(&'static str, Fields)>,
}

impl Seen {
    fn message(&self) -> &str {
        self.fields.get("message").map_or("", String::as_str)
    }

    /// A field of the span above all that its task made.
    fn of_task(&self, field: &str) -> Option<&str> {
        let (name, fields) = self.spans.last()?;
        assert_eq!(*name, "task");
        fields.get(field).map(String::as_str)
    }
}

#[derive(Clone, Default)]
struct Collect {
    seen: Arc<Mutex<Vec<Seen>>>,
    open: Arc<Mutex<i64>>,
    /// Held, no event is taken.
    gate: Arc<Mutex<()>>,
}

struct Texts<'a>(&'a mut Fields);

impl Visit for Texts<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), format!("str {value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(field.name(), format!("u64 {value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(field.name(), format!("bool {value}"));
    }
}

impl<S: Subscriber + for<'l> LookupSpan<'l>> Layer<S> for Collect {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::new();
        attributes.record(&mut Texts(&mut fields));
        context.span(id).unwrap().extensions_mut().insert(fields);
        *self.open.lock().unwrap() += 1;
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        values.record(&mut Texts(span.extensions_mut().get_mut::<Fields>().unwrap()));
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        drop(self.gate.lock().unwrap());
        let mut fields = Fields::new();
        event.record(&mut Texts(&mut fields));
        let meta = event.metadata();
        let scope = context.event_scope(event).into_iter().flatten();
        let spans = scope.map(|span| (span.name(), span.extensions().get::<Fields>().cloned().unwrap_or_default()));
        let (level, target, line) = (*meta.level(), meta.target().to_owned(), meta.line());
        self.seen.lock().unwrap().push(Seen { level, target, line, fields, spans: spans.collect() });
    }

    fn on_close(&self, _: Id, _: Context<'_, S>) {
        *self.open.lock().unwrap() -= 1;
    }
}

impl Collect {
    fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }

    fn hold(&self) -> MutexGuard<'_, ()> {
        self.gate.lock().unwrap()
    }

    /// A pool whose workers' records come here, from `level` on.
    fn pool(&self, workers: usize, level: Level) -> Pool {
        let filter = tracing_subscriber::filter::LevelFilter::from_level(level);
        let subscriber = Registry::default().with(self.clone()).with(filter);
        tracing::dispatcher::with_default(&Dispatch::new(subscriber), || {
            Pool::builder().workers(workers).build().unwrap()
        })
    }
}

#[derive(Debug)]
struct Whatever(#[allow(dead_code, reason = "shown by Debug")] u8);

#[task]
fn records(item: u64) -> u64 {
    let outer = info_span!("outer", item, later = tracing::field::Empty);
    let _in_outer = outer.enter();
    outer.record("later", "set");
    warn!(target: "elsewhere", flag = true, text = "hello", what = ?Whatever(7), shown = %item, "a warning of {item}");
    {
        let _in_inner = info_span!("inner", depth = 2u64).entered();
        error!(number = item, "deep");
    }
    info!(parent: None, "without a span");
    item
}

#[task]
fn counts(count: u64, then: &str) -> u64 {
    let _inside = info_span!("counting", count).entered();
    for number in 0..count {
        info!(number, "counted");
    }
    match then {
        "dies" => {
            kill::sigkill(std::process::id() as i32).unwrap();
            std::thread::sleep(Duration::from_secs(600));
        }
        "aborts" => std::process::abort(),
        _ => {}
    }
    count
}

#[task]
fn what_is_enabled(_: u64) -> Vec<bool> {
    trace!("too fine");
    debug!("fine");
    info!("coarse");
    vec![tracing::enabled!(Level::TRACE), tracing::enabled!(Level::DEBUG), tracing::enabled!(Level::INFO)]
}

#[task]
fn from_threads(item: u64) -> u64 {
    std::thread::scope(|scope| {
        for thread in 0..3u64 {
            scope.spawn(move || {
                let _inside = info_span!("thread", thread).entered();
                (0..100u64).for_each(|number| info!(item, thread, number, "from a thread"));
            });
        }
    });
    item
}

#[task]
fn sets_up_its_own(_: u64) -> bool {
    struct Nothing;
    impl Subscriber for Nothing {
        fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
            false
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, _: &Event<'_>) {}
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }
    tracing::subscriber::set_global_default(Nothing).is_ok()
}

#[test]
fn events_arrive_with_their_fields_spans_and_the_task_they_belong_to() {
    let _watchdog = watchdog(LIMIT);
    let collect = Collect::default();
    let pool = collect.pool(2, Level::TRACE);
    assert_eq!(pool.batch().chunk_size(1).map(records, 0..10).unwrap().len(), 10);
    // They were all handed on before `map` returned.
    let seen = collect.take();
    assert_eq!(seen.len(), 30);
    for item in 0..10u64 {
        let of_item: Vec<&Seen> =
            seen.iter().filter(|seen| seen.of_task("item") == Some(&format!("u64 {item}"))).collect();
        let [warning, deep, alone] = of_item[..] else { panic!("{of_item:#?}") };
        assert_eq!((warning.level, &*warning.target), (Level::WARN, "elsewhere"));
        let field = |name: &str| warning.fields.get(name).map(String::as_str);
        assert_eq!(warning.message(), format!("a warning of {item}"));
        assert_eq!(
            (field("flag"), field("text"), field("what")),
            (Some("bool true"), Some("str hello"), Some("Whatever(7)"))
        );
        assert_eq!(field("shown"), Some(&*item.to_string()));
        let outer = ("outer", Fields::from([("item", format!("u64 {item}")), ("later", "str set".to_owned())]));
        assert_eq!(warning.spans[0], outer);
        assert_eq!((deep.level, &*deep.target), (Level::ERROR, "seeing_tracing"));
        assert_eq!(deep.spans[..2], [("inner", Fields::from([("depth", "u64 2".to_owned())])), outer]);
        assert_eq!((alone.message(), alone.spans.len()), ("without a span", 1));
        for seen in of_item {
            assert!(seen.of_task("task").unwrap().ends_with("::records"), "{seen:?}");
            assert!(["u64 0", "u64 1"].contains(&seen.of_task("worker").unwrap()));
            assert_eq!(seen.of_task("tries"), Some("u64 1"));
            assert!(seen.line.is_some());
        }
    }
}

#[test]
fn what_was_recorded_before_a_kill_arrives_and_its_spans_end() {
    let _watchdog = watchdog(LIMIT);
    let collect = Collect::default();
    let pool = collect.pool(2, Level::INFO);
    for then in ["dies", "aborts"] {
        let error = pool.call(counts, (300u64, then)).unwrap_err();
        assert!(error.is_worker_died());
        let numbers: Vec<String> = collect.take().iter().map(|seen| seen.fields["number"].clone()).collect();
        assert_eq!(numbers, (0..300).map(|number| format!("u64 {number}")).collect::<Vec<_>>());
    }
    // Two spans of each dead worker: they end when something comes after.
    let begun = Instant::now();
    while *collect.open.lock().unwrap() > 2 {
        assert!(begun.elapsed() < LIMIT, "{} spans are open", collect.open.lock().unwrap());
        pool.call(counts, (1u64, "")).unwrap();
    }
    drop(pool);
    while *collect.open.lock().unwrap() > 0 {
        assert!(begun.elapsed() < LIMIT, "{} spans are open", collect.open.lock().unwrap());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn more_records_than_the_queue_holds_arrive_from_all_threads_in_their_order() {
    let _watchdog = watchdog(LIMIT);
    let collect = Collect::default();
    let pool = collect.pool(3, Level::INFO);
    pool.batch().chunk_size(3).map(from_threads, 0..40).unwrap();
    let mut next = BTreeMap::new();
    for seen in collect.take() {
        let key = (seen.fields["item"].clone(), seen.fields["thread"].clone());
        let number = next.entry(key).or_insert(0);
        assert_eq!(seen.fields["number"], format!("u64 {number}"));
        assert_eq!(seen.spans[0].0, "thread");
        *number += 1;
    }
    assert_eq!((next.len(), next.values().all(|count| *count == 100)), (120, true));
}

#[test]
fn the_worker_leaves_out_what_the_subscriber_does_not_want() {
    let _watchdog = watchdog(LIMIT);
    // The widest subscriber of all tests decides what is enabled in workers of this one; its own filter decides what is taken.
    let collect = Collect::default();
    let pool = collect.pool(1, Level::INFO);
    let enabled = pool.call(what_is_enabled, 0).unwrap();
    assert!(enabled[2], "{enabled:?}");
    assert_eq!(collect.take().iter().map(Seen::message).collect::<Vec<_>>(), ["coarse"]);
}

#[test]
fn without_a_subscriber_or_by_request_workers_have_none() {
    let _watchdog = watchdog(LIMIT);
    let collect = Collect::default();
    assert_eq!(Pool::builder().workers(1).build().unwrap().call(sets_up_its_own, 0), Ok(true));
    let subscriber = Registry::default().with(collect.clone());
    let quiet = tracing::dispatcher::with_default(&Dispatch::new(subscriber), || {
        Pool::builder().workers(1).forward_records(false).build().unwrap()
    });
    assert_eq!(quiet.call(sets_up_its_own, 0), Ok(true));
    assert_eq!(quiet.call(counts, (5u64, "")), Ok(5));
    assert_eq!(collect.take(), []);
    assert_eq!(collect.pool(1, Level::INFO).call(sets_up_its_own, 0), Ok(false));
}

#[test]
fn a_subscriber_that_waits_for_the_caller_holds_nothing_up_for_ever() {
    let _watchdog = watchdog(LIMIT);
    let collect = Collect::default();
    let pool = collect.pool(1, Level::INFO);
    let held = collect.hold();
    assert_eq!(pool.call(counts, (20u64, "")), Ok(20));
    assert_eq!(collect.take(), []);
    drop(held);
    assert_eq!(pool.call(counts, (1u64, "")), Ok(1));
    assert_eq!(collect.take().len(), 21);
}

#[test]
fn pools_with_records_leave_nothing() {
    let _watchdog = watchdog(LIMIT);
    let collect = Collect::default();
    let round = || {
        let pool = collect.pool(2, Level::INFO);
        pool.try_map(counts, [(50u64, ""), (50, "dies"), (50, "aborts")]).unwrap();
        pool.close();
        pool.join().unwrap();
    };
    leaks::check(round, || (0..3).for_each(|_| round()));
}
