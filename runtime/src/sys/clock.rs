//! Clocks that std does not offer.
#![allow(unsafe_code)]

/// Nanoseconds of CLOCK_MONOTONIC_COARSE: right to a few milliseconds.
pub(crate) fn coarse_nanos() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is writable for the call.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &mut now) };
    (now.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec as u64)
}

/// Milliseconds since 1970, of CLOCK_REALTIME_COARSE: right to a few of them, and a few nanoseconds to read.
#[cfg(feature = "journal")]
pub(crate) fn wall_millis() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is writable for the call.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME_COARSE, &mut now) };
    (now.tv_sec as u64).wrapping_mul(1_000).wrapping_add(now.tv_nsec as u64 / 1_000_000)
}

/// Seconds of CLOCK_MONOTONIC_COARSE: equal in all processes, never set, a few nanoseconds to read.
pub(crate) fn coarse_seconds() -> u32 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is writable for the call.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &mut now) };
    now.tv_sec as u32
}

/// Nanoseconds of CLOCK_MONOTONIC: equal in all processes, never set. Never 0.
pub(crate) fn monotonic_nanos() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is writable for the call.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    (now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64).max(1)
}

/// What the calling thread has had of a CPU, and how often it gave one up to wait for something.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ThreadTime {
    /// In nanoseconds.
    cpu: u64,
    waits: libc::c_long,
}

impl ThreadTime {
    /// Two system calls.
    pub(crate) fn now() -> ThreadTime {
        let mut cpu = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: a rusage is plain integers, for which zero is valid.
        let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
        // SAFETY: both are writable for the calls.
        unsafe {
            libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut cpu);
            libc::getrusage(libc::RUSAGE_THREAD, &mut usage);
        }
        let cpu = (cpu.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(cpu.tv_nsec as u64);
        ThreadTime { cpu, waits: usage.ru_nvcsw }
    }

    /// How long what was done since then takes by itself, of the `wall` nanoseconds that passed: without the time in which the thread could
    /// have run and others had the CPU, if it never waited for anything but a CPU.
    pub(crate) fn own_since(self, then: ThreadTime, wall: u64) -> u64 {
        if self.waits == then.waits { wall.min(self.cpu.saturating_sub(then.cpu)) } else { wall }
    }
}
