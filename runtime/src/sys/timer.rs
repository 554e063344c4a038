//! A timer of CPU time: `timer_create(2)` on the clock of this process.
#![allow(unsafe_code)]

use std::io;
use std::time::Duration;

use crate::Signal;

/// Sends this process a signal when its threads together have used so much CPU time since it was set.
#[derive(Debug)]
pub(crate) struct CpuTimer(libc::c_int);

impl CpuTimer {
    /// A timer that is not set.
    pub(crate) fn new(signal: Signal) -> io::Result<CpuTimer> {
        let mut id: libc::c_int = 0;
        // SAFETY: the event is plain integers and a union of which nothing is read for this kind of notification; the kernel writes one
        // integer, its own kind of timer id.
        let result = unsafe {
            let mut event: libc::sigevent = std::mem::zeroed();
            event.sigev_notify = libc::SIGEV_SIGNAL;
            event.sigev_signo = signal.as_raw();
            libc::syscall(libc::SYS_timer_create, libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut event, &raw mut id)
        };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(CpuTimer(id)) }
    }

    /// Sets it anew, counting from now.
    pub(crate) fn set(&self, after: Duration) {
        let time = libc::timespec {
            tv_sec: libc::time_t::try_from(after.as_secs()).unwrap_or(libc::time_t::MAX),
            // Below 10^9, so it fits every width of this field. Zero in both would stop the timer.
            tv_nsec: after.subsec_nanos().max(1) as _,
        };
        let value = libc::itimerspec { it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 }, it_value: time };
        // SAFETY: reads a local. It fails for no valid timer and time.
        unsafe {
            libc::syscall(
                libc::SYS_timer_settime,
                self.0,
                0,
                &raw const value,
                std::ptr::null_mut::<libc::itimerspec>(),
            )
        };
    }
}

impl Drop for CpuTimer {
    fn drop(&mut self) {
        // SAFETY: takes an integer.
        unsafe { libc::syscall(libc::SYS_timer_delete, self.0) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_can_be_made_and_set_again() {
        let timer = CpuTimer::new(Signal::XCPU).unwrap();
        timer.set(Duration::from_secs(1000));
        timer.set(Duration::from_secs(2000));
    }
}
