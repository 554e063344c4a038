//! What every kind of program in the matrix does.
//!
//! ```
//! use offspring::task;
//!
//! #[task]
//! fn triple(x: u64) -> u64 {
//!     3 * x
//! }
//!
//! assert_eq!(offspring::spawn(triple, 4).unwrap().join().unwrap(), 12);
//! app::check();
//! ```
use offspring::{Pool, Process, StartMethod, task};

#[task]
fn square(x: u64) -> u64 {
    x * x
}

#[task]
fn generations(left: u64) -> u64 {
    if left == 0 { 0 } else { 1 + offspring::spawn(generations, left - 1).unwrap().join().unwrap() }
}

#[task]
fn fail(text: String) {
    panic!("{text}");
}

/// How often constructors of this program ran in this process: more than once means that an entry ran them again.
static CONSTRUCTED: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);

extern "C" fn construct() {
    CONSTRUCTED.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
}

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn() = construct;

#[task]
fn constructed() -> u32 {
    CONSTRUCTED.load(std::sync::atomic::Ordering::Relaxed)
}

/// Tasks here and in a library, both start methods, a pool, grandchildren, a panic.
pub fn check() {
    for method in [StartMethod::Spawn, StartMethod::ForkServer] {
        let new = |x| Process::new(square, x).start_method(method).spawn().unwrap();
        assert_eq!(new(7).join().unwrap(), 49);
        let child = Process::new(tasklib::double, 7).start_method(method).spawn().unwrap();
        assert_eq!(child.join().unwrap(), 14);
        let child = Process::new(constructed, ()).start_method(method).spawn().unwrap();
        assert_eq!(child.join().unwrap(), 1);
        let error = Process::new(fail, "on purpose").start_method(method).stderr(offspring::process::Stream::null());
        let error = error.spawn().unwrap().join().unwrap_err();
        assert!(error.is_panicked() && error.to_string().contains("on purpose"), "{error}");
    }
    assert_eq!(offspring::spawn(generations, 3).unwrap().join().unwrap(), 3);
    assert_eq!(tasklib::double_all(&[1, 2, 3]), [2, 4, 6]);
    let pool = Pool::new().unwrap();
    assert_eq!(pool.map(square, 0..100).unwrap(), (0..100).map(|x| x * x).collect::<Vec<u64>>());
}

#[cfg(test)]
mod tests {
    #[test]
    fn children_are_entered_from_a_unit_test() {
        super::check();
    }
}
