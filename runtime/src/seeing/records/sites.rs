//! The static metadata of spans and events, found again in another process.
//!
//! `tracing` identifies where a record was made by a static of the program. All processes of a family run one build (a child compares
//! the fingerprint of its file with its parent's before it takes anything from it), so that static lies equally far from the start of the
//! program's file in each of them, initialised alike. What lies outside of the file, in a shared library or on the heap, crosses by value,
//! and gets a static of its own on the other side, once for all that are equal.
//!
//! # Invariants of the unsafe code here
//! A distance is only used if all of a `Metadata` lies within a segment of the program, aligned as one. It was written by [`write()`] in a process
//! of this build, of a `&'static Metadata`, so there is one.
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock, PoisonError};

use tracing_core::callsite::{Callsite, Identifier};
use tracing_core::field::FieldSet;
use tracing_core::metadata::Kind;
use tracing_core::subscriber::Interest;
use tracing_core::{Level, Metadata};

use super::wire::{Reader, Writer};
use crate::sys::image;

/// In the place of a distance: the metadata follows by value.
const BY_VALUE: u64 = u64::MAX;
/// Most that are kept of those that came by value: a program that makes them up as it goes must not use up memory here.
const MOST: usize = 16 << 10;

/// Writes which metadata is meant.
pub(super) fn write(out: &mut Writer, metadata: &'static Metadata<'static>) {
    let address = std::ptr::from_ref(metadata) as usize;
    if let Some(offset) = image::offset(address).filter(|_| image::in_main_program()) {
        return out.u64(offset);
    }
    out.u64(BY_VALUE);
    out.u8(u8::from(metadata.is_span()));
    out.u8(number(*metadata.level()));
    out.text(metadata.name());
    out.text(metadata.target());
    out.option(metadata.module_path());
    out.option(metadata.file());
    out.u32(metadata.line().unwrap_or(0));
    out.u32(metadata.fields().len() as u32);
    metadata.fields().iter().for_each(|field| out.text(field.name()));
}

/// Reads which metadata is meant.
pub(super) fn read(input: &mut Reader<'_>) -> Option<&'static Metadata<'static>> {
    match input.u64()? {
        BY_VALUE => by_value(input),
        offset => at(offset),
    }
}

fn at(offset: u64) -> Option<&'static Metadata<'static>> {
    let start = image::start() as usize;
    let address = start.checked_add(usize::try_from(offset).ok()?)?;
    let last = address.checked_add(size_of::<Metadata<'_>>() - 1)?;
    let fits = image::offset(address).is_some() && image::offset(last).is_some();
    if !fits || !address.is_multiple_of(align_of::<Metadata<'_>>()) {
        return None;
    }
    // SAFETY: within the program's file and aligned (just checked); see the module's documentation.
    Some(unsafe { &*std::ptr::with_exposed_provenance::<Metadata<'static>>(address) })
}

/// A level as it crosses; 0 is none at all.
pub(super) fn number(level: Level) -> u8 {
    match level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        _ => 5,
    }
}

pub(super) fn level(number: u8) -> Level {
    match number {
        1 => Level::ERROR,
        2 => Level::WARN,
        3 => Level::INFO,
        4 => Level::DEBUG,
        _ => Level::TRACE,
    }
}

/// What makes metadata that was made here.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Site {
    pub(super) is_span: bool,
    pub(super) level: u8,
    pub(super) name: String,
    pub(super) target: String,
    pub(super) module: Option<String>,
    pub(super) file: Option<String>,
    pub(super) line: u32,
    pub(super) fields: Vec<String>,
}

fn by_value(input: &mut Reader<'_>) -> Option<&'static Metadata<'static>> {
    let (is_span, level) = (input.u8()? != 0, input.u8()?);
    let (name, target) = (input.text()?.to_owned(), input.text()?.to_owned());
    let (module, file) = (input.option()?.map(str::to_owned), input.option()?.map(str::to_owned));
    let (line, count) = (input.u32()?, input.u32()?);
    let fields = (0..count).map(|_| input.text().map(str::to_owned)).collect::<Option<Vec<_>>>()?;
    intern(Site { is_span, level, name, target, module, file, line, fields })
}

/// A callsite that is known by its metadata alone.
struct Made(OnceLock<Metadata<'static>>);

impl Callsite for Made {
    /// It is asked about each record: nothing of it is made in this process.
    fn set_interest(&self, _: Interest) {}

    fn metadata(&self) -> &Metadata<'_> {
        // Set before anybody knows the callsite.
        self.0.get_or_init(|| unreachable!("the metadata of a callsite is set before it is shown"))
    }
}

/// The metadata that is like this, made once for the life of this process. `None`: there are too many already.
pub(super) fn intern(site: Site) -> Option<&'static Metadata<'static>> {
    static SITES: Mutex<Option<HashMap<Site, &'static Metadata<'static>>>> = Mutex::new(None);
    let mut sites = SITES.lock().unwrap_or_else(PoisonError::into_inner);
    let sites = sites.get_or_insert_default();
    if let Some(metadata) = sites.get(&site) {
        return Some(metadata);
    }
    if sites.len() >= MOST {
        return None;
    }
    let text = |text: &str| -> &'static str { Box::leak(text.into()) };
    let made: &'static Made = Box::leak(Box::new(Made(OnceLock::new())));
    let names: Vec<&'static str> = site.fields.iter().map(|name| text(name)).collect();
    let metadata = Metadata::new(
        text(&site.name),
        text(&site.target),
        level(site.level),
        site.file.as_deref().map(text),
        Some(site.line).filter(|line| *line != 0),
        site.module.as_deref().map(text),
        FieldSet::new(Box::leak(names.into_boxed_slice()), Identifier(made)),
        if site.is_span { Kind::SPAN } else { Kind::EVENT },
    );
    let metadata = made.0.get_or_init(|| metadata);
    sites.insert(site, metadata);
    Some(metadata)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeing::records::wire::{Head, Kind as Record};

    fn round(metadata: &'static Metadata<'static>) -> &'static Metadata<'static> {
        let mut out = Writer::new(&Head { kind: Record::Event, pid: 1, worker: 0, lost: 0, run: None });
        let from = out.0.len();
        write(&mut out, metadata);
        read(&mut Reader(&out.0[from..])).unwrap()
    }

    #[test]
    fn metadata_of_the_program_is_found_and_any_other_is_made_once() {
        static SITE: Made = Made(OnceLock::new());
        static FIELDS: [&str; 2] = ["message", "x"];
        static META: Metadata<'static> = Metadata::new(
            "event",
            "target",
            Level::INFO,
            Some("file"),
            Some(7),
            None,
            FieldSet::new(&FIELDS, Identifier(&SITE)),
            Kind::EVENT,
        );
        assert!(std::ptr::eq(round(&META), &META));
        let fields = vec!["a".to_owned(), "b".to_owned()];
        let (name, target) = ("span".to_owned(), "far".to_owned());
        let site = Site { is_span: true, level: 2, name, target, module: None, file: None, line: 0, fields };
        let made = intern(site).unwrap();
        assert!(std::ptr::eq(round(made), made));
        assert_eq!((made.name(), made.target(), *made.level(), made.is_span()), ("span", "far", Level::WARN, true));
        assert_eq!(made.fields().iter().map(|field| field.name()).collect::<Vec<_>>(), ["a", "b"]);
        // Not aligned, or beyond the end of the file.
        assert!(at(1).is_none() && at(u64::MAX / 2).is_none() && at(u64::MAX - 1).is_none());
    }
}
