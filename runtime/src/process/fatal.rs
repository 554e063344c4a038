//! Fatal signals in a child: a note of the circumstances, then the signal's own effect.
//!
//! `std` reports stack overflows from a handler that it installs in `main`, which a child never reaches; this does the same and more.
#![allow(unsafe_code)]

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::note;
use crate::Signal;
use crate::sys::signal::{Action, install_alternate_stack, raise, set_action};

const FATAL: [Signal; 6] = [Signal::SEGV, Signal::BUS, Signal::ILL, Signal::FPE, Signal::ABRT, Signal::SYS];

/// The lowest address the main thread's stack may grow to, to tell an overflow from another bad access.
static STACK_END: AtomicUsize = AtomicUsize::new(0);

/// Installs the handlers, and a stack for them, on the calling thread: the main one.
pub(crate) fn install() -> io::Result<()> {
    let here = 0u8;
    let limit = crate::sys::proc::limit(libc::RLIMIT_STACK as usize).map_or(8 << 20, |(soft, _)| soft);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX).min(1 << 30);
    STACK_END.store((&raw const here as usize).saturating_sub(limit), Ordering::Relaxed);
    install_alternate_stack()?;
    FATAL.into_iter().try_for_each(|signal| set_action(signal, Action::Handler(handler)))
}

/// Touches the slot's note, standard error and nothing else.
extern "C" fn handler(number: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    let Some(signal) = Signal::from_raw(number) else { return };
    // SAFETY: the kernel hands a handler with SA_SIGINFO a valid siginfo; for a fault it holds an address.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as usize) };
    let fault = code > 0;
    let mut text = Text::new();
    text.add(signal.name().unwrap_or("a signal").as_bytes());
    if fault && (signal == Signal::SEGV || signal == Signal::BUS) {
        text.add(b" at address ");
        text.add_hex(address);
        if signal == Signal::SEGV && is_stack_overflow(address) {
            text.add(b": stack overflow");
            let line = b"\noffspring: a process has overflowed its stack\n";
            // SAFETY: writes a constant; write is async-signal-safe.
            unsafe { libc::write(2, line.as_ptr().cast(), line.len()) };
        }
    }
    note::write_text(text.bytes());
    _ = set_action(signal, Action::Default);
    if !fault {
        // Sent by somebody, abort() included: it would not come again by itself. Blocked until this handler returns.
        raise(signal);
    }
}

/// The guard is where the stack's limit says, give or take what lies above it at the start.
fn is_stack_overflow(address: usize) -> bool {
    let end = STACK_END.load(Ordering::Relaxed);
    const NEAR: usize = 2 << 20;
    (end.saturating_sub(NEAR)..end + NEAR).contains(&address)
}

/// A short text, put together without allocating.
struct Text {
    bytes: [u8; 128],
    len: usize,
}

impl Text {
    fn new() -> Text {
        Text { bytes: [0; 128], len: 0 }
    }

    fn add(&mut self, bytes: &[u8]) {
        for (to, from) in self.bytes[self.len..].iter_mut().zip(bytes) {
            *to = *from;
            self.len += 1;
        }
    }

    fn add_hex(&mut self, value: usize) {
        self.add(b"0x");
        let digits = (usize::BITS - value.leading_zeros()).div_ceil(4).max(1);
        for digit in (0..digits).rev() {
            self.add(&[b"0123456789abcdef"[value >> (4 * digit) & 15]]);
        }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_off_and_not_written_past_their_end() {
        let mut text = Text::new();
        text.add_hex(0);
        text.add(b" ");
        text.add_hex(0xdead_beef);
        assert_eq!(text.bytes(), b"0x0 0xdeadbeef");
        text.add(&[b'x'; 200]);
        assert_eq!(text.bytes().len(), 128);
    }
}
