//! The worker's subscriber: numbers its spans, and sends everything that is not below the level.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing_core::field::{Field, Visit};
use tracing_core::span::{Attributes, Current, Id, Record};
use tracing_core::{Dispatch, Event, LevelFilter, Metadata, Subscriber, dispatcher};

use super::link::send;
use super::wire::{Kind, Writer};
use super::{sites, wire};

/// Values as they cross: what kind, then the value.
pub(super) mod tag {
    pub(in super::super) const F64: u8 = 1;
    pub(in super::super) const I64: u8 = 2;
    pub(in super::super) const U64: u8 = 3;
    pub(in super::super) const I128: u8 = 4;
    pub(in super::super) const U128: u8 = 5;
    pub(in super::super) const BOOL: u8 = 6;
    pub(in super::super) const STR: u8 = 7;
    pub(in super::super) const DEBUG: u8 = 8;
    pub(in super::super) const ERROR: u8 = 9;
    pub(in super::super) const END: u8 = 0;
}

thread_local! {
    /// The spans that this thread is in, the innermost last.
    static INSIDE: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

struct Forward {
    level: LevelFilter,
    next: AtomicU64,
    spans: Mutex<HashMap<u64, Span>>,
}

struct Span {
    handles: usize,
    metadata: &'static Metadata<'static>,
}

/// Sends the records of all threads of this process from `level` on, unless it has a subscriber of its own.
pub(super) fn install(level: u8) {
    if level == 0 || dispatcher::has_been_set() {
        return;
    }
    let level = LevelFilter::from_level(sites::level(level));
    let forward = Forward { level, next: AtomicU64::new(1), spans: Mutex::default() };
    // Refused, somebody was faster, and is heard instead.
    _ = dispatcher::set_global_default(Dispatch::new(forward));
}

impl Forward {
    fn spans(&self) -> MutexGuard<'_, HashMap<u64, Span>> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The span that this thread is in, or 0.
pub(super) fn innermost() -> u64 {
    INSIDE.try_with(|inside| inside.borrow().last().copied()).ok().flatten().unwrap_or(0)
}

/// The span that something belongs to, or 0.
fn parent(explicit: Option<&Id>, is_root: bool) -> u64 {
    match explicit {
        _ if is_root => 0,
        Some(id) => id.into_u64(),
        None => innermost(),
    }
}

impl Subscriber for Forward {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let id = self.next.fetch_add(1, Relaxed);
        let metadata = span.metadata();
        self.spans().insert(id, Span { handles: 1, metadata });
        send(Kind::Span, |out| {
            out.u64(id);
            sites::write(out, metadata);
            out.u64(parent(span.parent(), span.is_root()));
            span.record(&mut Values(out));
            out.u8(tag::END);
        });
        Id::from_u64(id)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        send(Kind::Values, |out| {
            out.u64(span.into_u64());
            values.record(&mut Values(out));
            out.u8(tag::END);
        });
    }

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        send(Kind::Follows, |out| {
            out.u64(span.into_u64());
            out.u64(follows.into_u64());
        });
    }

    fn event(&self, event: &Event<'_>) {
        send(Kind::Event, |out| {
            sites::write(out, event.metadata());
            out.u64(parent(event.parent(), event.is_root()));
            event.record(&mut Values(out));
            out.u8(tag::END);
        });
    }

    fn enter(&self, span: &Id) {
        _ = INSIDE.try_with(|inside| inside.borrow_mut().push(span.into_u64()));
    }

    fn exit(&self, span: &Id) {
        _ = INSIDE.try_with(|inside| {
            let mut inside = inside.borrow_mut();
            if let Some(at) = inside.iter().rposition(|id| *id == span.into_u64()) {
                inside.remove(at);
            }
        });
    }

    fn clone_span(&self, id: &Id) -> Id {
        if let Some(span) = self.spans().get_mut(&id.into_u64()) {
            span.handles += 1;
        }
        id.clone()
    }

    fn try_close(&self, id: Id) -> bool {
        let mut spans = self.spans();
        let Some(span) = spans.get_mut(&id.into_u64()) else { return false };
        span.handles -= 1;
        if span.handles > 0 {
            return false;
        }
        spans.remove(&id.into_u64());
        drop(spans);
        send(Kind::Close, |out| out.u64(id.into_u64()));
        true
    }

    fn current_span(&self) -> Current {
        let id = innermost();
        match self.spans().get(&id) {
            Some(span) => Current::new(Id::from_u64(id), span.metadata),
            None => Current::none(),
        }
    }
}

/// Writes values as they are visited.
struct Values<'a>(&'a mut wire::Writer);

impl Values<'_> {
    fn begin(&mut self, tag: u8, field: &Field) -> &mut Writer {
        self.0.u8(tag);
        self.0.u32(field.index() as u32);
        self.0
    }
}

impl Visit for Values<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.begin(tag::F64, field).u64(value.to_bits());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.begin(tag::I64, field).u64(value as u64);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.begin(tag::U64, field).u64(value);
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        let out = self.begin(tag::I128, field);
        out.u64(value as u64);
        out.u64((value >> 64) as u64);
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        let out = self.begin(tag::U128, field);
        out.u64(value as u64);
        out.u64((value >> 64) as u64);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.begin(tag::BOOL, field).u8(value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.begin(tag::STR, field).text(value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.begin(tag::ERROR, field).text(&value.to_string());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.begin(tag::DEBUG, field).text(&format!("{value:?}"));
    }
}
