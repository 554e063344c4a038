//! Ctrl-C: SIGINT to a whole process group, as a terminal sends it.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use offspring_tests::{proc, watchdog};

/// Whoever runs the tests in the background may have SIGINT ignored, which a program inherits.
fn heed_the_key() -> std::io::Result<()> {
    // SAFETY: no handler is set, the default action is.
    match unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) } {
        libc::SIG_ERR => Err(std::io::Error::last_os_error()),
        _ => Ok(()),
    }
}

struct Root {
    child: Child,
    directory: tempfile::TempDir,
    /// Its descendants when Ctrl-C was pressed.
    family: Vec<i32>,
}

impl Root {
    /// A program in a process group of its own.
    fn start(what: &str) -> Root {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_ctrl_c_root"));
        command.arg(what).arg(directory.path()).process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
        // SAFETY: one system call, in a child that is about to become another program; it is async-signal-safe.
        unsafe { command.pre_exec(heed_the_key) };
        let child = command.spawn().unwrap();
        Root { child, directory, family: Vec::new() }
    }

    /// A program in a session of its own, on a terminal whose other end comes back.
    fn start_on_terminal(what: &str) -> (Root, File) {
        let directory = tempfile::tempdir().unwrap();
        let terminal = nix::pty::openpty(None, None).unwrap();
        let (ours, theirs) = (File::from(terminal.master), File::from(terminal.slave));
        let mut command = Command::new(env!("CARGO_BIN_EXE_ctrl_c_root"));
        command.arg(what).arg(directory.path());
        command.stdin(theirs.try_clone().unwrap()).stdout(theirs.try_clone().unwrap()).stderr(theirs);
        // SAFETY: system calls, in a child that is about to become another program; all are async-signal-safe.
        unsafe {
            command.pre_exec(|| {
                heed_the_key()?;
                nix::unistd::setsid()?;
                // Standard input becomes the terminal that the session is controlled by.
                match libc::ioctl(0, libc::TIOCSCTTY, 0) {
                    -1 => Err(std::io::Error::last_os_error()),
                    _ => Ok(()),
                }
            });
        }
        let child = command.spawn().unwrap();
        (Root { child, directory, family: Vec::new() }, ours)
    }

    fn note_family(&mut self) {
        self.family = proc::descendants(self.child.id() as i32).into_iter().map(|it| it.pid).collect();
        assert!(!self.family.is_empty());
    }

    /// Its end on a terminal: status, and all that it has written; and nobody left.
    fn end_on_terminal(mut self, mut terminal: File) -> (std::process::ExitStatus, String) {
        let mut output = Vec::new();
        // A terminal that nobody has open any more gives EIO instead of an end.
        let error = terminal.read_to_end(&mut output).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EIO), "{error}");
        let status = self.child.wait().unwrap();
        self.await_nobody();
        (status, String::from_utf8(output).unwrap())
    }

    fn await_nobody(&self) {
        let deadline = Instant::now() + Duration::from_secs(5);
        let left = || self.family.iter().filter_map(|&pid| proc::process(pid)).filter(|it| it.state != 'Z').count();
        while left() > 0 {
            assert!(Instant::now() < deadline, "{} processes are left", left());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn marks(&self, what: &str) -> usize {
        let names = std::fs::read_dir(self.directory.path()).unwrap().flatten();
        names.filter(|entry| entry.file_name().to_string_lossy().starts_with(what)).count()
    }

    /// Waits until so many tasks have begun.
    fn await_begun(&self, count: usize) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.marks("begun") < count {
            assert!(Instant::now() < deadline, "the tasks did not begin");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn press(&mut self) {
        self.note_family();
        // SAFETY: takes integers; the group is that of a child which was not awaited yet.
        assert_eq!(unsafe { libc::kill(-(self.child.id() as i32), libc::SIGINT) }, 0);
    }

    /// Its end: status, output, errors; and nobody left.
    fn end(mut self) -> (std::process::ExitStatus, String, String) {
        let (mut output, mut errors) = (String::new(), String::new());
        // Ends when the last process that has them is gone.
        self.child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        let status = self.child.wait().unwrap();
        self.await_nobody();
        (status, output, errors)
    }
}

#[test]
fn a_program_without_a_handler_dies_of_the_signal_and_leaves_nobody() {
    let _watch = watchdog(Duration::from_secs(60));
    let mut root = Root::start("default");
    root.await_begun(2);
    let begun = Instant::now();
    root.press();
    let directory = root.directory.path().to_owned();
    let (status, _, errors) = root.end();
    assert_eq!((status.signal(), errors.as_str()), (Some(libc::SIGINT), ""));
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert!(!Path::new(&directory).join("ended-0").exists());
}

#[test]
fn the_first_press_finishes_what_runs_and_cancels_the_rest() {
    let _watch = watchdog(Duration::from_secs(60));
    let mut root = Root::start("handled");
    // The child, the nested task and one more.
    root.await_begun(3);
    root.press();
    let begun = root.marks("begun");
    let directory = root.directory.path().to_owned();
    let count = |what: &str| {
        let names = std::fs::read_dir(&directory).map(|names| names.flatten().collect::<Vec<_>>()).unwrap_or_default();
        names.iter().filter(|entry| entry.file_name().to_string_lossy().starts_with(what)).count()
    };
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(count("begun"), begun);
    assert_eq!(count("ended"), begun, "what ran is finished");
    let (status, output, errors) = root.end();
    assert_eq!(status.code(), Some(130), "{output}{errors}");
    assert!(
        output.contains(&format!("done {}, nested Some(50), child Some(100), cancelled true", begun - 2)),
        "{output}"
    );
    assert!(output.contains("again Err(Cancelled), interrupted true"), "{output}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(errors.contains("interrupted"), "{errors}");
}

#[test]
fn the_second_press_kills_and_leaves_nobody() {
    let _watch = watchdog(Duration::from_secs(60));
    let mut root = Root::start("twice");
    root.await_begun(2);
    root.press();
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(root.marks("ended"), 0);
    let begun = Instant::now();
    root.press();
    let (status, _, errors) = root.end();
    assert_eq!(status.code(), Some(130), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_programs_own_handler_is_left_alone() {
    let _watch = watchdog(Duration::from_secs(60));
    let mut root = Root::start("own");
    root.await_begun(1);
    root.press();
    let (status, output, errors) = root.end();
    assert_eq!((status.code(), errors.as_str()), (Some(0), ""));
    assert_eq!(output, "refused true\nSIGINT, then 0\n");
}

/// The key itself: the terminal sends the signal to all of the foreground group.
const CTRL_C: &[u8] = b"\x03";

#[test]
fn the_key_on_a_terminal_finishes_what_runs_and_leaves_nobody() {
    let _watch = watchdog(Duration::from_secs(60));
    let (mut root, mut terminal) = Root::start_on_terminal("handled");
    root.await_begun(3);
    root.note_family();
    terminal.write_all(CTRL_C).unwrap();
    let (status, output) = root.end_on_terminal(terminal);
    assert_eq!(status.code(), Some(130), "{output}");
    assert_eq!(output.matches("interrupted: running tasks are finished").count(), 1, "{output}");
    assert!(output.contains("child Some(100), cancelled true"), "{output}");
    assert!(output.contains("interrupted true"), "{output}");
    assert!(!output.contains("panicked"), "{output}");
}

#[test]
fn the_key_pressed_twice_on_a_terminal_ends_all_at_once() {
    let _watch = watchdog(Duration::from_secs(60));
    let (mut root, mut terminal) = Root::start_on_terminal("twice");
    root.await_begun(2);
    root.note_family();
    terminal.write_all(CTRL_C).unwrap();
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(root.marks("ended"), 0);
    terminal.write_all(CTRL_C).unwrap();
    let begun = Instant::now();
    let (status, output) = root.end_on_terminal(terminal);
    assert_eq!(status.code(), Some(130), "{output}");
    assert_eq!(output.matches("interrupted").count(), 1, "{output}");
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn the_key_on_a_terminal_ends_a_program_without_a_handler_and_its_children() {
    let _watch = watchdog(Duration::from_secs(60));
    let (mut root, mut terminal) = Root::start_on_terminal("default");
    root.await_begun(2);
    root.note_family();
    terminal.write_all(CTRL_C).unwrap();
    let (status, output) = root.end_on_terminal(terminal);
    // The terminal shows the key.
    assert_eq!((status.signal(), output.trim()), (Some(libc::SIGINT), "^C"));
}
