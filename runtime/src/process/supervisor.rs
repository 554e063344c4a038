//! The one thread of a process that has children: it makes those that are executed anew, sees each end, recovers what the dead held, and says so.
//!
//! It is the parent of every child in the kernel's eyes and lives as long as the process: a child is killed when the *thread* that made it
//! ends; so this one ends only when the program has closed its epoll descriptor, and with it all children. It sleeps in `epoll_wait` and does nothing while nothing happens. Signals are for the program's own threads: it blocks all.
//!
//! ```text
//! start(spec)                                       any thread
//!   slot RESERVED -> boot message, descriptors      by the caller
//!   ForkServer: request to the server               by the caller, one at a time
//!   Spawn: clone + exec                             by the supervisor's thread
//!   slot STARTING, child in the table, then polled
//! process descriptor readable                       the supervisor's thread
//!   the child reaped; its descendants killed and awaited, audited bottom-up; the child audited; slot released
//!   handle told, `on_death` called
//! ```
//! Killed at any point, the caller or supervisor leaves a slot whose parent is this process: the audit of this process, by its own parent,
//! finds it. The children die by themselves.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc};
use std::thread::{self, ThreadId};
use std::time::Duration;

use super::error::SpawnError;
use super::fork_server::{ForkServer, Refused};
use super::handle::{ChildHandle, Death};
use super::launch::{FamilyFds, Launch, Lifeline, effective_method};
use super::oom::OomKills;
use super::spec::{ChildSpec, OnDeath, StartMethod};
use super::stderr_tail::{self, Tail};
use super::{child, exit, guard, mourning};
use crate::arena::{self, Arena, Life, Owner, Verdict};
use crate::status::Usage;
use crate::sys::pidfd::Reaped;
use crate::sys::proc::{self, Namespaces, Rights};
use crate::sys::spawn::Spawned;
use crate::sys::{self, fd::Poller};
use crate::{ExitStatus, Signal};

const WAKE: u64 = u64::MAX;
const FORK_SERVER: u64 = u64::MAX - 1;
/// Tokens from here on are of things watched for others; below are slots of children.
const WATCHED: u64 = 1 << 32;

/// How often a start is tried again with another fork server after one ended.
const FORK_SERVER_TRIES: usize = 3;

/// A new process, and the writing end of the pipe that it dies with.
type Started = (Spawned, OwnedFd);

type Job = Box<dyn FnOnce(&Supervisor) + Send>;

/// Something with a descriptor that the supervisor's thread looks at: a command, signals.
pub(crate) trait Watched: Send + Sync {
    /// Its descriptor is readable. Called on the supervisor's thread; must not block. `true`: it is to be watched on.
    fn ready(&self) -> bool;
    /// It is not watched any more, as the supervisor's thread could not go on.
    fn lost(&self);
}

/// The number of something watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Watch(u64);

/// The supervisor of this process.
pub(crate) struct Supervisor {
    arena: &'static Arena,
    pid: u32,
    poller: Poller,
    wake: OwnedFd,
    thread: OnceLock<ThreadId>,
    jobs: Mutex<VecDeque<Job>>,
    children: Mutex<BTreeMap<u32, Entry>>,
    watched: Mutex<BTreeMap<u64, Arc<dyn Watched>>>,
    fork_server: Mutex<Option<ForkServer>>,
    /// How the last fork server ended.
    fork_server_end: Mutex<Option<ExitStatus>>,
    /// What the supervisor's thread may do, as last read by itself.
    rights: Mutex<Option<(Rights, Namespaces)>>,
    /// Has its thread ended, as it cannot see children end any more?
    is_lost: AtomicBool,
    oom_kills: OomKills,
}

/// A child that has ended, but not for this process yet.
struct StillThere;

struct Entry {
    handle: Arc<ChildHandle>,
    /// The child dies with it.
    _lifeline: OwnedFd,
    on_death: Option<OnDeath>,
    tail: Option<Tail>,
    /// OOM victims when it was started.
    oom_kills: Option<u64>,
}

static INSTANCE: OnceLock<Arc<Supervisor>> = OnceLock::new();

/// Nothing that is done under one of these locks leaves the value half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a child. Blocks until its process exists, not until it runs.
pub(crate) fn start(mut spec: ChildSpec) -> Result<Arc<ChildHandle>, SpawnError> {
    guard::check()?;
    let supervisor = Supervisor::get()?;
    let slots = supervisor.arena.slots();
    let owner = slots.reserve(supervisor.arena.me())?;
    let started = supervisor.start(&mut spec, owner);
    if started.is_err() {
        // Nobody has ever been alive in it.
        if supervisor.arena.audit(owner, Verdict::Clean).is_ok() {
            slots.release(owner);
        }
    }
    started
}

/// The children that are not known to have ended.
pub(crate) fn children() -> Vec<Arc<ChildHandle>> {
    let Some(supervisor) = INSTANCE.get().filter(|supervisor| supervisor.pid == std::process::id()) else {
        return vec![];
    };
    lock(&supervisor.children).values().map(|entry| entry.handle.clone()).collect()
}

/// Has the supervisor's thread call [`Watched::ready`] whenever `fd` is readable.
pub(crate) fn watch(fd: BorrowedFd<'_>, watched: Arc<dyn Watched>) -> Result<Watch, SpawnError> {
    static NEXT: AtomicU64 = AtomicU64::new(WATCHED);
    let supervisor = Supervisor::get()?;
    let token = NEXT.fetch_add(1, Ordering::Relaxed);
    lock(&supervisor.watched).insert(token, watched);
    let added = supervisor.poller.add(fd, token).map_err(SpawnError::io("watching a descriptor"));
    // Set before the watched are taken from the table: this one is among them, or this is seen.
    let lost = supervisor.is_lost.load(Ordering::SeqCst).then(lost);
    match added.and(lost.map_or(Ok(()), Err)) {
        Ok(()) => Ok(Watch(token)),
        Err(error) => {
            lock(&supervisor.watched).remove(&token);
            Err(error)
        }
    }
}

/// Ends a watch. The descriptor is still open.
pub(crate) fn unwatch(fd: BorrowedFd<'_>, Watch(token): Watch) {
    if let Some(supervisor) = INSTANCE.get().filter(|supervisor| supervisor.pid == std::process::id()) {
        _ = supervisor.poller.remove(fd);
        lock(&supervisor.watched).remove(&token);
    }
}

/// Starts another program: on the supervisor's thread, which lives as long as this process does, so that the signal at the parent thread's
/// end is the one at the process's end. `exec` gets that signal; none where the calling thread must start it, as it has given up rights that
/// the supervisor's thread has.
pub(crate) fn start_program<R: Send + 'static>(
    exec: impl FnOnce(Option<Signal>) -> R + Send + 'static,
) -> Result<R, SpawnError> {
    let supervisor = Supervisor::get()?;
    if supervisor.thread_has(proc::rights().map(|(rights, _)| rights))? {
        supervisor.on_thread(move |_| exec(Some(Signal::KILL)))
    } else {
        Ok(exec(None))
    }
}

/// The supervisor's thread could not do its work.
fn lost() -> SpawnError {
    let reason = "it could not go on: did the program close descriptors that are not its own?";
    SpawnError::Io { context: "the thread that supervises children", source: io::Error::other(reason) }
}

/// Is the calling thread the supervisor's?
pub(crate) fn is_this_thread() -> bool {
    INSTANCE.get().is_some_and(|supervisor| supervisor.thread.get() == Some(&thread::current().id()))
}

impl Supervisor {
    /// This process's supervisor; made at the first call.
    fn get() -> Result<&'static Supervisor, SpawnError> {
        static STARTING: Mutex<()> = Mutex::new(());
        if let Some(supervisor) = INSTANCE.get() {
            if supervisor.pid != std::process::id() {
                return Err(arena::ArenaError::Forked.into());
            }
            if supervisor.is_lost.load(Ordering::SeqCst) {
                return Err(lost());
            }
            return Ok(supervisor);
        }
        let starting = lock(&STARTING);
        if INSTANCE.get().is_none() {
            let supervisor = Arc::new(Supervisor::new()?);
            let on_thread = supervisor.clone();
            // Its stack also carries callbacks at the end of children.
            let thread = thread::Builder::new()
                .name("offspring".into())
                .spawn(move || on_thread.run())
                .map_err(SpawnError::io("starting the supervisor's thread"))?;
            _ = supervisor.thread.set(thread.thread().id());
            exit::wait_for_children_at_exit();
            _ = INSTANCE.set(supervisor);
        }
        drop(starting);
        Supervisor::get()
    }

    fn new() -> Result<Supervisor, SpawnError> {
        const CONTEXT: &str = "setting up the supervision of children";
        // Where process descriptors are missing, say so once and clearly, before anything is started.
        sys::pidfd::open(std::process::id()).map_err(|error| match error.raw_os_error() {
            Some(libc::ENOSYS | libc::EPERM) => SpawnError::Unsupported {
                reason: "process descriptors (pidfd_open) are not available: Linux 5.4 or newer is needed, outside sandboxes that \
                         filter that call"
                    .into(),
            },
            _ => SpawnError::io(CONTEXT)(error),
        })?;
        let arena = arena::family()?;
        let wake = sys::fd::event().and_then(sys::fd::above_streams).map_err(SpawnError::io(CONTEXT))?;
        let poller = Poller::new().map_err(SpawnError::io(CONTEXT))?;
        poller.add(wake.as_fd(), WAKE).map_err(SpawnError::io(CONTEXT))?;
        Ok(Supervisor {
            arena,
            pid: std::process::id(),
            poller,
            wake,
            thread: OnceLock::new(),
            jobs: Mutex::default(),
            children: Mutex::default(),
            watched: Mutex::default(),
            fork_server: Mutex::default(),
            fork_server_end: Mutex::default(),
            rights: Mutex::default(),
            is_lost: AtomicBool::new(false),
            oom_kills: OomKills::open(),
        })
    }

    fn family_fds(&self) -> FamilyFds {
        FamilyFds::new(self.arena)
    }

    fn start(&self, spec: &mut ChildSpec, owner: Owner) -> Result<Arc<ChildHandle>, SpawnError> {
        let tail = match spec.stderr_tail {
            true => {
                let (writer, tail) = stderr_tail::tee(spec.streams[2].take())
                    .map_err(SpawnError::io("making a pipe for a child's standard error"))?;
                spec.streams[2] = Some(writer);
                Some(tail)
            }
            false => None,
        };
        let launch = Launch::new(spec, owner)?;
        if let Some(slot) = self.arena.slots().get(owner) {
            slot.set_name(&spec.name);
            slot.boot.store(spec.boot.raw(), Ordering::Relaxed);
        }
        let started = match effective_method(spec.method) {
            StartMethod::Spawn => self.spawn(launch, proc::rights().map(|(rights, _)| rights))?,
            StartMethod::ForkServer => self.copy(launch, &spec.library_threads)?,
        };
        self.watch(spec, owner, started, tail)
    }

    /// Starts the child by executing this program anew.
    fn spawn(&self, mut launch: Launch, rights: Option<Rights>) -> Result<Started, SpawnError> {
        let family = self.family_fds();
        if self.thread_has(rights)? {
            return self.on_thread(move |_| launch.exec(family).map(|spawned| (spawned, launch.lifeline.writer)))?;
        }
        // Credentials, seccomp filters and namespaces belong to threads. What this one gave up, its child must not get back: so it makes the
        // child itself, which then hangs on its pipe alone, as this thread may end before.
        launch.boot.thread_is_permanent = false;
        launch.exec(family).map(|spawned| (spawned, launch.lifeline.writer))
    }

    /// Has the supervisor's thread the rights of the caller?
    fn thread_has(&self, rights: Option<Rights>) -> Result<bool, SpawnError> {
        let with_namespaces = |rights: Rights| {
            let namespaces = proc::namespaces(Some(&rights));
            (rights, namespaces)
        };
        let wanted = rights.map(with_namespaces);
        if wanted.is_none() || *lock(&self.rights) == wanted {
            return Ok(true);
        }
        let now = self.on_thread(move |_| proc::rights().map(|(rights, _)| with_namespaces(rights)))?;
        let same = now == wanted;
        *lock(&self.rights) = now;
        Ok(same)
    }

    /// Starts the child by having the fork server copy itself.
    fn copy(&self, mut launch: Launch, library_threads: &[(OsString, OsString)]) -> Result<Started, SpawnError> {
        let (rights, umask) = proc::rights().unzip();
        let (mut last, mut killed) = (String::new(), 0);
        for _ in 0..FORK_SERVER_TRIES {
            if lock(&self.fork_server).is_none() {
                let library_threads = library_threads.to_vec();
                self.on_thread(move |supervisor| supervisor.ensure_fork_server(&library_threads))??;
            }
            let mut server = lock(&self.fork_server);
            let Some(present) = &*server else {
                // Ended before it was asked for anything.
                let end = self.fork_server_failure()?;
                killed += usize::from(end.signal() == Some(Signal::KILL));
                last = end.to_string();
                continue;
            };
            let mut outcome = if present.rights == rights {
                launch.add_process_state(umask, &present.state)?;
                present.request(&mut launch)
            } else {
                Err(Refused::Rights)
            };
            // Asked for while the server is at work. The child does not begin before `watch` lets it.
            if let Ok(spawned) = &outcome
                && proc::namespaces(rights.as_ref()) != present.namespaces
            {
                discard_process(&spawned.pidfd);
                outcome = Err(Refused::Rights);
            }
            match outcome {
                Ok(spawned) => return Ok((spawned, launch.lifeline.writer)),
                Err(Refused::Unable) => {
                    drop(server);
                    launch.drop_process_state();
                    return self.spawn(launch, rights);
                }
                Err(Refused::Rights) => {
                    self.discard_fork_server(&mut server);
                    drop(server);
                    if !self.thread_has(rights.clone())? {
                        launch.drop_process_state();
                        return self.spawn(launch, rights);
                    }
                    launch.lifeline = Lifeline::new()?;
                    "it was older than a change of credentials or namespaces".clone_into(&mut last);
                }
                Err(Refused::Failed(error)) => return Err(error),
                Err(Refused::Gone) => {
                    self.discard_fork_server(&mut server);
                    let end = self.fork_server_failure()?;
                    killed += usize::from(end.signal() == Some(Signal::KILL));
                    last = end.to_string();
                    launch.lifeline = Lifeline::new()?;
                }
            }
        }
        // Nothing is wrong with the program: somebody kills what it starts, or memory is short. One process less is needed this way.
        if killed == FORK_SERVER_TRIES {
            launch.drop_process_state();
            return self.spawn(launch, rights);
        }
        Err(SpawnError::ForkServer {
            reason: format!("ended {FORK_SERVER_TRIES} times before it made a child ({last})"),
        })
    }

    fn ensure_fork_server(&self, library_threads: &[(OsString, OsString)]) -> Result<(), SpawnError> {
        let mut server = lock(&self.fork_server);
        if server.is_none() {
            let started = ForkServer::start(self.family_fds(), library_threads)?;
            self.poller.add(started.pidfd(), FORK_SERVER).map_err(SpawnError::io("watching the fork server"))?;
            *server = Some(started);
        }
        Ok(())
    }

    /// Ends the fork server, if there is one.
    fn discard_fork_server(&self, server: &mut Option<ForkServer>) {
        if let Some(server) = server.take() {
            _ = self.poller.remove(server.pidfd());
            *lock(&self.fork_server_end) = Some(server.end());
        }
    }

    /// How the last fork server ended; an error where the next one would end in the same way.
    fn fork_server_failure(&self) -> Result<ExitStatus, SpawnError> {
        let status = lock(&self.fork_server_end).unwrap_or(ExitStatus::Unknown);
        if status.code() == Some(child::EXIT_WRONG_BUILD) {
            return Err(SpawnError::ForkServer { reason: child::WRONG_BUILD.into() });
        }
        Ok(status)
    }

    /// From now on the child is seen to.
    fn watch(
        &self,
        spec: &mut ChildSpec,
        owner: Owner,
        (Spawned { pid, pidfd }, lifeline): Started,
        tail: Option<Tail>,
    ) -> Result<Arc<ChildHandle>, SpawnError> {
        if let Some(slot) = self.arena.slots().get(owner) {
            slot.pid.store(pid, Ordering::Release);
        }
        let name = std::mem::take(&mut spec.name);
        let handle = Arc::new(ChildHandle::new(owner, pid, pidfd, name, spec.daemon));
        let (on_death, oom_kills) = (spec.on_death.take(), self.oom_kills.count());
        let entry = Entry { handle: handle.clone(), _lifeline: lifeline, on_death, tail, oom_kills };
        lock(&self.children).insert(owner.raw(), entry);
        let added = handle.with_pidfd(|pidfd| self.poller.add(pidfd.as_fd(), owner.raw().into())).unwrap_or(Ok(()));
        if let Err(error) = added {
            // Out of kernel memory, or past fs.epoll.max_user_watches. Nobody would see it end: it must not be.
            lock(&self.children).remove(&owner.raw());
            handle.with_pidfd(discard_process);
            return Err(SpawnError::io("watching a child")(error));
        }
        // Set before the children are taken from the table: the child is among them, or this is seen.
        if self.is_lost.load(Ordering::SeqCst) && lock(&self.children).remove(&owner.raw()).is_some() {
            handle.with_pidfd(discard_process);
            return Err(lost());
        }
        if let Some(slot) = self.arena.slots().get(owner) {
            // The child waits for this; it may also be dead already, and its slot in other hands.
            let (from, to) = (Life::Reserved as u32, Life::Starting as u32);
            if slot.life_word().compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                sys::futex::wake_all(slot.life_word());
            }
        }
        Ok(handle)
    }

    /// Runs `f` on the supervisor's thread, and waits for it.
    fn on_thread<R: Send + 'static>(&self, f: impl FnOnce(&Supervisor) -> R + Send + 'static) -> Result<R, SpawnError> {
        if is_this_thread() {
            return Ok(f(self));
        }
        let (sender, receiver) = mpsc::sync_channel(1);
        let mut jobs = lock(&self.jobs);
        if self.is_lost.load(Ordering::SeqCst) {
            return Err(lost());
        }
        jobs.push_back(Box::new(move |supervisor| _ = sender.send(f(supervisor))));
        drop(jobs);
        sys::fd::event_set(self.wake.as_fd());
        // The sender of a job that panics, or is dropped by `give_up`, is gone.
        receiver.recv().map_err(|_| lost())
    }

    fn run(&self) {
        std::mem::forget(sys::signal::block_all());
        let mut tokens = Vec::new();
        // An open epoll descriptor does not fail: the program has closed it under us.
        while self.poller.wait(&mut tokens).is_ok() {
            for &token in &tokens {
                // Nothing here should panic. If something does, it is one event's, and the others must be seen to.
                _ = catch_unwind(AssertUnwindSafe(|| match token {
                    WAKE => self.run_jobs(),
                    FORK_SERVER => self.fork_server_ended(),
                    WATCHED.. => self.watched_ready(token),
                    child => self.child_ready(child as u32),
                }));
            }
        }
        self.give_up();
    }

    /// Nobody would see a child end any more. So there must be none, and none be started: all are ended, with this thread, and said to be.
    fn give_up(&self) {
        self.is_lost.store(true, Ordering::SeqCst);
        lock(&self.jobs).clear();
        let children = std::mem::take(&mut *lock(&self.children));
        for entry in children.into_values() {
            let known = entry.handle.with_pidfd(|pidfd| end_unwatched(pidfd.as_fd())).unwrap_or_default();
            self.has_ended(entry, known);
        }
        let watched = std::mem::take(&mut *lock(&self.watched));
        watched.values().for_each(|watched| watched.lost());
        if let Some(server) = lock(&self.fork_server).take() {
            end_unwatched(server.pidfd());
        }
    }

    fn watched_ready(&self, token: u64) {
        let watched = lock(&self.watched).get(&token).cloned();
        if watched.is_some_and(|watched| !watched.ready()) {
            lock(&self.watched).remove(&token);
        }
    }

    fn run_jobs(&self) {
        sys::fd::event_clear(self.wake.as_fd());
        while let Some(job) = { lock(&self.jobs).pop_front() } {
            _ = catch_unwind(AssertUnwindSafe(|| job(self)));
        }
    }

    fn fork_server_ended(&self) {
        let mut server = lock(&self.fork_server);
        // Another may have been started since.
        let ended = |server: &ForkServer| sys::fd::is_readable(server.pidfd()).unwrap_or(true);
        if server.as_ref().is_some_and(ended) {
            self.discard_fork_server(&mut server);
        }
    }

    /// A child's process descriptor says that it has ended.
    fn child_ready(&self, raw: u32) {
        let Some(handle) = lock(&self.children).get(&raw).map(|entry| entry.handle.clone()) else { return };
        let known = handle.with_pidfd(|pidfd| {
            let known = match sys::pidfd::reap(pidfd.as_fd()) {
                Ok(Reaped::Running) => return Err(StillThere),
                Ok(Reaped::Ended(status, usage)) => (Some(status), Some(usage)),
                Ok(Reaped::Stolen) | Err(_) => (sys::pidfd::exit_info(pidfd.as_fd()), None),
            };
            _ = self.poller.remove(pidfd.as_fd());
            Ok(known)
        });
        let known = match known {
            None => return,
            // A debugger sees it first. Polled again, not too often.
            Some(Err(StillThere)) => return thread::sleep(Duration::from_millis(5)),
            Some(Ok(known)) => known,
        };
        let Some(entry) = lock(&self.children).remove(&raw) else { return };
        self.has_ended(entry, known);
    }

    /// Sees to what a child that has ended left, and tells of it.
    fn has_ended(&self, entry: Entry, (known, usage): (Option<ExitStatus>, Option<Usage>)) {
        let Entry { handle, _lifeline, on_death, tail, oom_kills } = entry;
        let (owner, pid) = (handle.owner(), handle.pid());
        // A stray write of the child may have left indices in shared memory that its tables do not have. Then its slot is left to
        // the audit of this process, but nobody waits in vain.
        let settled = catch_unwind(|| mourning::settle(self.arena, owner, pid, known));
        let unsettled = |_| Death::new(owner, pid, known.unwrap_or(ExitStatus::Unknown));
        let mut death = settled.unwrap_or_else(unsettled);
        death.usage = usage;
        death.oom_killed = match death.status.signal() {
            Some(Signal::KILL) if !handle.was_killed() => self.oom_kills.explains_death(oom_kills),
            _ if death.status == ExitStatus::Unknown => None,
            _ => Some(false),
        };
        death.stderr = tail.map(|tail| tail.finish());
        handle.end(death.clone());
        if let Some(on_death) = on_death {
            // A panic in a callback is the callback's; the supervisor must go on.
            _ = catch_unwind(AssertUnwindSafe(|| on_death(&death)));
        }
    }
}

/// Kills a child that nobody watches, and waits a while until it is gone. Its descriptor may be closed, or be another file's by now, which
/// none of these calls would take for a process.
fn end_unwatched(pidfd: BorrowedFd<'_>) -> (Option<ExitStatus>, Option<Usage>) {
    _ = sys::pidfd::signal(pidfd, Signal::KILL);
    for _ in 0..1000 {
        match sys::pidfd::reap(pidfd) {
            Ok(Reaped::Running) => thread::sleep(Duration::from_millis(1)),
            Ok(Reaped::Ended(status, usage)) => return (Some(status), Some(usage)),
            Ok(Reaped::Stolen) => return (sys::pidfd::exit_info(pidfd), None),
            Err(_) => break,
        }
    }
    (None, None)
}

/// Ends a child that has not begun.
fn discard_process(pidfd: &OwnedFd) {
    _ = sys::pidfd::signal(pidfd.as_fd(), Signal::KILL);
    _ = sys::fd::await_readable(pidfd.as_fd());
    _ = sys::pidfd::reap(pidfd.as_fd());
}

impl std::fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Supervisor").field("pid", &self.pid).field("children", &lock(&self.children).len()).finish()
    }
}
