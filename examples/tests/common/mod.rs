//! Trees with odd names, and programs run as processes.
#![allow(dead_code, reason = "each test binary uses a part")]

pub(crate) mod run;

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use offspring_tests::kill::{Random, Storm};
use offspring_tests::proc;
use tempfile::TempDir;

/// What `sh -c SCRIPT` in `dir` prints, with `arguments` as `"$@"`.
pub(crate) fn shell(dir: &Path, script: &str, arguments: &[&OsStr]) -> Output {
    Command::new("sh").args(["-c", script, "sh"]).args(arguments).current_dir(dir).env("LC_ALL", "C").output().unwrap()
}

/// Like [`shell`], with `input` on stdin.
pub(crate) fn shell_reading(dir: &Path, script: &str, input: &[u8]) -> Output {
    let mut child = Command::new("sh")
        .args(["-c", script])
        .current_dir(dir)
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    output
}

/// Runs `program` over `.` in `dir` and kills its children at random times; returns what it printed and how many
/// signals hit.
pub(crate) fn run_in_storm(program: &str, dir: &Path, random: &mut Random) -> (Output, usize) {
    let child =
        Command::new(program).arg(".").current_dir(dir).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = child.id() as i32;
    let children = move || proc::children(pid).iter().filter(|it| it.state != 'Z').map(|it| it.pid).collect();
    let storm = Storm::start(Random::new(random.number()), Duration::ZERO..Duration::from_millis(30), children);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{:?} {}", output.status, text(&output.stderr));
    (output, storm.stop())
}

/// A directory with files of given contents, removed at the end.
pub(crate) struct Tree(TempDir);

impl Tree {
    /// An empty directory.
    pub(crate) fn new() -> Tree {
        Tree(tempfile::tempdir().unwrap())
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Adds a file, and the directories it lies in.
    pub(crate) fn add(&self, name: impl AsRef<OsStr>, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name.as_ref());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, contents).unwrap();
        path
    }

    /// Adds files with every kind of name that has troubled somebody, and things that are no regular files.
    pub(crate) fn add_oddities(&self) {
        let names: [&[u8]; 16] = [
            b"plain.txt",
            b"with space",
            b" ",
            b"new\nline",
            b"back\\slash",
            b"carriage\rreturn",
            b"tab\tand\x01control",
            b"not-utf8-\xff\xfe",
            "grüße-日本語".as_bytes(),
            b"-dash",
            b"*?[glob]",
            b"'quotes\"",
            b"nested/a/b/c/file",
            b"nested.txt",
            b"nested/odd\ndirectory\\/file",
            b".hidden/.file",
        ];
        for (index, name) in names.iter().enumerate() {
            self.add(OsStr::from_bytes(name), format!("File {index} says: Hello hello, naïve world-{index}\nNo end"));
        }
        self.add("empty", "");
        fs::create_dir(self.path().join("empty directory")).unwrap();
        symlink("plain.txt", self.path().join("link to file")).unwrap();
        symlink("nested", self.path().join("link to directory")).unwrap();
        symlink("nowhere", self.path().join("broken link")).unwrap();
        symlink("..", self.path().join("nested/loop")).unwrap();
        assert!(shell(self.path(), "mkfifo fifo", &[]).status.success());
        drop(UnixListener::bind(self.path().join("socket")).unwrap());
    }

    /// Adds directories within each other whose paths become too long for a system call: even root cannot read those.
    pub(crate) fn add_too_deep(&self) {
        let name = "d".repeat(200);
        let script = format!("for i in $(seq 25); do mkdir {name} && cd -P {name} || exit 1; done; echo x > file");
        assert!(shell(self.path(), &script, &[]).status.success());
    }
}

/// Bytes for a message.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
