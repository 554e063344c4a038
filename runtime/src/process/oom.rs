//! Was it the kernel that killed a child, as memory ran out?
//!
//! A death by the kernel's OOM killer looks like any SIGKILL. But the kernel counts its victims: in `memory.events` of a cgroup (version 2), in
//! `memory.oom_control` (version 1), and for the whole machine in `/proc/vmstat`. The count is raised before the victim is signalled, so it
//! has changed when the child is reaped. It is read when a child starts and when one has died of a SIGKILL that was not sent by this
//! process; each rise explains one death.
//!
//! Who else lives in the cgroup may have been the victim: so the answer is the best that there is, not a proof.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::sys;

/// The kernel's count of OOM victims.
#[derive(Debug)]
pub(crate) struct OomKills {
    file: Option<File>,
    /// Victims up to this count are known.
    explained: Mutex<u64>,
}

impl OomKills {
    /// Finds the count that is nearest to this process, and so to its children.
    pub(crate) fn open() -> OomKills {
        let cgroups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let file = candidates(&cgroups).into_iter().find_map(|path| {
            let file = File::from(sys::fd::above_streams(File::open(path).ok()?.into()).ok()?);
            read(&file).is_some().then_some(file)
        });
        OomKills { file, explained: Mutex::new(0) }
    }

    /// How many victims there were so far. `None`: nothing tells.
    pub(crate) fn count(&self) -> Option<u64> {
        read(self.file.as_ref()?)
    }

    /// Was a child that was born at the count `before`, and has died of a SIGKILL of unknown origin, a victim?
    pub(crate) fn explains_death(&self, before: Option<u64>) -> Option<bool> {
        let (before, now) = (before?, self.count()?);
        let mut explained = self.explained.lock().unwrap_or_else(PoisonError::into_inner);
        let known = before.max(*explained);
        if now <= known {
            return Some(false);
        }
        *explained = known + 1;
        Some(true)
    }
}

/// The files that may hold the count, best first.
fn candidates(cgroups: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut add = |root: &str, path: &str, file: &str| {
        // Inside a container the path may be that of the host, of which only the last part is mounted.
        found.push(Path::new(root).join(path.trim_start_matches('/')).join(file));
        found.push(Path::new(root).join(file));
    };
    for line in cgroups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        if controllers.split(',').any(|name| name == "memory") {
            add("/sys/fs/cgroup/memory", path, "memory.oom_control");
        } else if controllers.is_empty() {
            add("/sys/fs/cgroup", path, "memory.events");
        }
    }
    found.push("/proc/vmstat".into());
    found
}

fn read(file: &File) -> Option<u64> {
    let mut text = Vec::new();
    let mut part = [0; 4096];
    loop {
        let len = file.read_at(&mut part, text.len() as u64).ok()?;
        text.extend_from_slice(&part[..len]);
        if len == 0 || text.len() > 1 << 20 {
            return parse(&text);
        }
    }
}

/// All three files have it in a line of its own, under the same name.
fn parse(text: &[u8]) -> Option<u64> {
    let value = text.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"oom_kill "))?;
    std::str::from_utf8(value).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_files_are_understood() {
        assert_eq!(parse(b"low 0\nhigh 0\nmax 7\noom 2\noom_kill 1\noom_group_kill 0\n"), Some(1));
        assert_eq!(parse(b"oom_kill_disable 0\nunder_oom 0\noom_kill 12\n"), Some(12));
        assert_eq!(parse(b"nr_free_pages 5\noom_kill 3\nswap_ra 0\n"), Some(3));
        assert_eq!(parse(b"oom_kill_disable 0\nunder_oom 0\n"), None);
    }

    #[test]
    fn the_nearest_count_comes_first() {
        let two = candidates("0::/user.slice/me\n");
        assert_eq!(two[0], Path::new("/sys/fs/cgroup/user.slice/me/memory.events"));
        let one = candidates("4:memory:/a/b\n1:cpu,cpuacct:/\n");
        assert_eq!(one[0], Path::new("/sys/fs/cgroup/memory/a/b/memory.oom_control"));
        assert_eq!(one.last().unwrap(), Path::new("/proc/vmstat"));
    }

    #[test]
    fn each_rise_explains_one_death() {
        let path = std::env::temp_dir().join(format!("offspring-oom-{}", std::process::id()));
        let set = |count: u64| std::fs::write(&path, format!("oom_kill {count}\n")).unwrap();
        set(5);
        let kills = OomKills { file: Some(File::open(&path).unwrap()), explained: Mutex::new(0) };
        let before = kills.count();
        assert_eq!(kills.explains_death(before), Some(false));
        set(6);
        assert_eq!(kills.explains_death(before), Some(true));
        assert_eq!(kills.explains_death(before), Some(false));
        set(7);
        // Born after the last victim died.
        assert_eq!(kills.explains_death(kills.count()), Some(false));
        assert_eq!(kills.explains_death(None), None);
        std::fs::remove_file(path).unwrap();
    }
}
