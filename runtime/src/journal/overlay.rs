//! A store's file, read only: what is written to it stays in memory. So a file can be opened, repaired and checked without touching it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

const PAGE: u64 = 4096;

/// A file under a layer of changed pages.
#[derive(Debug)]
pub(super) struct Overlay {
    file: File,
    layer: Mutex<Layer>,
}

#[derive(Debug)]
struct Layer {
    len: u64,
    /// What of the file itself still shows.
    shown: u64,
    pages: BTreeMap<u64, Box<[u8; PAGE as usize]>>,
}

impl Overlay {
    pub(super) fn new(file: File) -> io::Result<Overlay> {
        let len = file.metadata()?.len();
        Ok(Overlay { file, layer: Mutex::new(Layer { len, shown: len, pages: BTreeMap::new() }) })
    }

    fn layer(&self) -> MutexGuard<'_, Layer> {
        self.layer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A page as it is in the file.
    fn below(&self, layer: &Layer, page: u64) -> io::Result<Box<[u8; PAGE as usize]>> {
        let mut bytes = Box::new([0; PAGE as usize]);
        let start = page * PAGE;
        let len = layer.shown.saturating_sub(start).min(PAGE) as usize;
        self.file.read_exact_at(&mut bytes[..len], start)?;
        Ok(bytes)
    }
}

/// Splits a range of bytes at the ends of pages: page, offset in it, length.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let (mut at, end) = (offset, offset + len as u64);
    std::iter::from_fn(move || {
        (at < end).then(|| {
            let (page, within) = (at / PAGE, at % PAGE);
            let len = (PAGE - within).min(end - at);
            at += len;
            (page, within as usize, len as usize)
        })
    })
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.layer().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        #[cfg(test)]
        noted::note(offset, out.len());
        let layer = self.layer();
        if offset.checked_add(out.len() as u64).is_none_or(|end| end > layer.len) {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file is shorter than it says"));
        }
        let mut done = 0;
        for (page, within, len) in pieces(offset, out.len()) {
            let to = &mut out[done..done + len];
            match layer.pages.get(&page) {
                Some(bytes) => to.copy_from_slice(&bytes[within..within + len]),
                None => to.copy_from_slice(&self.below(&layer, page)?[within..within + len]),
            }
            done += len;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut layer = self.layer();
        layer.len = len;
        layer.shown = layer.shown.min(len);
        layer.pages.retain(|page, _| page * PAGE < len);
        // What lies behind the new end must read as zero when the file grows again.
        if let Some(last) = layer.pages.get_mut(&(len / PAGE)) {
            last[(len % PAGE) as usize..].fill(0);
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut layer = self.layer();
        layer.len = layer.len.max(offset + data.len() as u64);
        let mut done = 0;
        for (page, within, len) in pieces(offset, data.len()) {
            if !layer.pages.contains_key(&page) {
                let below = self.below(&layer, page)?;
                layer.pages.insert(page, below);
            }
            if let Some(bytes) = layer.pages.get_mut(&page) {
                bytes[within..within + len].copy_from_slice(&data[done..done + len]);
            }
            done += len;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod noted {
    //! Which bytes of files this thread has asked for.

    use std::cell::RefCell;
    use std::collections::BTreeSet;

    thread_local! {
        static NOTED: RefCell<Option<BTreeSet<u64>>> = const { RefCell::new(None) };
    }

    pub(in crate::journal) fn begin() {
        NOTED.set(Some(BTreeSet::new()));
    }

    pub(in crate::journal) fn take() -> BTreeSet<u64> {
        NOTED.take().unwrap_or_default()
    }

    pub(super) fn note(offset: u64, len: usize) {
        NOTED.with_borrow_mut(|noted| noted.iter_mut().for_each(|noted| noted.extend(offset..offset + len as u64)));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn what_is_written_shows_and_the_file_stays_as_it_was() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 6000]).unwrap();
        let overlay = Overlay::new(file.try_clone().unwrap()).unwrap();
        overlay.write(4000, &[1; 200]).unwrap();
        overlay.set_len(10_000).unwrap();
        let mut seen = vec![9; 10_000];
        overlay.read(0, &mut seen).unwrap();
        let mut expected = vec![7; 6000];
        expected[4000..4200].fill(1);
        expected.resize(10_000, 0);
        assert_eq!(seen, expected);
        assert!(overlay.read(9_999, &mut [0; 2]).is_err());
        overlay.set_len(4100).unwrap();
        overlay.set_len(5000).unwrap();
        overlay.read(4000, &mut seen[..1000]).unwrap();
        assert_eq!((&seen[..100], &seen[100..1000]), (&[1; 100][..], &[0; 900][..]));
        let mut now = [0; 6000];
        file.read_exact_at(&mut now, 0).unwrap();
        assert_eq!(now, [7; 6000]);
    }
}
