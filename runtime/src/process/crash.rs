//! Where a process crashed, as its parent can say it: the child left only places in files, and names are looked up when somebody asks.

use std::fmt;
use std::sync::{Arc, OnceLock};

#[cfg(feature = "backtrace")]
use crate::sys::trace;
use crate::sys::trace::Frame;

/// The calls under way in a process when a fatal signal came, innermost first; from [`TaskError::crash`](crate::TaskError::crash).
///
/// The process itself, which could not be trusted any more, left only addresses. With the feature `backtrace` this process, which runs the
/// same program, finds the functions' names, files and lines when they are first asked for: that reads the program's debug
/// information, and takes some milliseconds to some hundred. Without that feature, and in files that are not loaded here, there are
/// addresses within files, as `addr2line -e program 0x1234` takes them.
///
/// # Examples
///
/// ```
/// use offspring::{Pool, Signal, task};
///
/// #[task]
/// fn read_at(address: usize) -> u8 {
///     // SAFETY: there is none; that is the point.
///     unsafe { std::ptr::with_exposed_provenance::<u8>(address).read_volatile() }
/// }
///
/// let pool = Pool::builder().workers(1).build()?;
/// let error = pool.call(read_at, 16).unwrap_err();
/// assert_eq!(error.exit_status().unwrap().signal(), Some(Signal::SEGV));
/// let crash = error.crash().unwrap();
/// assert!(!crash.frames().is_empty());
/// println!("{error}\n{crash}");
/// # Ok::<(), offspring::Error>(())
/// ```
#[derive(Clone)]
pub struct CrashTrace(Arc<Trace>);

struct Trace {
    frames: Vec<Frame>,
    resolved: OnceLock<Vec<CrashFrame>>,
}

/// One call of a [`CrashTrace`]. A call that the compiler has inlined is one of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CrashFrame {
    /// The function's name, if it is known.
    pub function: Option<String>,
    /// The source file, if it is known.
    pub file: Option<String>,
    /// The line in it, if it is known.
    pub line: Option<u32>,
    /// How far into the file of the program or library the instruction lies; its address, if it lies in none.
    pub address: u64,
    /// Is it code of the program itself, and not of a shared library?
    pub in_program: bool,
}

impl CrashTrace {
    pub(crate) fn new(frames: Vec<Frame>) -> CrashTrace {
        CrashTrace(Arc::new(Trace { frames, resolved: OnceLock::new() }))
    }

    /// The calls, innermost first: the first one is where the signal came. At most 96, more where some were inlined.
    ///
    /// The first time this reads debug information; see [`CrashTrace`].
    pub fn frames(&self) -> &[CrashFrame] {
        self.0.resolved.get_or_init(|| resolve(&self.0.frames))
    }

    /// The innermost call with a name that is the program's own: neither a library's nor of Rust's runtime.
    pub fn place(&self) -> Option<&CrashFrame> {
        const RUNTIME: [&str; 5] = ["std::", "core::", "alloc::", "rust_", "__rust"];
        let is_own = |frame: &&CrashFrame| {
            let name = frame.function.as_deref().unwrap_or_default().trim_start_matches(['<', '_']);
            // Inlined ones are named without their crate.
            let of_rust = |file: &str| file.starts_with("/rustc/") || file.contains("/lib/rustlib/src/");
            frame.in_program
                && !name.is_empty()
                && !frame.file.as_deref().is_some_and(of_rust)
                && !RUNTIME.iter().any(|prefix| name.starts_with(prefix))
        };
        self.frames().iter().find(is_own)
    }
}

#[cfg(feature = "backtrace")]
fn resolve(frames: &[Frame]) -> Vec<CrashFrame> {
    let mut resolved = Vec::new();
    for (frame, address) in frames.iter().zip(trace::addresses(frames)) {
        let before = resolved.len();
        if let Some(address) = address {
            // It takes all addresses for return addresses, and looks one before.
            backtrace::resolve(std::ptr::without_provenance_mut(address + 1), |symbol| {
                resolved.push(CrashFrame {
                    function: symbol.name().map(|name| format!("{name:#}")),
                    file: symbol.filename().map(|file| file.display().to_string()),
                    line: symbol.lineno(),
                    ..unnamed(frame)
                });
            });
        }
        if resolved.len() == before {
            resolved.push(unnamed(frame));
        }
    }
    resolved
}

#[cfg(not(feature = "backtrace"))]
fn resolve(frames: &[Frame]) -> Vec<CrashFrame> {
    frames.iter().map(unnamed).collect()
}

fn unnamed(frame: &Frame) -> CrashFrame {
    CrashFrame { function: None, file: None, line: None, address: frame.at, in_program: frame.file == 0 }
}

impl fmt::Display for CrashFrame {
    /// `function (file:line)`, as far as it is known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.function {
            Some(function) => f.write_str(function)?,
            None if self.in_program => write!(f, "the program at {:#x}", self.address)?,
            None => write!(f, "a library at {:#x}", self.address)?,
        }
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, " ({file}:{line})"),
            (Some(file), None) => write!(f, " ({file})"),
            (None, _) => Ok(()),
        }
    }
}

impl fmt::Display for CrashTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, frame) in self.frames().iter().enumerate() {
            let end = if number + 1 < self.frames().len() { "\n" } else { "" };
            write!(f, "{number:4}: {frame}{end}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for CrashTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CrashTrace").field(&self.0.frames).finish()
    }
}

impl PartialEq for CrashTrace {
    fn eq(&self, other: &CrashTrace) -> bool {
        self.0.frames == other.0.frames
    }
}

impl Eq for CrashTrace {}
