//! Spans and events of workers, made again in the pool's process.
//!
//! They keep their metadata, so filters treat them as if they had been made here. Above a worker's outermost spans and events lies a span
//! `task` with the fields `worker`, `pid`, `task`, `item` and `tries`; a `worker` without the latter ones where no task ran. It has the
//! target of what lies in it, and the level ERROR, so a filter that lets those through lets it through.

use std::collections::{HashMap, HashSet};
use std::fmt;

use tracing_core::field::{Field, FieldSet, Value, ValueSet, debug};
use tracing_core::span::{Attributes, Id, Record};
use tracing_core::subscriber::NoSubscriber;
use tracing_core::{Dispatch, Event, LevelFilter, Metadata, dispatcher};

use super::emit::tag;
use super::sites::{self, Site};
use super::wire::{Head, Kind, Reader, Run};
use crate::task::{TaskId, registry};

/// Makes records again.
pub(super) struct Replay {
    target: Dispatch,
    /// Metadata that the subscriber was shown, by address.
    shown: HashSet<usize>,
    workers: HashMap<u32, Worker>,
}

impl fmt::Debug for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay").field("workers", &self.workers.len()).finish_non_exhaustive()
    }
}

/// What is open of a worker.
#[derive(Debug, Default)]
struct Worker {
    run: Option<Run>,
    /// The spans above all of the run, by target.
    tasks: HashMap<&'static str, Option<Id>>,
    /// Its own, by its numbers.
    spans: HashMap<u64, Span>,
}

#[derive(Debug)]
struct Span {
    metadata: &'static Metadata<'static>,
    /// `None`: nobody wants it.
    id: Option<Id>,
    /// What takes its place then.
    above: u64,
}

/// A value that was sent.
#[derive(Debug)]
enum Sent<'a> {
    F64(f64),
    I64(i64),
    U64(u64),
    I128(i128),
    U128(u128),
    Bool(bool),
    Text(&'a str),
    Debug(tracing_core::field::DebugValue<Verbatim<'a>>),
}

/// Text that is its own debug form.
struct Verbatim<'a>(&'a str);

impl fmt::Debug for Verbatim<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Sent<'_> {
    fn as_value(&self) -> &dyn Value {
        match self {
            Sent::F64(value) => value,
            Sent::I64(value) => value,
            Sent::U64(value) => value,
            Sent::I128(value) => value,
            Sent::U128(value) => value,
            Sent::Bool(value) => value,
            Sent::Text(value) => value,
            Sent::Debug(value) => value,
        }
    }
}

/// The values of a record, by field.
fn values<'a>(input: &mut Reader<'a>) -> Option<Vec<(usize, Sent<'a>)>> {
    let mut values = Vec::new();
    loop {
        let tag = input.u8()?;
        if tag == tag::END {
            return Some(values);
        }
        let field = input.u32()? as usize;
        let wide = |input: &mut Reader<'a>| Some(u128::from(input.u64()?) | u128::from(input.u64()?) << 64);
        values.push((
            field,
            match tag {
                tag::F64 => Sent::F64(f64::from_bits(input.u64()?)),
                tag::I64 => Sent::I64(input.u64()? as i64),
                tag::U64 => Sent::U64(input.u64()?),
                tag::I128 => Sent::I128(wide(input)? as i128),
                tag::U128 => Sent::U128(wide(input)?),
                tag::BOOL => Sent::Bool(input.u8()? != 0),
                tag::STR => Sent::Text(input.text()?),
                tag::DEBUG | tag::ERROR => Sent::Debug(debug(Verbatim(input.text()?))),
                _ => return None,
            },
        ));
    }
}

/// Calls `with` with the values for these fields. What exceeds 256 fields is left out.
fn with_values<R>(fields: &FieldSet, values: &[(usize, Sent<'_>)], with: impl FnOnce(&ValueSet<'_>) -> R) -> R {
    fn sized<const N: usize, R>(
        fields: &FieldSet,
        names: &[Field],
        values: &[(usize, Sent<'_>)],
        with: impl FnOnce(&ValueSet<'_>) -> R,
    ) -> R {
        let pairs: [(&Field, Option<&dyn Value>); N] = std::array::from_fn(|at| match values.get(at) {
            Some((field, value)) if *field < names.len() => (&names[*field], Some(value.as_value())),
            _ => (&names[0], None),
        });
        with(&fields.value_set(&pairs))
    }
    let names: Vec<Field> = fields.iter().collect();
    match (names.len(), values.len()) {
        (0, _) => with(&fields.value_set(&[])),
        (_, ..=8) => sized::<8, R>(fields, &names, values, with),
        (_, ..=32) => sized::<32, R>(fields, &names, values, with),
        _ => sized::<256, R>(fields, &names, values, with),
    }
}

impl Replay {
    /// For the dispatcher that is current in this thread, with the number of the level that it wants. `None`: it wants nothing.
    pub(super) fn new() -> Option<(Replay, u8)> {
        let target = dispatcher::get_default(Dispatch::clone);
        let level = LevelFilter::current().into_level()?;
        if target.is::<NoSubscriber>() {
            return None;
        }
        Some((Replay { target, shown: HashSet::new(), workers: HashMap::new() }, sites::number(level)))
    }

    /// Takes a record, whose head was read.
    pub(super) fn take(&mut self, head: &Head, input: &mut Reader<'_>) {
        let target = self.target.clone();
        // What the subscriber itself logs while it takes a record goes to it as ever.
        dispatcher::with_default(&target, || {
            if head.lost > 0 {
                self.tell_lost(head);
            }
            _ = self.make(head, input);
        });
    }

    /// Calls `hand_on` in the worker's span `number`, or in that of its task: for records of `log`.
    #[cfg(feature = "log")]
    pub(super) fn within(&mut self, head: &Head, number: u64, hand_on: impl FnOnce()) {
        /// Out of the span again, also when the logger panics.
        struct Inside<'a>(&'a Dispatch, Id);
        impl Drop for Inside<'_> {
            fn drop(&mut self) {
                self.0.exit(&self.1);
            }
        }
        let target = self.target.clone();
        dispatcher::with_default(&target, || {
            // Records of `log` have their own targets, and filters for those do not know of this one.
            let inside = self.parent(head, number, "offspring").map(|id| {
                target.enter(&id);
                Inside(&target, id)
            });
            hand_on();
            drop(inside);
        });
    }

    fn make(&mut self, head: &Head, input: &mut Reader<'_>) -> Option<()> {
        match head.kind {
            Kind::Event => {
                let metadata = sites::read(input)?;
                let parent = input.u64()?;
                let values = values(input)?;
                if self.wants(metadata) {
                    let parent = self.parent(head, parent, metadata.target());
                    with_values(metadata.fields(), &values, |values| {
                        self.target.event(&Event::new_child_of(parent, metadata, values));
                    });
                }
            }
            Kind::Span => {
                let number = input.u64()?;
                let metadata = sites::read(input)?;
                let above = input.u64()?;
                let values = values(input)?;
                let id = self.wants(metadata).then(|| {
                    let parent = self.parent(head, above, metadata.target());
                    self.new_span(parent, metadata, &values)
                });
                self.workers.entry(head.pid).or_default().spans.insert(number, Span { metadata, id, above });
            }
            Kind::Values => {
                let span = self.workers.get(&head.pid)?.spans.get(&input.u64()?)?;
                let (id, values) = (span.id.as_ref()?, values(input)?);
                with_values(span.metadata.fields(), &values, |values| self.target.record(id, &Record::new(values)));
            }
            Kind::Follows => {
                let spans = &self.workers.get(&head.pid)?.spans;
                let (span, follows) = (spans.get(&input.u64()?)?, spans.get(&input.u64()?)?);
                self.target.record_follows_from(span.id.as_ref()?, follows.id.as_ref()?);
            }
            Kind::Close => {
                let span = self.workers.get_mut(&head.pid)?.spans.remove(&input.u64()?)?;
                self.target.try_close(span.id?);
            }
            Kind::Sync | Kind::Log => {}
        }
        Some(())
    }

    fn new_span(&self, parent: Option<Id>, metadata: &'static Metadata<'static>, values: &[(usize, Sent<'_>)]) -> Id {
        with_values(metadata.fields(), values, |values| {
            let span = match parent {
                Some(parent) => Attributes::child_of(parent, metadata, values),
                None => Attributes::new_root(metadata, values),
            };
            self.target.new_span(&span)
        })
    }

    /// Does the subscriber want such a record?
    fn wants(&mut self, metadata: &'static Metadata<'static>) -> bool {
        if self.shown.insert(std::ptr::from_ref(metadata) as usize) {
            // What it answers may change; so it is asked each time.
            _ = self.target.register_callsite(metadata);
        }
        self.target.enabled(metadata)
    }

    /// The span in this process that the worker's span `number` is here, or what lies above it.
    fn parent(&mut self, head: &Head, mut number: u64, target: &'static str) -> Option<Id> {
        if let Some(worker) = self.workers.get(&head.pid) {
            while let Some(span) = worker.spans.get(&number) {
                if span.id.is_some() {
                    return span.id.clone();
                }
                number = span.above;
            }
        }
        self.task(head, target)
    }

    /// The span above all that a run of a task makes.
    fn task(&mut self, head: &Head, target: &'static str) -> Option<Id> {
        let worker = self.workers.entry(head.pid).or_default();
        if worker.run != head.run {
            worker.run = head.run;
            for id in worker.tasks.drain().filter_map(|(_, id)| id) {
                self.target.try_close(id);
            }
        }
        if let Some(id) = worker.tasks.get(target) {
            return id.clone();
        }
        let fields = ["worker", "pid", "task", "item", "tries"];
        let used = if head.run.is_some() { fields.len() } else { 2 };
        let metadata = sites::intern(Site {
            is_span: true,
            level: 1,
            name: if head.run.is_some() { "task" } else { "worker" }.to_owned(),
            target: target.to_owned(),
            module: None,
            file: None,
            line: 0,
            fields: fields[..used].iter().map(|field| (*field).to_owned()).collect(),
        })?;
        let mut values = vec![(0, Sent::U64(head.worker.into())), (1, Sent::U64(head.pid.into()))];
        if let Some(Run { task, item, tries, .. }) = head.run {
            let name = registry::get(TaskId::from_raw(task)).map_or("?", |entry| entry.name());
            values.push((2, Sent::Text(name)));
            values.extend(item.map(|item| (3, Sent::U64(item))));
            values.push((4, Sent::U64(tries.into())));
        }
        let id = self.wants(metadata).then(|| self.new_span(None, metadata, &values));
        self.workers.entry(head.pid).or_default().tasks.insert(target, id.clone());
        id
    }

    /// A worker has ended, and all of its records were taken.
    pub(super) fn forget(&mut self, pid: u32) {
        let Some(worker) = self.workers.remove(&pid) else { return };
        let mut spans: Vec<(u64, Option<Id>)> =
            worker.spans.into_iter().map(|(number, span)| (number, span.id)).collect();
        // The inner ones first.
        spans.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
        let tasks = worker.tasks.into_values();
        // A registry lets go of a span's parent through the dispatcher that is current.
        dispatcher::with_default(&self.target, || {
            for id in spans.into_iter().map(|(_, id)| id).chain(tasks).flatten() {
                self.target.try_close(id);
            }
        });
    }

    fn tell_lost(&mut self, head: &Head) {
        let site = Site {
            is_span: false,
            level: 2,
            name: "records left out".to_owned(),
            target: "offspring".to_owned(),
            module: None,
            file: None,
            line: 0,
            fields: vec!["message".to_owned(), "worker".to_owned(), "pid".to_owned(), "records".to_owned()],
        };
        let Some(metadata) = sites::intern(site) else { return };
        let values = [
            (0, Sent::Debug(debug(Verbatim("records of a worker were left out, as nobody took them")))),
            (1, Sent::U64(head.worker.into())),
            (2, Sent::U64(head.pid.into())),
            (3, Sent::U64(head.lost.into())),
        ];
        if self.wants(metadata) {
            with_values(metadata.fields(), &values, |values| {
                self.target.event(&Event::new_child_of(None, metadata, values));
            });
        }
    }
}

impl Drop for Replay {
    fn drop(&mut self) {
        let workers: Vec<u32> = self.workers.keys().copied().collect();
        workers.into_iter().for_each(|pid| self.forget(pid));
    }
}
