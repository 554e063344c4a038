//! All regular files below some directories, sorted by the bytes of their paths, while the walk is still going on.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc;
use std::thread;

use walkdir::{DirEntry, IntoIter, WalkDir};

/// How many paths the walk may be ahead of its reader.
const AHEAD: usize = 64 << 10;

/// A part of the tree that could not be read, and why.
#[derive(Debug)]
pub struct Unreadable {
    /// The file or directory.
    pub path: PathBuf,
    /// Why.
    pub reason: String,
}

/// The regular files below some roots, in order, found by a thread of its own.
///
/// Its memory is bounded: the thread waits when it is far ahead. What cannot be read comes as an `Err` in between.
#[derive(Debug)]
pub struct Walk {
    paths: mpsc::IntoIter<Result<PathBuf, Unreadable>>,
    found: Found,
}

/// How many files a [`Walk`] has found up to now; the total once it has ended.
#[derive(Debug, Clone, Default)]
pub struct Found(Arc<AtomicU64>);

impl Found {
    /// The number.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Walk {
    /// Begins to walk below `roots`.
    pub fn start(roots: Vec<PathBuf>) -> Walk {
        let (sender, receiver) = mpsc::sync_channel(AHEAD);
        let found = Found::default();
        let count = found.clone();
        thread::spawn(move || {
            for entry in sorted_files(&roots) {
                count.0.fetch_add(u64::from(entry.is_ok()), Relaxed);
                if sender.send(entry).is_err() {
                    return; // nobody reads on
                }
            }
        });
        Walk { paths: receiver.into_iter(), found }
    }

    /// The count of files, to be read while the walk is iterated.
    pub fn found(&self) -> Found {
        self.found.clone()
    }
}

impl Iterator for Walk {
    type Item = Result<PathBuf, Unreadable>;

    fn next(&mut self) -> Option<Self::Item> {
        self.paths.next()
    }
}

/// One sorted stream per root, merged: roots may be given in any order and lie within each other.
fn sorted_files(roots: &[PathBuf]) -> impl Iterator<Item = Result<PathBuf, Unreadable>> {
    let mut streams: Vec<Files> = roots.iter().map(|root| Files::below(root)).collect();
    let mut heads = BinaryHeap::new();
    for (stream, files) in streams.iter_mut().enumerate() {
        heads.extend(files.next().map(|entry| Reverse(Head { entry, stream })));
    }
    std::iter::from_fn(move || {
        let Reverse(Head { entry, stream }) = heads.pop()?;
        heads.extend(streams[stream].next().map(|entry| Reverse(Head { entry, stream })));
        Some(entry)
    })
}

struct Head {
    entry: Result<PathBuf, Unreadable>,
    stream: usize,
}

impl Head {
    /// Problems before files, then by the path's bytes (`Path` itself compares by components).
    fn key(&self) -> (Option<&[u8]>, usize) {
        (self.entry.as_ref().ok().map(|path| path.as_os_str().as_bytes()), self.stream)
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Head) -> bool {
        self.key() == other.key()
    }
}
impl Eq for Head {}
impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Head) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Head {
    fn cmp(&self, other: &Head) -> Ordering {
        self.key().cmp(&other.key())
    }
}

/// The files below one root.
struct Files {
    root: PathBuf,
    walk: IntoIter,
}

impl Files {
    fn below(root: &Path) -> Files {
        let walk = WalkDir::new(root).sort_by(by_path).into_iter();
        Files { root: root.to_owned(), walk }
    }
}

impl Iterator for Files {
    type Item = Result<PathBuf, Unreadable>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.walk.next()? {
                Ok(entry) if is_regular(&entry) => return Some(Ok(entry.into_path())),
                Ok(_) => {}
                Err(error) => {
                    let path = error.path().unwrap_or(&self.root).to_owned();
                    let reason = error.io_error().map_or_else(|| error.to_string(), |io| io.to_string());
                    return Some(Err(Unreadable { path, reason }));
                }
            }
        }
    }
}

/// A link is followed where the user named it, not where the walk met it.
fn is_regular(entry: &DirEntry) -> bool {
    if entry.depth() == 0 && entry.path_is_symlink() {
        return fs::metadata(entry.path()).is_ok_and(|target| target.is_file());
    }
    entry.file_type().is_file()
}

/// Orders the entries of one directory so that the walk comes out sorted by whole paths: what lies below a directory
/// has a slash after its name, and that slash takes part in the comparison (`a.txt` < `a/b`).
fn by_path(a: &DirEntry, b: &DirEntry) -> Ordering {
    fn key(entry: &DirEntry) -> impl Iterator<Item = &u8> {
        let slash: &[u8] = if entry.file_type().is_dir() { b"/" } else { b"" };
        entry.file_name().as_bytes().iter().chain(slash)
    }
    key(a).cmp(key(b))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn tree(files: &[&[u8]]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let path = dir.path().join(OsStr::from_bytes(file));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        dir
    }

    fn walk(roots: Vec<PathBuf>) -> Vec<PathBuf> {
        Walk::start(roots).map(|entry| entry.unwrap()).collect()
    }

    #[test]
    fn paths_come_sorted_by_their_bytes() {
        let dir = tree(&[b"a/b", b"a.txt", b"A", b"a0", b"ab/c", b"z\xff", b"Z", b"a.b/x", b"n\nl"]);
        let found = walk(vec![dir.path().to_owned()]);
        let mut sorted = found.clone();
        sorted.sort_by(|a, b| a.as_os_str().as_bytes().cmp(b.as_os_str().as_bytes()));
        assert_eq!(found, sorted);
        assert_eq!(found.len(), 9);
    }

    #[test]
    fn roots_in_any_order_and_within_each_other_are_merged() {
        let dir = tree(&[b"a/1", b"a/b/2", b"a/c", b"b/3"]);
        let at = |name: &str| dir.path().join(name);
        assert_eq!(
            walk(vec![at("b"), at("a/b"), at("a")]),
            [at("a/1"), at("a/b/2"), at("a/b/2"), at("a/c"), at("b/3")]
        );
    }

    #[test]
    fn only_regular_files_count() {
        let dir = tree(&[b"file", b"dir/inner"]);
        let at = |name: &str| dir.path().join(name);
        symlink(at("file"), at("link")).unwrap();
        symlink(at("dir"), at("dirlink")).unwrap();
        symlink(at("nowhere"), at("broken")).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        assert_eq!(walk(vec![dir.path().to_owned()]), [at("dir/inner"), at("file")]);
    }

    #[test]
    fn a_link_named_by_the_user_is_followed() {
        let dir = tree(&[b"dir/inner"]);
        let at = |name: &str| dir.path().join(name);
        symlink(at("dir"), at("dirlink")).unwrap();
        symlink(at("dir/inner"), at("filelink")).unwrap();
        assert_eq!(walk(vec![at("filelink"), at("dirlink")]), [at("dirlink/inner"), at("filelink")]);
    }

    #[test]
    fn a_missing_root_is_told_and_the_others_are_walked() {
        let dir = tree(&[b"file"]);
        let missing = dir.path().join("missing");
        let entries: Vec<_> = Walk::start(vec![dir.path().to_owned(), missing.clone()]).collect();
        assert_eq!(entries.len(), 2);
        assert!(entries.iter().any(|e| matches!(e, Err(problem) if problem.path == missing)));
        assert!(entries.iter().any(|e| matches!(e, Ok(path) if path.ends_with("file"))));
    }
}
