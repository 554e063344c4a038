//! How many bytes the arena may use: a full cgroup kills where an allocator would fail, so the arena stops before.

use std::fs;
use std::path::{Path, PathBuf};

/// The least of: the memory that is available, the limits of all cgroups above this process, and what strict overcommit
/// leaves. A sixteenth of it is kept for everything else.
pub(super) fn of_system() -> u64 {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = field(&meminfo, "MemAvailable:").unwrap_or(u64::MAX);
    let least = available.min(cgroup_limit().unwrap_or(u64::MAX)).min(commit_limit(&meminfo).unwrap_or(u64::MAX));
    // Where nothing is known (no /proc), the system's own limits have to do.
    if least == u64::MAX { u64::MAX } else { least - least / 16 }
}

/// The size of the machine's memory; 16 GiB where it is not told.
pub(super) fn memory_of_machine() -> u64 {
    fs::read_to_string("/proc/meminfo").ok().and_then(|meminfo| field(&meminfo, "MemTotal:")).unwrap_or(16 << 30)
}

/// A field of /proc/meminfo, in bytes.
fn field(meminfo: &str, name: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// What may still be committed under strict overcommit (mode 2); `None` in the other modes.
fn commit_limit(meminfo: &str) -> Option<u64> {
    let mode = fs::read_to_string("/proc/sys/vm/overcommit_memory").ok()?;
    (mode.trim() == "2").then_some(())?;
    Some(field(meminfo, "CommitLimit:")?.saturating_sub(field(meminfo, "Committed_AS:")?))
}

/// The least limit of this process's cgroup and its ancestors, version 2 or 1.
fn cgroup_limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    groups
        .lines()
        .filter_map(|line| {
            let mut parts = line.splitn(3, ':');
            let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
            if controllers.is_empty() {
                least_of(Path::new("/sys/fs/cgroup"), path, "memory.max")
            } else if controllers.split(',').any(|name| name == "memory") {
                least_of(Path::new("/sys/fs/cgroup/memory"), path, "memory.limit_in_bytes")
            } else {
                None
            }
        })
        .min()
}

fn least_of(root: &Path, path: &str, file: &str) -> Option<u64> {
    let path: PathBuf = root.join(path.trim_start_matches('/'));
    let groups = path.ancestors().take_while(|group| group.starts_with(root));
    groups.filter_map(|group| fs::read_to_string(group.join(file)).ok()?.trim().parse::<u64>().ok()).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meminfo_is_read_in_bytes() {
        assert_eq!(field("MemTotal:  7 kB\nMemAvailable:       12 kB\n", "MemAvailable:"), Some(12 * 1024));
        assert_eq!(field("", "MemAvailable:"), None);
        assert!(of_system() > 1 << 20);
    }

    #[test]
    fn the_least_limit_of_all_ancestors_counts() {
        let root = std::env::temp_dir().join(format!("offspring-budget-{}", std::process::id()));
        let leaf = root.join("a/b");
        fs::create_dir_all(&leaf).unwrap();
        fs::write(root.join("a/memory.max"), "1000\n").unwrap();
        fs::write(leaf.join("memory.max"), "max\n").unwrap();
        let least = least_of(&root, "/a/b", "memory.max");
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(least, Some(1000));
    }
}
