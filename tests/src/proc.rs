//! What /proc says about processes.
#![allow(unsafe_code)]

use std::fs;
use std::time::Duration;

/// A process as `/proc/PID/stat` describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// Its parent's number.
    pub parent: i32,
    /// `R` running, `S` sleeping, `D` in the kernel, `T` stopped, `Z` zombie.
    pub state: char,
    /// Its name (`comm`).
    pub name: String,
}

/// The process `pid`, if there is one, zombies included.
pub fn process(pid: i32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold spaces and brackets: it ends at the last bracket.
    let (head, tail) = stat.rsplit_once(')')?;
    let name = head.split_once('(')?.1.to_owned();
    let mut fields = tail.split_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    Some(Process { pid, parent, state, name })
}

/// All processes that this one may see.
pub fn processes() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| process(entry.file_name().to_str()?.parse().ok()?)).collect()
}

/// The children of `parent`, zombies included.
pub fn children(parent: i32) -> Vec<Process> {
    processes().into_iter().filter(|process| process.parent == parent).collect()
}

/// The children of `ancestor`, their children, and so on; parents come before their children.
pub fn descendants(ancestor: i32) -> Vec<Process> {
    let all = processes();
    let mut found: Vec<Process> = Vec::new();
    let mut next = vec![ancestor];
    while let Some(parent) = next.pop() {
        for process in all.iter().filter(|process| process.parent == parent) {
            next.push(process.pid);
            found.push(process.clone());
        }
    }
    found
}

/// Several lines about `pid` and its threads: state, where each sleeps, and the kernel's stack where it may be read.
pub fn describe(pid: i32) -> String {
    let mut text = match process(pid) {
        Some(it) => format!("process {pid} `{}`, child of {}, state {}\n", it.name, it.parent, it.state),
        None => return format!("process {pid} is gone\n"),
    };
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return text };
    for thread in threads.flatten() {
        let read = |name: &str| fs::read_to_string(thread.path().join(name)).unwrap_or_default();
        let state = read("status").lines().find(|line| line.starts_with("State:")).unwrap_or("State: ?").to_owned();
        let name = thread.file_name();
        text += &format!(
            "  thread {} `{}` {state}, wchan {}, syscall {}\n",
            name.to_string_lossy(),
            read("comm").trim(),
            read("wchan").trim(),
            read("syscall").trim()
        );
        for line in read("stack").lines() {
            text += &format!("    {line}\n");
        }
    }
    text
}

/// How often a single-threaded process that sleeps has been switched to and from: unchanged as long as it stays asleep. Empty
/// for one that does not sleep.
pub fn activity(pid: i32) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    if !status.lines().any(|line| line.starts_with("State:\tS")) {
        return String::new();
    }
    status.lines().filter(|line| line.contains("ctxt_switches")).collect()
}

/// How often the single-threaded descendants of `ancestor` have been switched to and from: unchanged as long as all of them stay
/// asleep or stopped. `None` while one of them runs, or only waits for a processor to do so.
pub fn stillness(ancestor: i32) -> Option<String> {
    let mut seen = String::new();
    for process in descendants(ancestor) {
        let status = fs::read_to_string(format!("/proc/{}/status", process.pid)).ok()?;
        let state = status.lines().find_map(|line| line.strip_prefix("State:\t"))?;
        state.starts_with(['S', 'T', 't', 'Z', 'X']).then_some(())?;
        seen.extend(status.lines().filter(|line| line.contains("ctxt_switches") || line.starts_with("Pid:")));
    }
    Some(seen)
}

/// How much time of a processor `pid` has had, in steps of 10 ms mostly, and whether it sleeps.
pub fn used(pid: i32) -> Option<(Duration, bool)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    // SAFETY: it only asks.
    let a_second = u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) }).ok().filter(|ticks| *ticks > 0)?;
    Some((Duration::from_millis(ticks * 1000 / a_second), fields[0] == "S"))
}

/// The open descriptors of this process with what they lead to, in order.
pub fn descriptors() -> Vec<(i32, String)> {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return Vec::new() };
    let mut found: Vec<(i32, String)> = entries
        .flatten()
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.parse().ok()?;
            // The descriptor of this very listing is gone by now: its link cannot be read.
            let link = fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned();
            (!link.starts_with("/proc/") || !link.ends_with("/fd")).then_some((number, link))
        })
        .collect();
    found.sort();
    found
}
