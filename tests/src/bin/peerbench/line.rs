//! Clocks, statistics, and the lines that are printed.

use std::io::{self, Write};
use std::time::Instant;

/// Prints a figure.
pub(crate) fn figure(w: &str, case: &str, peer: &str, value: f64, unit: &str, n: usize) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, r#"{{"w":"{w}","case":"{case}","peer":"{peer}","value":{value:.6},"unit":"{unit}","n":{n}}}"#)?;
    out.flush()
}

/// Prints what happened in words.
pub(crate) fn text(w: &str, case: &str, peer: &str, text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, r#"{{"w":"{w}","case":"{case}","peer":"{peer}","text":{text:?}}}"#)?;
    out.flush()
}

/// Prints why a workload failed, on stderr.
pub(crate) fn say(why: &str) {
    // There is nobody to tell if stderr is closed.
    let _ = writeln!(io::stderr(), "{why}");
}

/// Runs `call` `n` times; returns the microseconds of each, sorted.
pub(crate) fn time_each<E>(n: usize, mut call: impl FnMut() -> Result<(), E>) -> Result<Vec<f64>, E> {
    let mut times = Vec::with_capacity(n);
    for _ in 0..n {
        let start = Instant::now();
        call()?;
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}

/// The time at `share` (0.5 the median) of sorted times.
pub(crate) fn percentile(times: &[f64], share: f64) -> f64 {
    times[((times.len() as f64 * share) as usize).min(times.len() - 1)]
}
