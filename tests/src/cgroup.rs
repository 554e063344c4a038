//! Cgroups with little memory, in which the kernel's memory killer can be met.

use std::fs;
use std::path::{Path, PathBuf};

/// A new cgroup with so little memory, where this process may make one. One for a process at a time; whoever asks removes it.
pub fn small_cgroup(bytes: usize) -> Option<PathBuf> {
    let cgroups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let name = format!("offspring-test-{}", std::process::id());
    for line in cgroups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?.trim_start_matches('/'));
        let (root, limit) = match controllers {
            "memory" => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ => continue,
        };
        let new = Path::new(root).join(path).join(&name);
        if fs::create_dir(&new).is_ok() {
            if fs::write(new.join(limit), bytes.to_string()).is_ok() {
                return Some(new);
            }
            _ = fs::remove_dir(&new);
        }
    }
    None
}
