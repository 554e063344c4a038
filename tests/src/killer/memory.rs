//! The shared memory under test: saved before a kill, compared, and put back after it.

use std::io;
use std::os::fd::RawFd;
use std::ptr;

const PAGE: usize = 4096;

/// One shared mapping of a memfd, at the same address in the stage and in all that it forks.
#[derive(Clone, Copy, Debug)]
pub struct Region {
    /// Where it is mapped.
    pub start: *mut u8,
    /// How long it is.
    pub len: usize,
    /// The memfd it maps, from offset 0.
    pub fd: RawFd,
    /// Where in the memfd the mapping begins.
    pub offset: u64,
    /// Whether a change in it makes another state. Payloads are saved and put back, but their bytes are no protocol.
    pub counts: bool,
}

/// All shared memory of a stage.
#[derive(Clone, Debug)]
pub struct Memory {
    regions: Vec<Region>,
    /// Where what counts is mapped, each mapping of it: address and length.
    guards: Vec<(usize, usize)>,
}

/// What the memory held: pages that exist, and their bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Image {
    /// (region, page number), in order
    pages: Vec<(usize, usize)>,
    bytes: Vec<u8>,
}

impl Memory {
    /// The memory of these regions.
    ///
    /// # Safety
    ///
    /// Each region is mapped readable and writable as it says, at this address in every process that uses this value, and
    /// stays so; nothing in it is borrowed while it is put back.
    pub unsafe fn new(regions: Vec<Region>) -> Memory {
        let guards = regions.iter().filter(|it| it.counts).map(|it| (it.start as usize, it.len)).collect();
        Memory { regions, guards }
    }

    /// Says that the memory which counts is also mapped at `start`, `len` bytes of it.
    pub fn also_at(&mut self, start: *mut u8, len: usize) {
        self.guards.push((start as usize, len));
    }

    /// Every mapping of what counts.
    pub(super) fn guards(&self) -> &[(usize, usize)] {
        &self.guards
    }

    /// The mapping that an address belongs to.
    pub(super) fn guarded(&self, address: usize) -> Option<(usize, usize)> {
        self.guards.iter().copied().find(|(start, len)| (*start..start + len).contains(&address))
    }

    /// Makes what counts read-only in this process, which is going to be traced: each store to it then stops it.
    pub(super) fn guard(&self) {
        for (start, len) in &self.guards {
            // SAFETY: the range is mapped, as whoever made this value promised; a store to it is the tracer's to allow.
            let done = unsafe { libc::mprotect(*start as *mut libc::c_void, *len, libc::PROT_READ) };
            assert_eq!(done, 0, "mprotect: {}", io::Error::last_os_error());
        }
    }

    /// A fresh shared mapping of `len` bytes, all zero.
    ///
    /// # Errors
    ///
    /// When there is no memory or no descriptor left.
    pub fn zeroed(len: usize) -> io::Result<(Memory, *mut u8)> {
        let len = len.next_multiple_of(PAGE);
        // SAFETY: a valid C string; makes a new descriptor.
        let fd = unsafe { libc::memfd_create(c"killer".as_ptr(), libc::MFD_CLOEXEC) };
        // SAFETY: `fd` is the memfd, and a failed one makes this fail in turn.
        if fd < 0 || unsafe { libc::ftruncate(fd, len as i64) } < 0 {
            return Err(io::Error::last_os_error());
        }
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let start = unsafe { libc::mmap(ptr::null_mut(), len, protection, libc::MAP_SHARED, fd, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = start.cast::<u8>();
        let region = Region { start, len, fd, offset: 0, counts: true };
        // SAFETY: mapped just now, and never unmapped.
        Ok((unsafe { Memory::new(vec![region]) }, start))
    }

    /// What it holds now.
    pub(super) fn save(&self) -> Image {
        let mut image = Image::default();
        for (index, region) in self.regions.iter().enumerate() {
            for page in pages(region) {
                image.pages.push((index, page));
                image.bytes.extend_from_slice(bytes(region, page));
            }
        }
        image
    }

    /// Whether the regions that count hold what `image` holds.
    pub(super) fn same(&self, image: &Image) -> bool {
        let zero = [0; PAGE];
        self.regions.iter().enumerate().filter(|(_, region)| region.counts).all(|(index, region)| {
            let from = image.pages.partition_point(|page| *page < (index, 0));
            let upto = image.pages.partition_point(|page| *page < (index + 1, 0));
            let mut saved = from;
            for page in pages(region) {
                // A page that is gone, like one that never was, reads as zeros.
                while saved < upto && image.pages[saved].1 < page {
                    if image.page(saved) != zero {
                        return false;
                    }
                    saved += 1;
                }
                let known = saved < upto && image.pages[saved].1 == page;
                let expected = if known { image.page(saved) } else { &zero };
                if bytes(region, page) != expected {
                    return false;
                }
                saved += usize::from(known);
            }
            (saved..upto).all(|at| image.page(at) == zero)
        })
    }

    /// Puts back what `image` holds; pages that it lacks are given back to the kernel.
    pub(super) fn restore(&self, image: &Image) {
        for (index, region) in self.regions.iter().enumerate() {
            for page in pages(region) {
                if image.pages.binary_search(&(index, page)).is_err() {
                    punch(region, page);
                }
            }
        }
        for (at, (index, page)) in image.pages.iter().enumerate() {
            let region = &self.regions[*index];
            if bytes(region, *page) != image.page(at) {
                // SAFETY: the page lies within the region, which is mapped writable; the image is elsewhere.
                unsafe { ptr::copy_nonoverlapping(image.page(at).as_ptr(), region.start.add(page * PAGE), PAGE) };
            }
        }
    }

    /// Where `self` differs from `image`: for messages.
    pub(super) fn difference(&self, image: &Image) -> String {
        let now = self.save();
        let mut text = String::new();
        for (at, page) in now.pages.iter().enumerate() {
            let old = image.pages.binary_search(page).map_or(&[0; PAGE][..], |old| image.page(old));
            for (offset, word) in now.page(at).chunks(8).enumerate() {
                let was = &old[offset * 8..offset * 8 + 8];
                if was != word && text.len() < 400 {
                    let number = |it: &[u8]| u64::from_le_bytes(it.try_into().unwrap_or_default());
                    let position = page.1 * PAGE + offset * 8;
                    text += &format!(" region {} +{position:#x}: {:#x} -> {:#x};", page.0, number(was), number(word));
                }
            }
        }
        text
    }
}

impl Image {
    fn page(&self, at: usize) -> &[u8] {
        &self.bytes[at * PAGE..(at + 1) * PAGE]
    }
}

fn bytes(region: &Region, page: usize) -> &[u8] {
    // SAFETY: the page lies within a region that stays mapped; it is read while no process that writes to it runs.
    unsafe { std::slice::from_raw_parts(region.start.add(page * PAGE), PAGE) }
}

/// The pages of the region that exist.
fn pages(region: &Region) -> Vec<usize> {
    let mut found = Vec::new();
    let (first, end) = (region.offset as i64, region.offset as i64 + region.len as i64);
    let mut at = first;
    while at < end {
        // SAFETY: no memory is passed.
        let data = unsafe { libc::lseek(region.fd, at, libc::SEEK_DATA) };
        if data < 0 || data >= end {
            break;
        }
        // SAFETY: as above.
        let hole = unsafe { libc::lseek(region.fd, data, libc::SEEK_HOLE) }.min(end);
        found.extend((data - first) as usize / PAGE..(hole - first) as usize / PAGE);
        at = hole;
    }
    found
}

fn punch(region: &Region, page: usize) {
    let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    // SAFETY: no memory is passed; the page is part of the memory under test.
    let done = unsafe { libc::fallocate(region.fd, mode, region.offset as i64 + (page * PAGE) as i64, PAGE as i64) };
    assert_eq!(done, 0, "punch: {}", io::Error::last_os_error());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_is_put_back_and_new_pages_vanish() {
        let (memory, start) = Memory::zeroed(8 * PAGE).unwrap();
        // SAFETY: within the mapping.
        let byte = |at: usize| unsafe { &mut *start.add(at) };
        *byte(5) = 7;
        let image = memory.save();
        assert!(memory.same(&image));
        *byte(3 * PAGE) = 0;
        assert!(memory.same(&image), "a new page of zeros is no change");
        *byte(3 * PAGE + 9) = 1;
        assert!(!memory.same(&image));
        *byte(5) = 8;
        memory.restore(&image);
        assert!(memory.same(&image));
        assert_eq!((*byte(5), pages(&memory.regions[0]).len()), (7, 1));
        assert_eq!(*byte(3 * PAGE + 9), 0);
        memory.restore(&Image::default());
        assert!(!memory.same(&image));
    }
}
