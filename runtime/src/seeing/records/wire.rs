//! A record as bytes. Both ends are of one build; what a worker may have spoiled reads as the end of the record.

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// Somebody waits for all records before this one.
    Sync,
    Event,
    Span,
    /// Values for a span that there is.
    Values,
    Follows,
    Close,
    Log,
}

impl Kind {
    fn from_raw(raw: u8) -> Option<Kind> {
        [Kind::Sync, Kind::Event, Kind::Span, Kind::Values, Kind::Follows, Kind::Close, Kind::Log]
            .into_iter()
            .find(|kind| *kind as u8 == raw)
    }
}

/// Which run of a task made a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    /// The task's number.
    pub(crate) task: u32,
    pub(crate) item: Option<u64>,
    pub(crate) tries: u32,
    /// Tells apart runs of equal items of different batches.
    pub(crate) job: u64,
}

/// What each record begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: Kind,
    pub(super) pid: u32,
    /// The worker's number in its pool.
    pub(super) worker: u32,
    /// Records that were left out since the last one.
    pub(super) lost: u32,
    pub(super) run: Option<Run>,
}

/// Writes a record.
#[derive(Debug)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn new(head: &Head) -> Writer {
        let mut out = Writer(Vec::with_capacity(256));
        out.u8(head.kind as u8);
        out.u32(head.pid);
        out.u32(head.worker);
        out.u32(head.lost);
        out.u8(u8::from(head.run.is_some()));
        if let Some(Run { task, item, tries, job }) = head.run {
            out.u32(task);
            out.u64(item.unwrap_or(u64::MAX));
            out.u32(tries);
            out.u64(job);
        }
        out
    }

    pub(super) fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.0.extend(value.to_le_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.0.extend(value.to_le_bytes());
    }

    pub(super) fn text(&mut self, text: &str) {
        self.u32(text.len() as u32);
        self.0.extend(text.as_bytes());
    }

    pub(super) fn option(&mut self, text: Option<&str>) {
        self.u8(u8::from(text.is_some()));
        self.text(text.unwrap_or_default());
    }
}

/// Reads a record.
#[derive(Debug)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    /// The head; what follows is left to be read.
    pub(super) fn head(&mut self) -> Option<Head> {
        let (kind, pid, worker, lost) = (Kind::from_raw(self.u8()?)?, self.u32()?, self.u32()?, self.u32()?);
        let run = match self.u8()? {
            0 => None,
            _ => {
                let (task, item, tries, job) = (self.u32()?, self.u64()?, self.u32()?, self.u64()?);
                Some(Run { task, item: Some(item).filter(|item| *item != u64::MAX), tries, job })
            }
        };
        Some(Head { kind, pid, worker, lost, run })
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        let len = self.u32()? as usize;
        let (text, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }

    pub(super) fn option(&mut self) -> Option<Option<&'a str>> {
        let is_there = self.u8()? != 0;
        let text = self.text()?;
        Some(is_there.then_some(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written_and_a_part_of_it_is_none() {
        for run in [None, Some(Run { task: 7, item: Some(9), tries: 2, job: 1 << 40 })] {
            let head = Head { kind: Kind::Span, pid: 5, worker: 3, lost: 8, run };
            let mut out = Writer::new(&head);
            out.text("text");
            out.option(None);
            out.option(Some("more"));
            out.u64(77);
            let read = |bytes: &[u8]| {
                let mut input = Reader(bytes);
                let head = input.head()?;
                let (text, none, some) =
                    (input.text()? == "text", input.option()?.is_none(), input.option()? == Some("more"));
                Some((head, text && none && some, input.u64()?))
            };
            assert_eq!(read(&out.0), Some((head, true, 77)));
            for len in 0..out.0.len() {
                assert_eq!(read(&out.0[..len]), None, "{len}");
            }
        }
    }
}
