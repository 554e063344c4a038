//! What the system says about this process: its program, its credentials, its limits, its CPUs.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::fs;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// The path of this process's program; it opens the running file even when that was replaced or deleted.
pub(crate) const SELF_EXE: &CStr = c"/proc/self/exe";

/// Is /proc mounted?
pub(crate) fn has_proc() -> bool {
    fs::symlink_metadata("/proc/self/exe").is_ok()
}

/// The path that this program was started by, as the kernel noted it (`AT_EXECFN`).
pub(crate) fn exec_path() -> Option<CString> {
    // SAFETY: the value, where there is one, points to a C string that the kernel laid on the initial stack; it stays.
    unsafe {
        let address = libc::getauxval(libc::AT_EXECFN) as *const libc::c_char;
        (!address.is_null()).then(|| CStr::from_ptr(address).to_owned())
    }
}

/// `open(path, O_PATH | O_CLOEXEC | flags)`.
pub(crate) fn open_path(path: &CStr, flags: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: the path is a C string; a result that is not negative is a new descriptor.
    unsafe {
        let fd = libc::open(path.as_ptr(), libc::O_PATH | libc::O_CLOEXEC | flags);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd)) }
    }
}

/// `fchdir`.
pub(crate) fn change_directory(directory: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the descriptor is open.
    check(unsafe { libc::fchdir(directory.as_raw_fd()) })
}

/// `getppid()`. Zero: the parent is outside this pid namespace.
pub(crate) fn parent_pid() -> u32 {
    std::os::unix::process::parent_id()
}

/// Sends `SIGKILL` to this process when the thread that made it ends.
pub(crate) fn die_with_parent_thread() -> io::Result<()> {
    // SAFETY: takes integers.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong, 0, 0, 0) })
}

/// Names the calling thread, as `ps` and `top` show it: the first 15 bytes.
pub(crate) fn set_thread_name(name: &str) {
    let mut bytes = [0u8; 16];
    let len = name.len().min(15);
    bytes[..len].copy_from_slice(&name.as_bytes()[..len]);
    // SAFETY: the kernel reads up to 16 bytes, which end in a zero.
    unsafe { libc::prctl(libc::PR_SET_NAME, bytes.as_ptr(), 0, 0, 0) };
}

/// What a thread may do: compared between the thread that wants a child and the one that would make it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rights {
    /// Credentials, capabilities and filters, as /proc/thread-self/status has them.
    lines: Vec<u8>,
}

/// The calling thread's rights and its umask. `None` where /proc does not tell.
pub(crate) fn rights() -> Option<(Rights, u32)> {
    const FIELDS: [&[u8]; 11] = [
        b"Uid:",
        b"Gid:",
        b"Groups:",
        b"CapInh:",
        b"CapPrm:",
        b"CapEff:",
        b"CapBnd:",
        b"CapAmb:",
        b"NoNewPrivs:",
        b"Seccomp:",
        b"Seccomp_filters:",
    ];
    // One read takes 11 us; `fs::read`, which asks for the size and reads in steps, half as long again.
    let mut status = [0; 8192];
    let mut len = 0;
    let mut file = fs::File::open("/proc/thread-self/status").ok()?;
    loop {
        match file.read(status.get_mut(len..).filter(|rest| !rest.is_empty())?).ok()? {
            0 => break,
            more => len += more,
        }
    }
    let mut lines = Vec::with_capacity(512);
    let mut umask = None;
    for line in status[..len].split_inclusive(|&byte| byte == b'\n') {
        if FIELDS.iter().any(|field| line.starts_with(field)) {
            lines.extend_from_slice(line);
        } else if let Some(value) = line.strip_prefix(b"Umask:") {
            umask = u32::from_str_radix(std::str::from_utf8(value).ok()?.trim(), 8).ok();
        }
    }
    Some((Rights { lines }, umask?))
}

impl Rights {
    /// Could the thread have changed its namespaces without any other trace? Without CAP_SYS_ADMIN it takes a new user namespace, and
    /// that shows in the capabilities.
    fn can_change_namespaces(&self) -> bool {
        const CAP_SYS_ADMIN: u64 = 1 << 21;
        let effective = self.lines.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"CapEff:"));
        let bits = effective.and_then(|value| u64::from_str_radix(std::str::from_utf8(value).ok()?.trim(), 16).ok());
        bits.is_none_or(|bits| bits & CAP_SYS_ADMIN != 0)
    }
}

/// The namespaces that a thread's children live in.
pub(crate) type Namespaces = Vec<String>;

/// The calling thread's namespaces, if it could have changed them without changing its `rights`; else none.
pub(crate) fn namespaces(rights: Option<&Rights>) -> Namespaces {
    if rights.is_none_or(|rights| !rights.can_change_namespaces()) {
        return Vec::new();
    }
    const LINKS: [&CStr; 8] =
        [c"mnt", c"net", c"uts", c"ipc", c"user", c"cgroup", c"pid_for_children", c"time_for_children"];
    let Ok(directory) = open_path(c"/proc/thread-self/ns", libc::O_DIRECTORY) else { return Vec::new() };
    let link = |name: &CStr| {
        let mut text = [0u8; 64];
        // SAFETY: the kernel writes at most the size given.
        let len =
            unsafe { libc::readlinkat(directory.as_raw_fd(), name.as_ptr(), text.as_mut_ptr().cast(), text.len()) };
        // A namespace type that this kernel lacks is empty on both sides.
        String::from_utf8_lossy(&text[..len.max(0) as usize]).into_owned()
    };
    LINKS.into_iter().map(link).collect()
}

/// Is the calling thread the only one of its process? `false` where nothing tells.
pub(crate) fn is_single_threaded() -> bool {
    // SAFETY: takes an integer. With these flags the call changes nothing: it succeeds with one thread and fails with EINVAL with more.
    if unsafe { libc::unshare(libc::CLONE_THREAD | libc::CLONE_SIGHAND | libc::CLONE_VM) } == 0 {
        return true;
    }
    // Some containers filter unshare whatever its flags are.
    let filtered = io::Error::last_os_error().raw_os_error() != Some(libc::EINVAL);
    filtered && fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1)
}

/// Sets the mask of permissions of new files.
pub(crate) fn set_umask(mask: u32) {
    // SAFETY: takes an integer.
    unsafe { libc::umask(mask as libc::mode_t) };
}

/// The CPUs that the calling thread may use, one bit each.
pub(crate) type Cpus = [u64; 16];

/// `sched_getaffinity`. `None` on a machine with more than 1,024 CPUs.
pub(crate) fn cpus() -> Option<Cpus> {
    let mut cpus = [0u64; 16];
    // SAFETY: the kernel writes at most the size given.
    let len = unsafe { libc::syscall(libc::SYS_sched_getaffinity, 0, size_of::<Cpus>(), cpus.as_mut_ptr()) };
    (len > 0).then_some(cpus)
}

/// `sched_setaffinity`.
pub(crate) fn set_cpus(cpus: &Cpus) -> io::Result<()> {
    // SAFETY: the kernel reads at most the size given.
    check(unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, size_of::<Cpus>(), cpus.as_ptr()) } as i32)
}

/// How the calling thread is scheduled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scheduling {
    pub(crate) policy: i32,
    pub(crate) priority: i32,
    pub(crate) nice: i32,
}

/// The calling thread's scheduling.
pub(crate) fn scheduling() -> Scheduling {
    // SAFETY: the calls take integers and write to one local.
    unsafe {
        let mut parameter: libc::sched_param = std::mem::zeroed();
        libc::syscall(libc::SYS_sched_getparam, 0, &raw mut parameter);
        let policy = libc::syscall(libc::SYS_sched_getscheduler, 0).max(0) as i32;
        let nice = libc::getpriority(libc::PRIO_PROCESS, 0);
        Scheduling { policy, priority: parameter.sched_priority, nice }
    }
}

/// Sets the calling thread's policy and niceness, where they differ.
pub(crate) fn set_scheduling(wanted: Scheduling) -> io::Result<()> {
    let now = scheduling();
    // SAFETY: the calls take integers and read one local.
    unsafe {
        if (wanted.policy, wanted.priority) != (now.policy, now.priority) {
            let mut parameter: libc::sched_param = std::mem::zeroed();
            parameter.sched_priority = wanted.priority;
            check(libc::syscall(libc::SYS_sched_setscheduler, 0, wanted.policy, &raw const parameter) as i32)?;
        }
        if wanted.nice != now.nice {
            check(libc::setpriority(libc::PRIO_PROCESS, 0, wanted.nice))?;
        }
    }
    Ok(())
}

/// How many resource limits Linux has.
pub(crate) const LIMITS: usize = 16;

/// A resource limit: soft, hard.
pub(crate) type Limit = (u64, u64);

/// `getrlimit` of resource `number`.
pub(crate) fn limit(number: usize) -> io::Result<Limit> {
    let mut value = [0u64; 2];
    // SAFETY: the kernel writes two 64-bit words.
    check(unsafe {
        libc::syscall(libc::SYS_prlimit64, 0, number, std::ptr::null::<u64>(), value.as_mut_ptr()) as i32
    })?;
    Ok((value[0], value[1]))
}

/// `setrlimit` of resource `number`.
pub(crate) fn set_limit(number: usize, (soft, hard): Limit) -> io::Result<()> {
    let value = [soft, hard];
    // SAFETY: the kernel reads two 64-bit words.
    check(unsafe { libc::syscall(libc::SYS_prlimit64, 0, number, value.as_ptr(), std::ptr::null_mut::<u64>()) as i32 })
}

/// Bytes of memory in use that this process shares with no other.
pub(crate) fn private_memory() -> Option<u64> {
    // Pages: all, resident, of those shared. Private memory that is swapped out is not counted.
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let mut fields = text.split(' ').skip(1);
    let (resident, shared) = (fields.next()?.parse::<u64>().ok()?, fields.next()?.parse::<u64>().ok()?);
    Some(resident.saturating_sub(shared).saturating_mul(page_size()))
}

fn page_size() -> u64 {
    // SAFETY: takes an integer.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) }.max(1) as u64
}

/// What another process uses now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InUse {
    pub(crate) user: std::time::Duration,
    pub(crate) system: std::time::Duration,
    pub(crate) rss: u64,
    pub(crate) max_rss: u64,
}

/// What process `pid` uses; `None` where /proc does not tell.
pub(crate) fn in_use(pid: u32) -> Option<InUse> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in brackets, may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    // SAFETY: takes an integer.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) }.max(1) as f64;
    let time =
        |field: usize| Some(std::time::Duration::from_secs_f64(fields.get(field)?.parse::<u64>().ok()? as f64 / ticks));
    let rss = fields.get(21)?.parse::<u64>().ok()?.saturating_mul(page_size());
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let high = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let high = high.and_then(|value| value.split_whitespace().next()?.parse::<u64>().ok());
    let max_rss = high.map_or(rss, |kib| kib.saturating_mul(1024)).max(rss);
    Some(InUse { user: time(11)?, system: time(12)?, rss, max_rss })
}

/// Bytes of memory that can be had without swapping: the system's, or what this process's cgroup has left, whichever is less. `None` where
/// nothing tells.
pub(crate) fn available_memory() -> Option<u64> {
    let meminfo = fs::read_to_string("/proc/meminfo").ok()?;
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let system = line.split_whitespace().next()?.parse::<u64>().ok()?.saturating_mul(1024);
    Some(left_in_cgroup().map_or(system, |left| left.min(system)))
}

/// What the limit of this process's own cgroup leaves, version 2 or 1. Cached files that nobody uses do not count as used.
fn left_in_cgroup() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    groups.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?.trim_start_matches('/'));
        let (root, limit, usage, files) = if controllers.is_empty() {
            ("/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file ")
        } else if controllers.split(',').any(|name| name == "memory") {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file ")
        } else {
            return None;
        };
        let directory = std::path::Path::new(root).join(path);
        let number = |file: &str| fs::read_to_string(directory.join(file)).ok()?.trim().parse::<u64>().ok();
        let (limit, usage) = (number(limit)?, number(usage)?);
        let stat = fs::read_to_string(directory.join("memory.stat")).unwrap_or_default();
        let files = stat.lines().find_map(|line| line.strip_prefix(files)?.trim().parse::<u64>().ok()).unwrap_or(0);
        Some(limit.saturating_sub(usage.saturating_sub(files)))
    })
}

/// CPU time of all threads of process `pid`; `None` if there is none.
pub(crate) fn cpu_time(pid: u32) -> Option<std::time::Duration> {
    // SAFETY: both calls write one local each.
    unsafe {
        let mut clock: libc::clockid_t = 0;
        if libc::clock_getcpuclockid(pid as libc::pid_t, &mut clock) != 0 {
            return None;
        }
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let read = libc::clock_gettime(clock, &mut time) == 0;
        read.then(|| std::time::Duration::new(time.tv_sec.max(0) as u64, time.tv_nsec as u32))
    }
}

/// Makes the out-of-memory killer prefer this process to its parent.
pub(crate) fn offer_to_oom_killer() {
    // Best effort: /proc may be missing or read-only.
    let file = "/proc/self/oom_score_adj";
    if let Some(now) = fs::read_to_string(file).ok().and_then(|text| text.trim().parse::<i32>().ok()) {
        _ = fs::write(file, (now + 100).min(1000).to_string());
    }
}

fn check(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
