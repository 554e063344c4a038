//! What this process has used of the machine.
#![allow(unsafe_code)]

use std::sync::OnceLock;

/// What this process has used so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct InProcess {
    /// Nanoseconds of CPU time of all its threads, to a microsecond.
    pub(crate) cpu: u64,
    /// The most memory that it ever had resident, in KiB; shared memory that it touched included.
    pub(crate) peak_kib: u64,
}

/// One system call.
pub(crate) fn in_process() -> InProcess {
    // SAFETY: all zero is a valid `rusage`, which is plain numbers.
    let mut used: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `used` is writable for the call.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut used) };
    let nanos = |time: libc::timeval| time.tv_sec as u64 * 1_000_000_000 + time.tv_usec as u64 * 1_000;
    let peak = used.ru_maxrss.max(0) as u64;
    let inherited = inherited_peak(peak);
    let peak_kib = if peak > inherited { peak } else { own_peak().unwrap_or(peak) };
    InProcess { cpu: nanos(used.ru_utime) + nanos(used.ru_stime), peak_kib }
}

/// What Linux counts as this process's peak although it was its parent's: `exec` hands it on from whoever shared memory with the process
/// before it. In KiB; 0: nothing.
fn inherited_peak(now: u64) -> u64 {
    static INHERITED: OnceLock<u64> = OnceLock::new();
    *INHERITED.get_or_init(|| match own_peak() {
        // The two are counted a little apart.
        Some(own) if now > own + own / 8 + 1024 => now,
        _ => 0,
    })
}

/// The peak of this process's memory since its `exec`, in KiB.
fn own_peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let high = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    high.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_and_memory_show() {
        let before = in_process();
        let mut memory = vec![1u8; 64 << 20];
        for round in 0..40u8 {
            memory.iter_mut().for_each(|byte| *byte = byte.wrapping_mul(31).wrapping_add(round));
        }
        std::hint::black_box(&memory);
        let after = in_process();
        assert!(after.cpu > before.cpu, "{before:?} {after:?}");
        assert!(after.peak_kib >= 64 << 10, "{after:?}");
    }
}
