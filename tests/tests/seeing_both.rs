//! A logger that makes `tracing` events of records of `log`, as `tracing-subscriber` sets one: workers' records lie in their task's spans.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use log::{LevelFilter, Log, Metadata, Record};
use offspring::{Pool, task};
use offspring_tests::{kill, watchdog};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Subscriber, info_span};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry};

/// The texts that came, each with its spans, the innermost first.
#[derive(Clone, Default)]
struct Collect(Arc<Mutex<Vec<(String, Vec<String>)>>>);

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if ["message", "item", "part"].contains(&field.name()) {
            self.0 += &format!(" {value:?}");
        }
    }
}

impl<S: Subscriber + for<'l> LookupSpan<'l>> Layer<S> for Collect {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut text = Text(attributes.metadata().name().to_owned());
        attributes.record(&mut text);
        context.span(id).unwrap().extensions_mut().insert(text);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        let spans = context.event_scope(event).into_iter().flatten();
        let spans = spans.map(|span| span.extensions().get::<Text>().unwrap().0.clone()).collect();
        self.0.lock().unwrap().push((text.0, spans));
    }
}

/// What `tracing-log` does, in short.
struct ToTracing;

impl Log for ToTracing {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        if record.args().to_string().contains("spoil") {
            panic!("a logger that panics in the middle");
        }
        tracing::info!(target: "log", "{}", record.args());
    }

    fn flush(&self) {}
}

#[task]
fn logs(item: u64) -> u64 {
    log::info!("before {item}");
    {
        let _part = info_span!("part", part = item).entered();
        log::info!("within {item}");
        if item == 2 {
            log::info!("spoil this one");
        }
        tracing::info!("traced {item}");
        if item == 3 {
            kill::sigkill(std::process::id() as i32).unwrap();
            std::thread::sleep(Duration::from_secs(600));
        }
    }
    log::info!("after {item}");
    item
}

#[test]
fn records_of_log_lie_in_the_spans_of_their_task() {
    let _watchdog = watchdog(Duration::from_secs(120));
    let collect = Collect::default();
    log::set_logger(&ToTracing).unwrap();
    log::set_max_level(LevelFilter::Info);
    tracing::subscriber::set_global_default(Registry::default().with(collect.clone())).unwrap();
    let pool = Pool::builder().workers(2).build().unwrap();
    let results = pool.batch().chunk_size(1).try_map(logs, 0..6).unwrap();
    assert_eq!(results.iter().filter(|result| result.is_err()).count(), 1);
    let seen = std::mem::take(&mut *collect.0.lock().unwrap());
    for item in 0..6 {
        let spans = |text: &str| {
            let text = format!(" {text} {item}");
            let mut found = seen.iter().filter(|seen| seen.0 == text).map(|seen| seen.1.clone());
            let spans = found.next();
            assert_eq!(found.next(), None, "{text} came twice");
            spans
        };
        let (task, part) = (format!("task {item}"), format!("part {item}"));
        assert_eq!(spans("before"), Some(vec![task.clone()]), "{seen:#?}");
        assert_eq!(spans("within"), Some(vec![part.clone(), task.clone()]), "{seen:#?}");
        assert_eq!(spans("traced"), Some(vec![part, task.clone()]), "{seen:#?}");
        assert_eq!(spans("after"), (item != 3).then(|| vec![task]), "{seen:#?}");
    }
}
