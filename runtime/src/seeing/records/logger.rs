//! Both sides of `log`.

use log::kv::{Error, Key, Source, ToValue, Value, VisitSource};
use log::{Level, LevelFilter, Log, Metadata, Record};

use super::link::send;
use super::relay::task_of;
use super::wire::{Head, Kind, Reader};

/// The worker's logger.
struct Forward;

static FORWARD: Forward = Forward;

/// The level that this process's logger wants, as it crosses; 0: none.
pub(super) fn level() -> u8 {
    log::max_level() as u8
}

/// Sends what is logged in this process from `level` on, unless it has a logger of its own.
pub(super) fn install(level: u8) {
    let wanted = LevelFilter::iter().find(|filter| *filter as u8 == level).unwrap_or(LevelFilter::Off);
    // Refused, a constructor has set one.
    if wanted != LevelFilter::Off && log::set_logger(&FORWARD).is_ok() {
        log::set_max_level(wanted);
    }
}

impl Log for Forward {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        send(Kind::Log, |out| {
            #[cfg(feature = "tracing")]
            out.u64(super::emit::innermost());
            out.u8(record.level() as u8);
            out.text(record.target());
            out.option(record.module_path());
            out.option(record.file());
            out.u32(record.line().unwrap_or(0));
            out.text(&record.args().to_string());
            let mut pairs = Pairs(Vec::new());
            // A source that fails gives what it gave before.
            _ = record.key_values().visit(&mut pairs);
            out.u32(pairs.0.len() as u32);
            for (key, value) in &pairs.0 {
                out.text(key);
                out.text(value);
            }
        });
    }

    fn flush(&self) {}
}

/// Keys and values as texts.
#[derive(Default)]
struct Pairs(Vec<(String, String)>);

impl<'kvs> VisitSource<'kvs> for Pairs {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        self.0.push((key.to_string(), value.to_string()));
        Ok(())
    }
}

/// The values of a record, and who made it.
struct Made<'a> {
    worker: u64,
    pid: u64,
    task: Option<&'static str>,
    item: Option<u64>,
    pairs: Vec<(&'a str, &'a str)>,
}

impl Source for Made<'_> {
    fn visit<'kvs>(&'kvs self, visitor: &mut dyn VisitSource<'kvs>) -> Result<(), Error> {
        for (key, value) in &self.pairs {
            visitor.visit_pair(Key::from_str(key), value.to_value())?;
        }
        visitor.visit_pair(Key::from_str("worker"), self.worker.to_value())?;
        visitor.visit_pair(Key::from_str("pid"), self.pid.to_value())?;
        if let Some(task) = &self.task {
            visitor.visit_pair(Key::from_str("task"), task.to_value())?;
        }
        if let Some(item) = &self.item {
            visitor.visit_pair(Key::from_str("item"), item.to_value())?;
        }
        Ok(())
    }
}

/// Gives a worker's record, whose head was read, to this process's logger.
pub(super) fn hand_on(head: &Head, input: &mut Reader<'_>) {
    if head.lost > 0 {
        log::warn!(target: "offspring", "{} records of worker {} were left out, as nobody took them", head.lost, head.pid);
    }
    _ = read(head, input);
}

fn read(head: &Head, input: &mut Reader<'_>) -> Option<()> {
    let number = input.u8()?;
    let level = Level::iter().find(|level| *level as u8 == number)?;
    let target = input.text()?;
    let (module, file, line) = (input.option()?, input.option()?, input.u32()?);
    let text = input.text()?;
    let count = input.u32()?;
    let pairs = (0..count).map(|_| Some((input.text()?, input.text()?))).collect::<Option<Vec<_>>>()?;
    let item = head.run.and_then(|run| run.item);
    let made = Made { worker: head.worker.into(), pid: head.pid.into(), task: task_of(head), item, pairs };
    let metadata = Metadata::builder().level(level).target(target).build();
    let logger = log::logger();
    if level <= log::max_level() && logger.enabled(&metadata) {
        logger.log(
            &Record::builder()
                .metadata(metadata)
                .args(format_args!("{text}"))
                .module_path(module)
                .file(file)
                .line(Some(line).filter(|line| *line != 0))
                .key_values(&made)
                .build(),
        );
    }
    Some(())
}
