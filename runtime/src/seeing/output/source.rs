//! The pipes of one worker.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::OutputMode;
use super::mark::Nonce;
use super::parse::{Parser, Piece};
use super::service::{self, Service};
use super::store::{Key, Store};
use crate::sys;

/// Longest line that is kept together; a longer one is passed on in parts.
const LONGEST_LINE: usize = 64 << 10;
/// As much as a pipe can hold, and more: reading so much reads all that had been written before.
const MOST_IN_A_PIPE: usize = 1 << 20;

/// The standard output and standard error of a worker.
#[derive(Debug)]
pub(crate) struct Source {
    /// The worker's name, for tags.
    worker: String,
    pub(super) streams: [Mutex<Flow>; 2],
}

#[derive(Debug)]
pub(super) struct Flow {
    reader: File,
    /// 0: standard output, 1: standard error.
    stream: usize,
    parser: Parser,
    /// The item that writes.
    now: Option<(Arc<Store>, Key)>,
    /// A line that has not ended, of an item whose lines are tagged.
    line: Vec<u8>,
    /// To be passed on.
    unwritten: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pumped {
    /// So many bytes were read.
    Some(usize),
    Nothing,
    End,
}

/// The pipes of all workers of a pool.
#[derive(Debug, Default)]
pub(crate) struct Sources(Mutex<Vec<Arc<Source>>>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sources {
    /// Pipes for a new worker: those are its ends.
    pub(crate) fn open(&self, worker: &str, nonce: Nonce) -> io::Result<(Arc<Source>, [OwnedFd; 2])> {
        let (output, errors) = (sys::fd::pipe()?, sys::fd::pipe()?);
        let flow = |reader: OwnedFd, stream| {
            sys::fd::do_not_block(reader.as_fd())?;
            let (reader, parser) = (File::from(reader), Parser::new(nonce));
            Ok::<_, io::Error>(Mutex::new(Flow {
                reader,
                stream,
                parser,
                now: None,
                line: Vec::new(),
                unwritten: Vec::new(),
            }))
        };
        let streams = [flow(output.0, 0)?, flow(errors.0, 1)?];
        let source = Arc::new(Source { worker: worker.to_owned(), streams });
        Service::get()?.add(&source)?;
        lock(&self.0).push(source.clone());
        Ok((source, [output.1, errors.1]))
    }

    /// Reads all that has been written so far. Writes nothing.
    pub(crate) fn sync(&self) {
        let sources = lock(&self.0).clone();
        sources.iter().for_each(|source| source.read_all());
    }

    /// Reads all that has been written so far, and passes on what is to be passed on at once. Waits for whoever reads that.
    pub(crate) fn pass_on(&self) {
        let sources = lock(&self.0).clone();
        sources.iter().for_each(|source| source.read_all());
        service::write_all(&sources.iter().flat_map(streams_of).collect::<Vec<_>>());
    }

    /// A worker has ended: reads what it left.
    pub(crate) fn close(&self, source: &Arc<Source>) {
        source.read_all();
        for stream in 0..source.streams.len() {
            source.end(stream);
            source.flow(stream).now = None;
        }
        // Before it is taken from the list: whoever passes on finds it here or there.
        let unwritten = |(source, stream): &(Arc<Source>, usize)| !source.flow(*stream).unwritten.is_empty();
        service::leave(streams_of(source).into_iter().filter(unwritten));
        lock(&self.0).retain(|other| !Arc::ptr_eq(other, source));
        source.have_written();
    }
}

fn streams_of(source: &Arc<Source>) -> [(Arc<Source>, usize); 2] {
    [0, 1].map(|stream| (source.clone(), stream))
}

impl Source {
    pub(super) fn flow(&self, stream: usize) -> MutexGuard<'_, Flow> {
        lock(&self.streams[stream])
    }

    fn read_all(&self) {
        for stream in &self.streams {
            let mut read = 0;
            while let Pumped::Some(bytes) = lock(stream).read(&self.worker) {
                read += bytes;
                if read >= MOST_IN_A_PIPE {
                    break;
                }
            }
        }
        self.have_written();
    }

    /// Wakes the thread that passes on, if there is something.
    fn have_written(&self) {
        if self.streams.iter().any(|stream| !lock(stream).unwritten.is_empty())
            && let Ok(service) = Service::get()
        {
            service.wake();
        }
    }

    /// Reads what is there of a stream, one buffer of it at most.
    pub(super) fn read(&self, stream: usize) -> Pumped {
        self.flow(stream).read(&self.worker)
    }

    /// The worker writes no more to this stream: what is left of it.
    pub(super) fn end(&self, stream: usize) {
        let mut flow = self.flow(stream);
        if let Some(rest) = flow.parser.finish() {
            flow.take(Piece::Output(&rest), &self.worker);
        }
        flow.end_item(&self.worker);
    }
}

impl Flow {
    pub(super) fn reader(&self) -> &File {
        &self.reader
    }

    pub(super) fn take_unwritten(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.unwritten)
    }

    fn read(&mut self, worker: &str) -> Pumped {
        let mut buffer = [0; 16 << 10];
        match self.reader.read(&mut buffer) {
            Ok(0) => Pumped::End,
            Ok(len) => {
                let mut parser = std::mem::take(&mut self.parser);
                parser.feed(&buffer[..len], |piece| self.take(piece, worker));
                self.parser = parser;
                Pumped::Some(len)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Pumped::Some(0),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Pumped::Nothing,
            Err(_) => Pumped::End,
        }
    }

    fn take(&mut self, piece: Piece<'_>, worker: &str) {
        match piece {
            Piece::Mark { batch, item } => {
                self.end_item(worker);
                self.now = Store::find(batch).filter(|_| batch != 0).map(|store| (store, item));
            }
            Piece::Output(bytes) => match &self.now {
                Some((store, key)) if store.mode.is_kept() => store.push(*key, self.stream, bytes),
                Some((store, _)) if store.mode == OutputMode::Tagged => self.add_to_line(bytes, worker),
                // Of no task, or of one whose output goes on as it is.
                _ => self.unwritten.extend_from_slice(bytes),
            },
        }
    }

    fn add_to_line(&mut self, mut bytes: &[u8], worker: &str) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(end + 1);
            self.line.extend_from_slice(line);
            self.write_line(worker);
            bytes = rest;
        }
        self.line.extend_from_slice(bytes);
        if self.line.len() >= LONGEST_LINE {
            self.line.push(b'\n');
            self.write_line(worker);
        }
    }

    fn write_line(&mut self, worker: &str) {
        if let Some((store, key)) = &self.now {
            let task = store.task.rsplit("::").next().unwrap_or_default();
            let tag = match *key {
                Key::MAX => format!("[{worker} {task}] "),
                item => format!("[{worker} {task} #{item}] "),
            };
            self.unwritten.extend_from_slice(tag.as_bytes());
        }
        self.unwritten.append(&mut self.line);
    }

    /// The item that wrote has ended: so has its last line.
    fn end_item(&mut self, worker: &str) {
        if !self.line.is_empty() {
            self.line.push(b'\n');
            self.write_line(worker);
        }
    }
}
