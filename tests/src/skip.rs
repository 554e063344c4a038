//! Skipping a test aloud.

/// Leaves the test, because this machine lacks what it needs; says so on stderr.
///
/// Where the environment variable `OFFSPRING_TESTS_NO_SKIP` is set, as in `.ci/run`, a skip is a failure: a suite that
/// silently tests nothing must not be green.
///
/// ```no_run
/// fn needs_proc() {
///     if !std::path::Path::new("/proc/self").exists() {
///         offspring_tests::skip!("/proc is not mounted");
///     }
/// }
/// ```
#[macro_export]
macro_rules! skip {
    ($($reason:tt)+) => {{
        $crate::refuse_skip(&format!($($reason)+), file!(), line!());
        return;
    }};
}

/// What [`skip!`](macro@crate::skip) does before it returns.
///
/// # Panics
///
/// Where `OFFSPRING_TESTS_NO_SKIP` is set.
pub fn refuse_skip(reason: &str, file: &str, line: u32) {
    eprintln!("skipped at {file}:{line}: {reason}");
    assert!(
        std::env::var_os("OFFSPRING_TESTS_NO_SKIP").is_none(),
        "skipped at {file}:{line}, but OFFSPRING_TESTS_NO_SKIP is set: {reason}"
    );
}
