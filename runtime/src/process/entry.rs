//! How a process finds out that it is a child, before `main`.
//!
//! A hook in `.init_array` looks for one environment variable. Without it (every normal start) it returns, some 30 ns later. With it, it
//! runs the module's *remaining* constructors itself, as tasks are registered by constructors and which of them come before the
//! hook is the linker's choice, then becomes the child, and exits: `main` never runs.
//!
//! # Invariants of the unsafe code here
//! The hook runs once, on the only thread, before `main`. The array's bounds come from the linker, and lie in this module.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int};
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use super::boot::{Boot, MAX_IN_PIPE};
use super::{build, child};
use crate::sys;

/// The environment variable that makes a process a child: the number of the pipe that holds its boot message, a dot, the parent's pid.
pub(crate) const FLAG: &str = "OFFSPRING_CHILD";
/// Stays in a child's environment and is inherited by every command it runs: how many generations it is away from a program that was
/// started by hand.
pub(crate) const DEPTH: &str = "OFFSPRING_DEPTH";

const FLAG_PREFIX: &CStr = c"OFFSPRING_CHILD=";

type Constructor = extern "C" fn(c_int, *const *const c_char, *const *const c_char);

#[cfg(not(offspring_no_entry))]
#[used]
#[unsafe(link_section = ".init_array")]
static HOOK: Constructor = hook;

/// Has the hook run in this process? Where it was not linked in, a child would run `main` again.
static HOOK_RAN: AtomicBool = AtomicBool::new(false);
/// Has `init` run in this process?
static INIT_RAN: AtomicBool = AtomicBool::new(false);

unsafe extern "C" {
    static environ: *const *const c_char;
    #[cfg(not(offspring_no_entry))]
    #[link_name = "__init_array_end"]
    static ARRAY_END: [usize; 0];
}

/// Has a process of this program, when it is started as a child, something that makes it one?
pub(crate) fn is_armed() -> bool {
    if build::in_main_program() { HOOK_RAN.load(Ordering::Relaxed) } else { INIT_RAN.load(Ordering::Relaxed) }
}

#[cfg(not(offspring_no_entry))]
extern "C" fn hook(argc: c_int, argv: *const *const c_char, envp: *const *const c_char) {
    HOOK_RAN.store(true, Ordering::Relaxed);
    // In a shared library the program's own constructors, and so its tasks, come later: that child waits for `init`.
    if flag().is_some()
        && build::in_main_program()
        && let Some((mut boot, lifeline)) = take_boot()
    {
        // Before constructors that may open descriptors of their own.
        let fds = child::prepare(&mut boot, lifeline);
        run_remaining_constructors(argc, argv, envp);
        child::run(&boot, fds);
    }
}

/// Makes this process the child that it was started as, where the automatic entry cannot.
///
/// Call it first in `main` where this crate is not part of the main program: in a Rust `dylib`, or in a program that is loaded by another.
/// In all other programs children are recognised before `main`, and calling this does nothing.
///
/// In a child it does not return. When the process has other threads already, it does nothing: starting children is then refused.
///
/// # Examples
/// ```
/// offspring::init();
/// // the program
/// ```
pub fn init() {
    // With other threads, changing the environment would be a race; and a task would not be alone in its process. Called too late, it is
    // as if it were not called: see `guard`.
    if build::in_main_program() || !sys::proc::is_single_threaded() {
        return;
    }
    INIT_RAN.store(true, Ordering::Relaxed);
    if flag().is_some()
        && let Some((mut boot, lifeline)) = take_boot()
    {
        let fds = child::prepare(&mut boot, lifeline);
        child::run(&boot, fds);
    }
}

/// The flag's value, if this process has one.
pub(crate) fn flag() -> Option<&'static CStr> {
    let prefix = FLAG_PREFIX.to_bytes();
    // SAFETY: the C library keeps `environ` a null-terminated array of C strings, or null. Before `main` nobody changes it; later
    // callers hold that promise by std's rule for `set_var`.
    unsafe {
        let mut entry = environ;
        while !entry.is_null() && !(*entry).is_null() {
            let mut text = *entry;
            if prefix.iter().all(|&byte| {
                let same = *text as u8 == byte;
                text = text.wrapping_add(usize::from(same));
                same
            }) {
                return Some(CStr::from_ptr(text));
            }
            entry = entry.add(1);
        }
        None
    }
}

/// Reads the boot message that the flag names, and removes the flag. `None`: the flag is none of ours, and stays, so that
/// starting a child from here is refused.
fn take_boot() -> Option<(Boot, OwnedFd)> {
    let value = flag()?.to_str().ok()?;
    let (fd, parent) = value.split_once('.')?;
    let (fd, parent): (RawFd, u32) = (fd.parse().ok()?, parent.parse().ok()?);
    // Zero: the parent is outside this process's pid namespace.
    let real_parent = sys::proc::parent_pid();
    if fd < 3 || !sys::fd::is_inherited_pipe(fd) {
        return None;
    }
    // SAFETY: the descriptor came through `exec`, as it has no close-on-exec; the program that put the number into the variable left it open for
    // us. An earlier constructor may own descriptors, but has opened them itself, and so under other numbers; whoever takes over one that
    // came through `exec`, as here, does so by an unsafe promise of its own.
    let lifeline = unsafe { sys::fd::adopt(fd) }.ok()?;
    if real_parent != parent && real_parent != 0 {
        // The parent is gone: its other children are ended too.
        exit_now(child::EXIT_ORPHANED);
    }
    let mut bytes = [0; MAX_IN_PIPE];
    let len = nonblocking_read(&lifeline, &mut bytes);
    let Some(boot) = Boot::decode(&bytes[..len]) else {
        exit_now(if len == 0 { child::EXIT_ORPHANED } else { child::EXIT_WRONG_BUILD });
    };
    // SAFETY: no other thread reads or changes the environment: `init` has made sure that there is none, and before `main` threads of an
    // earlier constructor would have to count on an environment that the C library itself still sets up.
    unsafe { std::env::remove_var(FLAG) };
    Some((boot, lifeline))
}

/// The message was written before this process was made, so it is there, or the parent is gone.
fn nonblocking_read(pipe: &OwnedFd, bytes: &mut [u8]) -> usize {
    match sys::fd::is_readable(pipe.as_fd()) {
        Ok(true) => nix::unistd::read(pipe, bytes).unwrap_or(0),
        _ => 0,
    }
}

/// Ends the process at once, running nothing.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: does not return, and touches nothing.
    unsafe { libc::_exit(code) }
}

/// Runs the constructors that come after the hook in this module's array.
#[cfg(not(offspring_no_entry))]
fn run_remaining_constructors(argc: c_int, argv: *const *const c_char, envp: *const *const c_char) {
    // The compiler knows `HOOK` as an array of one and would remove a loop that walks past it: so it must not know where the address is from.
    let mut entry = launder((&raw const HOOK).cast()).wrapping_add(1);
    let end = launder((&raw const ARRAY_END).cast());
    while entry < end {
        // SAFETY: `entry` lies in the array, which the linker made of pointers to constructors; by convention 0 and -1 are none.
        unsafe {
            let address = *entry;
            if address != 0 && address != usize::MAX {
                std::mem::transmute::<usize, Constructor>(address)(argc, argv, envp);
            }
        }
        entry = entry.wrapping_add(1);
    }
}

#[cfg(not(offspring_no_entry))]
fn launder(pointer: *const usize) -> *const usize {
    let mut address = pointer.expose_provenance();
    // SAFETY: empty; it only hides from the compiler what the address is.
    unsafe { std::arch::asm!("/* {0} */", inout(reg) address, options(nomem, nostack, preserves_flags)) };
    std::ptr::with_exposed_provenance(address)
}
