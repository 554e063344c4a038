//! Fatal signals in a child: a note of the circumstances and of where they came, then the signal's own effect.
//!
//! `std` reports stack overflows from a handler that it installs in `main`, which a child never reaches; this does the same and more.
//! A signal that already has a handler, by a constructor of the program, is left alone.
//!
//! # What the handler may do
//!
//! It runs on a stack of its own, at any instruction. First it writes the note without a trace, which takes only stores to shared memory;
//! whatever happens after that, the signal and the place are known. Then it walks the stack, which is the risk: the unwinder takes no
//! lock and no memory where the C library has `_dl_find_object` (glibc from 2.35 on), but elsewhere it may take the dynamic linker's
//! lock, and a stack that was trampled on may lead it anywhere. So there are two ways out, both ending the process by the signal that it
//! got first: a second fault on the way comes to the same handler, which sees the first one's mark; and a timer ends a walk that hangs.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::io;
use std::sync::atomic::Ordering::*;
use std::sync::atomic::{AtomicI32, AtomicUsize};

use super::note;
use crate::Signal;
use crate::sys::signal::{Action, end_by, install_alternate_stack, is_handled, raise, set_action, start_timer};
use crate::sys::trace::{self, MOST_FRAMES};

const FATAL: [Signal; 6] = [Signal::SEGV, Signal::BUS, Signal::ILL, Signal::FPE, Signal::ABRT, Signal::SYS];

/// So long may a walk over the stack take.
const PATIENCE_MS: u32 = 500;

/// The lowest address the main thread's stack may grow to, to tell an overflow from another bad access.
static STACK_END: AtomicUsize = AtomicUsize::new(0);

/// The signal that is being handled, or 0; and the thread that does it.
static FIRST: AtomicI32 = AtomicI32::new(0);
static THREAD: AtomicI32 = AtomicI32::new(0);

/// Installs the handlers, and a stack for them, on the calling thread: the main one.
pub(crate) fn install() -> io::Result<()> {
    let here = 0u8;
    let limit = crate::sys::proc::limit(libc::RLIMIT_STACK as usize).map_or(8 << 20, |(soft, _)| soft);
    let limit = usize::try_from(limit).unwrap_or(usize::MAX).min(1 << 30);
    STACK_END.store((&raw const here as usize).saturating_sub(limit), Relaxed);
    install_alternate_stack()?;
    FATAL
        .into_iter()
        .filter(|signal| !is_handled(*signal))
        .try_for_each(|signal| set_action(signal, Action::Handler(handler)))
}

/// Touches the slot's note, standard error and nothing else, but for what walks the stack.
extern "C" fn handler(number: libc::c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let Some(signal) = Signal::from_raw(number) else { return };
    // SAFETY: takes nothing.
    let me = unsafe { libc::syscall(libc::SYS_gettid) } as i32;
    if FIRST.compare_exchange(0, number, SeqCst, SeqCst).is_err() {
        if THREAD.load(SeqCst) != me {
            // The other thread ends this process in a moment.
            wait_for_the_end();
        }
        end_as_first();
    }
    THREAD.store(me, SeqCst);
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
    if start_timer(PATIENCE_MS, out_of_time).is_ok() {
        let mut frames = [trace::NO_FRAME; MOST_FRAMES];
        // SAFETY: the kernel hands a handler with SA_SIGINFO the context that it interrupted; what can go wrong in the walk is seen to above.
        let found = unsafe { trace::of_signal(context, &mut frames) };
        note::write_crash(text.bytes(), &frames[..found]);
    }
    _ = set_action(signal, Action::Default);
    if !fault {
        // Sent by somebody, abort() included: it would not come again by itself. Blocked until this handler returns.
        raise(signal);
    }
}

extern "C" fn out_of_time(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
    end_as_first();
}

/// Ends this process at once by the signal that came first.
fn end_as_first() -> ! {
    let first = Signal::from_raw(FIRST.load(SeqCst)).unwrap_or(Signal::KILL);
    end_by(first)
}

fn wait_for_the_end() -> ! {
    loop {
        // SAFETY: waits for a signal.
        unsafe { libc::pause() };
    }
}

/// The guard is where the stack's limit says, give or take what lies above it at the start.
fn is_stack_overflow(address: usize) -> bool {
    let end = STACK_END.load(Relaxed);
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
