//! What tasks log with `log` comes to this process's logger.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use log::kv::{Key, Value, VisitSource};
use log::{Level, LevelFilter, Log, Metadata, Record};
use offspring::{Pool, task};
use offspring_tests::{kill, watchdog};

const LIMIT: Duration = Duration::from_secs(120);

#[derive(Debug, Clone, PartialEq)]
struct Seen {
    level: Level,
    target: String,
    text: String,
    file: Option<String>,
    line: Option<u32>,
    pairs: BTreeMap<String, String>,
}

#[derive(Default)]
struct Collect(Mutex<Vec<Seen>>);

struct Pairs(BTreeMap<String, String>);

impl<'kvs> VisitSource<'kvs> for Pairs {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), log::kv::Error> {
        self.0.insert(key.to_string(), value.to_string());
        Ok(())
    }
}

impl Log for Collect {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() != "unwanted"
    }

    fn log(&self, record: &Record<'_>) {
        let mut pairs = Pairs(BTreeMap::new());
        record.key_values().visit(&mut pairs).unwrap();
        self.0.lock().unwrap().push(Seen {
            level: record.level(),
            target: record.target().to_owned(),
            text: record.args().to_string(),
            file: record.file().map(str::to_owned),
            line: record.line(),
            pairs: pairs.0,
        });
    }

    fn flush(&self) {}
}

fn collect() -> &'static Collect {
    static COLLECT: OnceLock<Collect> = OnceLock::new();
    COLLECT.get_or_init(Collect::default)
}

#[task]
fn logs(item: u64, then: &str) -> u64 {
    log::trace!("too fine");
    log::debug!(target: "unwanted", "nobody wants this");
    log::debug!(size = 7, name = "x"; "item {item}");
    log::error!(target: "elsewhere", "last of {item}");
    if then == "dies" {
        kill::sigkill(std::process::id() as i32).unwrap();
        std::thread::sleep(Duration::from_secs(600));
    }
    item
}

#[test]
fn records_arrive_with_worker_task_and_item_and_the_last_ones_before_a_kill_too() {
    let _watchdog = watchdog(LIMIT);
    log::set_logger(collect()).unwrap();
    log::set_max_level(LevelFilter::Debug);
    let pool = Pool::builder().workers(2).build().unwrap();
    let items: Vec<(u64, &str)> = (0..20).map(|item| (item, if item % 5 == 4 { "dies" } else { "" })).collect();
    let results = pool.batch().chunk_size(2).try_map(logs, items).unwrap();
    assert_eq!(results.iter().filter(|result| result.is_err()).count(), 4);
    let seen = std::mem::take(&mut *collect().0.lock().unwrap());
    assert_eq!(seen.len(), 40);
    for item in 0..20 {
        let of_item: Vec<&Seen> =
            seen.iter().filter(|seen| seen.pairs.get("item") == Some(&item.to_string())).collect();
        let [debug, error] = of_item[..] else { panic!("{of_item:?}") };
        assert_eq!((debug.level, &*debug.target, &*debug.text), (Level::Debug, "seeing_log", &*format!("item {item}")));
        assert_eq!((&*debug.pairs["size"], &*debug.pairs["name"]), ("7", "x"));
        assert!(debug.file.as_deref().unwrap().ends_with("seeing_log.rs") && debug.line.is_some());
        assert_eq!(
            (error.level, &*error.target, &*error.text),
            (Level::Error, "elsewhere", &*format!("last of {item}"))
        );
        assert!(
            error.pairs["task"].ends_with("::logs")
                && error.pairs.contains_key("worker")
                && error.pairs.contains_key("pid")
        );
    }
}
