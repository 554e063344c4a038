//! How a process comes by an arena: the root creates the family's, every other member attaches it.
//!
//! Invariants of the unsafe code here: a mapping that is handed to `Map::new` is never unmapped; `FAMILY` points to a leaked
//! `Arena` or to nothing; the page that a fork wipes is private, leaked, and holds one atomic word.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::Mutex;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use super::id::Owner;
use super::layout::{LEN_MAX, LEN_MIN, Layout, Map};
use super::local::Local;
use super::slots::Life;
use super::{Arena, ArenaError, budget};
use crate::sys::mem::{self, Advice};

/// "offspr" and the version of the layout.
const MAGIC: u64 = u64::from_le_bytes(*b"offspr\x00\x01");
/// A family's mapping is at least this long where address space is not limited.
const LEN_USUAL: usize = 64 << 30;

static FAMILY: AtomicPtr<Arena> = AtomicPtr::new(ptr::null_mut());
static CREATING: Mutex<()> = Mutex::new(());

/// The descriptors by which a child attaches its family's arena.
#[derive(Debug)]
pub(crate) struct ArenaFds {
    /// The memory.
    pub(crate) memfd: OwnedFd,
    /// The liveness locks.
    pub(crate) locks: OwnedFd,
}

/// The family's arena: what this process attached when it started, else one that it creates now as the root of a family.
pub(crate) fn family() -> Result<&'static Arena, ArenaError> {
    match attached() {
        Some(arena) => arena.check().map(|()| arena),
        None => create_family(),
    }
}

fn attached() -> Option<&'static Arena> {
    // SAFETY: null, or a leaked `Arena` published with Release.
    unsafe { FAMILY.load(Ordering::Acquire).as_ref() }
}

/// Is there a family's arena, made or attached by this process or the one it is a fork of?
pub(crate) fn has_family() -> bool {
    attached().is_some()
}

/// The family's arena, if there is one.
#[cfg(feature = "testing")]
pub(crate) fn existing_family() -> Option<&'static Arena> {
    attached().filter(|arena| arena.check().is_ok())
}

#[cold]
fn create_family() -> Result<&'static Arena, ArenaError> {
    let _creating = CREATING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(arena) = attached() {
        return arena.check().map(|()| arena);
    }
    let arena = create(usual_len(), budget::of_system())?;
    FAMILY.store(ptr::from_ref(arena).cast_mut(), Ordering::Release);
    Ok(arena)
}

/// Attaches the family's arena as `me`, whose slot the parent reserved. The child entry calls this once, before anything
/// else uses the arena.
pub(crate) fn attach(fds: ArenaFds, me: Owner) -> Result<&'static Arena, ArenaError> {
    let _creating = CREATING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    // What a fork of a member finds here is its parent's and of no use to it.
    if attached().is_some_and(|arena| arena.check().is_ok()) {
        // Not closed: with any descriptor of the locks the kernel would drop this process's lock.
        std::mem::forget(fds);
        return Err(ArenaError::Foreign { what: "a second arena for this process" });
    }
    let arena = open(fds, me)?;
    FAMILY.store(ptr::from_ref(arena).cast_mut(), Ordering::Release);
    Ok(arena)
}

/// This process. Panics where there is no family or this is a `fork` of a member: call [`family`] first.
pub(crate) fn me() -> Owner {
    match family() {
        Ok(arena) => arena.me(),
        Err(error) => panic!("this process is no member of a family: {error}"),
    }
}

/// Four times the memory of the machine, so that address space is not what runs out, within 64 GiB and 1 TiB.
fn usual_len() -> usize {
    let wanted = usize::try_from(budget::memory_of_machine().saturating_mul(4)).unwrap_or(LEN_MAX);
    wanted.checked_next_power_of_two().unwrap_or(LEN_MAX).clamp(LEN_USUAL, LEN_MAX)
}

/// Where a member lives, which decides what it needs against forks and for its liveness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Habitat {
    /// In a process of its own, as always.
    Process,
    /// Beside others in a single-threaded process that is forked on purpose: forks keep the mapping, and who is alive is told
    /// by the lives of the slots.
    #[cfg(feature = "testing")]
    Stage,
}

/// Creates an arena of at most `len` bytes (a power of two) as the root of a new family.
pub(crate) fn create(len: usize, budget: u64) -> Result<&'static Arena, ArenaError> {
    create_in(len, budget, Habitat::Process)
}

/// As [`create`], as the first member in a stage.
#[cfg(feature = "testing")]
pub(crate) fn create_stage(len: usize, budget: u64) -> Result<&'static Arena, ArenaError> {
    create_in(len, budget, Habitat::Stage)
}

fn create_in(len: usize, budget: u64, habitat: Habitat) -> Result<&'static Arena, ArenaError> {
    let memfd = mem::memfd(c"offspring").map_err(needs("creating the family's shared memory", "memfd_create"))?;
    let locks =
        mem::memfd(c"offspring-locks").map_err(needs("creating the family's liveness locks", "memfd_create"))?;
    let (base, layout) = map_what_fits(&memfd, len)?;
    mem::seal_len(memfd.as_fd()).map_err(ArenaError::io("sealing the family's shared memory"))?;
    let id = random();
    // SAFETY: mapped just now with the length of the layout, and never unmapped.
    let map = unsafe { Map::new(base, layout) };
    let head = map.head();
    head.len.store(map.layout.len as u64, Ordering::Relaxed);
    head.id.store(id, Ordering::Relaxed);
    head.budget.store(budget, Ordering::Relaxed);
    head.high.store(map.layout.first_granule(), Ordering::Relaxed);
    head.magic.store(MAGIC, Ordering::Release);
    // The root is slot 0 in its first life, and its own parent, as 0 would say that nobody has the slot.
    let Some(me) = Owner::new(0, 1) else { return Err(ArenaError::TooManyProcesses) };
    map.slot_parent(0).store(me.raw(), Ordering::Relaxed);
    let slot = map.slot(0);
    slot.generation.store(1, Ordering::Relaxed);
    slot.pid.store(std::process::id(), Ordering::Relaxed);
    slot.life.store(Life::Live as u32, Ordering::Release);
    join(map, ArenaFds { memfd, locks }, me, habitat)
}

/// Attaches an existing arena as `me`.
pub(crate) fn open(fds: ArenaFds, me: Owner) -> Result<&'static Arena, ArenaError> {
    open_in(fds, me, Habitat::Process)
}

/// As [`open`], as another member in a stage.
#[cfg(feature = "testing")]
pub(crate) fn open_stage(fds: ArenaFds, me: Owner) -> Result<&'static Arena, ArenaError> {
    open_in(fds, me, Habitat::Stage)
}

fn open_in(fds: ArenaFds, me: Owner, habitat: Habitat) -> Result<&'static Arena, ArenaError> {
    const WHAT: &str = "the shared memory handed to this process";
    let len = mem::len(fds.memfd.as_fd()).map_err(ArenaError::io("measuring the family's shared memory"))?;
    let sealed = mem::is_sealed(fds.memfd.as_fd()).map_err(ArenaError::io("examining the family's shared memory"))?;
    let layout = usize::try_from(len).ok().and_then(Layout::of).filter(|_| sealed);
    let Some(layout) = layout else { return Err(ArenaError::Foreign { what: WHAT }) };
    let base =
        mem::map_shared(fds.memfd.as_fd(), layout.len).map_err(ArenaError::io("mapping the family's shared memory"))?;
    // SAFETY: mapped just now with the length of the layout; only unmapped below, where nothing refers into it any more.
    let map = unsafe { Map::new(base, layout) };
    let head = map.head();
    let ours = head.magic.load(Ordering::Acquire) == MAGIC
        && head.len.load(Ordering::Relaxed) == len
        && map.slot(me.slot()).generation.load(Ordering::Acquire) == me.generation();
    if !ours {
        // SAFETY: `map` is dropped with this scope, and no reference into it was given away.
        unsafe { mem::unmap(base, map.layout.len) };
        return Err(ArenaError::Foreign { what: WHAT });
    }
    join(map, fds, me, habitat)
}

/// Maps `len` bytes, or half of it as often as limits of address space and file size demand.
fn map_what_fits(memfd: &OwnedFd, len: usize) -> Result<(NonNull<u8>, Layout), ArenaError> {
    const CONTEXT: &str = "mapping the family's shared memory";
    let mut len = len;
    while len as u64 > mem::file_size_limit() && len > LEN_MIN {
        len /= 2;
    }
    if len as u64 > mem::file_size_limit() {
        // Not tried: the kernel would send SIGXFSZ.
        return Err(ArenaError::Io { context: CONTEXT, source: std::io::Error::from_raw_os_error(libc::EFBIG) });
    }
    loop {
        let Some(layout) = Layout::of(len) else {
            return Err(ArenaError::Io { context: CONTEXT, source: std::io::Error::from_raw_os_error(libc::ENOMEM) });
        };
        let mapped = mem::set_len(memfd.as_fd(), len as u64).and_then(|()| mem::map_shared(memfd.as_fd(), len));
        match mapped {
            Ok(base) => return Ok((base, layout)),
            Err(_) if len / 2 >= LEN_MIN => len /= 2,
            Err(source) => return Err(ArenaError::Io { context: CONTEXT, source }),
        }
    }
}

/// Makes this process `me` in a mapping.
fn join(map: Map, fds: ArenaFds, me: Owner, habitat: Habitat) -> Result<&'static Arena, ArenaError> {
    const CONTEXT: &str = "keeping the family's shared memory out of forks";
    let id = map.head().id.load(Ordering::Relaxed);
    let len = map.layout.len;
    // SAFETY: the whole mapping is ours. A refusal only means larger core dumps.
    let _ = unsafe { mem::advise(map.base(), len, Advice::DontDump) };
    let here = match habitat {
        Habitat::Process => {
            // SAFETY: as above.
            unsafe { mem::advise(map.base(), len, Advice::DontFork) }.map_err(needs(CONTEXT, "MADV_DONTFORK"))?;
            let page = mem::map_wiped_on_fork(4096).map_err(needs(CONTEXT, "MADV_WIPEONFORK (Linux 4.14)"))?;
            // SAFETY: a fresh private page, aligned, zeroed, never unmapped; nobody else knows it.
            unsafe { page.cast::<AtomicU32>().as_ref() }
        }
        #[cfg(feature = "testing")]
        Habitat::Stage => Box::leak(Box::default()),
    };
    here.store(me.raw(), Ordering::Relaxed);
    let local = Local::default();
    let arena = Box::leak(Box::new(Arena {
        map,
        memfd: fds.memfd,
        locks: fds.locks,
        id,
        me,
        here,
        local,
        #[cfg(feature = "testing")]
        habitat,
    }));
    if habitat == Habitat::Process {
        arena.hold_liveness(me)?;
    }
    Ok(arena)
}

/// For `map_err`: the call failed while doing `context`, perhaps because the system does not know it.
fn needs(context: &'static str, what: &'static str) -> impl FnOnce(std::io::Error) -> ArenaError {
    move |source| match source.raw_os_error() {
        Some(libc::ENOSYS | libc::EINVAL) => ArenaError::Unsupported { what },
        _ => ArenaError::Io { context, source },
    }
}

/// A number that no two families share.
fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    let mut hasher = std::collections::hash_map::RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    hasher.finish()
}
