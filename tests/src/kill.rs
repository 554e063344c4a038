//! SIGKILL at random times.

use crate::sys;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Sends SIGKILL to `pid` by a pidfd.
///
/// # Errors
///
/// When there is no such process.
pub fn sigkill(pid: i32) -> io::Result<()> {
    signal(pid, libc::SIGKILL)
}

/// Sends `signal` to `pid` by a pidfd.
///
/// # Errors
///
/// When there is no such process.
pub fn signal(pid: i32, signal: i32) -> io::Result<()> {
    sys::pidfd_send_signal(&sys::pidfd_open(pid)?, signal)
}

/// Random numbers from a seed that is printed, so that a failure can be repeated: `OFFSPRING_TESTS_SEED=…` sets it.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Takes the seed from `OFFSPRING_TESTS_SEED`, else from the clock; prints it.
    pub fn from_env() -> Random {
        let given = std::env::var("OFFSPRING_TESTS_SEED").ok().and_then(|text| text.parse().ok());
        let seed = given.unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            now.as_nanos() as u64 ^ u64::from(std::process::id()) << 40
        });
        let test = thread::current().name().unwrap_or("?").to_owned();
        eprintln!("{test}: OFFSPRING_TESTS_SEED={seed}");
        Random::new(seed)
    }

    /// The numbers of this seed.
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next number (splitmix64).
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.number() % bound }
    }

    /// A time within `range`.
    pub fn time(&mut self, range: &Range<Duration>) -> Duration {
        let span = range.end.saturating_sub(range.start).as_nanos() as u64;
        range.start + Duration::from_nanos(self.below(span))
    }
}

/// A thread that kills a random one of some processes again and again; [`stop`](Storm::stop) ends it.
#[derive(Debug)]
pub struct Storm {
    stop: Arc<AtomicBool>,
    hits: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Storm {
    /// Starts killing: after each pause, of random length within `pause`, a random one of `victims()`.
    ///
    /// # Panics
    ///
    /// When no thread can be started.
    pub fn start(
        mut random: Random,
        pause: Range<Duration>,
        mut victims: impl FnMut() -> Vec<i32> + Send + 'static,
    ) -> Storm {
        let stop = Arc::new(AtomicBool::new(false));
        let hits = Arc::new(AtomicUsize::new(0));
        let (stopped, hit) = (stop.clone(), hits.clone());
        let run = move || {
            while !stopped.load(Ordering::Relaxed) {
                thread::sleep(random.time(&pause));
                let pids = victims();
                let Some(&pid) = pids.get(random.below(pids.len() as u64) as usize) else { continue };
                if sigkill(pid).is_ok() {
                    hit.fetch_add(1, Ordering::Relaxed);
                }
            }
        };
        let thread = thread::Builder::new().name("storm".to_owned()).spawn(run).expect("a thread for the storm");
        Storm { stop, hits, thread: Some(thread) }
    }

    /// How many signals were delivered so far. One may have met a process that was just ending by itself.
    pub fn hits(&self) -> usize {
        self.hits.load(Ordering::Relaxed)
    }

    /// Ends the killing; returns how many signals were delivered.
    pub fn stop(mut self) -> usize {
        self.end();
        self.hits()
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    #[test]
    fn a_storm_kills_and_counts() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = child.id() as i32;
        let storm = Storm::start(Random::from_env(), Duration::ZERO..Duration::from_millis(2), move || vec![pid]);
        assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
        assert!(storm.stop() >= 1);
    }

    #[test]
    fn the_same_seed_gives_the_same_times() {
        let range = Duration::from_millis(1)..Duration::from_millis(9);
        let times = |seed| (0..9).map(|_| 0).scan(Random::new(seed), |it, _| Some(it.time(&range))).collect::<Vec<_>>();
        assert_eq!(times(7), times(7));
        assert!(times(7) != times(8) && times(7).iter().all(|time| range.contains(time)));
    }
}
