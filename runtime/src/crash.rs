//! Named points at which a test has this process killed.
//!
//! `OFFSPRING_CRASH_AT=NAME` or `NAME:N` kills it the first, or the Nth time that it comes to that point. In builds without the feature
//! `testing` there are none.

/// Ends this process by SIGKILL if a test wants that here.
#[cfg(feature = "testing")]
pub(crate) fn point(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    static WANTED: OnceLock<Option<(String, AtomicU64)>> = OnceLock::new();
    let wanted = WANTED.get_or_init(|| {
        let wanted = std::env::var("OFFSPRING_CRASH_AT").ok()?;
        let (name, left) = wanted.split_once(':').unwrap_or((&wanted, "1"));
        Some((name.to_owned(), AtomicU64::new(left.parse().ok()?)))
    });
    if let Some((at, left)) = wanted
        && at == name
        && left.fetch_sub(1, Relaxed) == 1
    {
        let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
    }
}

#[cfg(all(feature = "journal", not(feature = "testing")))]
pub(crate) fn point(_: &str) {}
