//! Getting a command ready, and starting it.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::{Command, CommandError, Redirect, RunningCommand};
use crate::Signal;
use crate::process::supervisor;
use crate::sys::{self, proc, spawn};

/// Where a program is looked for when the command has no `PATH`, as the C library does.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// A command that can be started.
struct Ready {
    path: CString,
    argv: Vec<CString>,
    envp: Vec<CString>,
    streams: [Option<OwnedFd>; 3],
    errors_to_output: bool,
    directory: Option<OwnedFd>,
    own_group: bool,
    lifeline: OwnedFd,
}

/// Our ends of pipes.
#[derive(Default)]
pub(super) struct Pipes {
    pub(super) stdin: Option<PipeWriter>,
    pub(super) stdout: Option<PipeReader>,
    pub(super) stderr: Option<PipeReader>,
}

impl Command {
    /// Starts it; `defaults` say where standard output and error go without a word.
    pub(super) fn start(&self, defaults: [Redirect; 2]) -> Result<RunningCommand, CommandError> {
        let (ready, pipes, writer) = self.ready(defaults)?;
        let exec = move |death| ready.exec(writer.as_fd(), death).map(|spawned| (spawned, writer));
        let (spawned, lifeline) = supervisor::start_program(exec)
            .map_err(CommandError::spawn(self))?
            .map_err(|error| CommandError::not_started(self, error.to_string(), error.raw_os_error()))?;
        RunningCommand::new(self, spawned, lifeline, pipes)
    }

    fn ready(&self, [output, errors]: [Redirect; 2]) -> Result<(Ready, Pipes, OwnedFd), CommandError> {
        let text = |text: &OsStr| CString::new(text.as_bytes()).map_err(|error| self.invalid(&error.to_string()));
        let env = self.environment()?;
        let path = self.find(env.get(OsStr::new("PATH")))?;
        let entry = |(key, value): (OsString, OsString)| {
            let mut line = key.into_vec();
            line.push(b'=');
            line.extend(value.into_vec());
            text(&OsString::from_vec(line))
        };
        let mut pipes = Pipes::default();
        let nothing = if self.interactive { Redirect::Inherit } else { Redirect::Null };
        let stdin = self.stdin.clone().unwrap_or(nothing);
        let (stdout, stderr) = (self.stdout.clone().unwrap_or(output), self.stderr.clone().unwrap_or(errors));
        let errors_to_output = stderr == Redirect::Stdout;
        let streams = [
            self.open_for_reading(&stdin, &mut pipes.stdin)?,
            self.open_for_writing(&stdout, &mut pipes.stdout, "standard output")?,
            if errors_to_output { None } else { self.open_for_writing(&stderr, &mut pipes.stderr, "standard error")? },
        ];
        let directory = match &self.directory {
            Some(path) => {
                let name = text(path.as_os_str())?;
                let opened = proc::open_path(&name, libc::O_DIRECTORY).and_then(sys::fd::above_streams);
                Some(opened.map_err(CommandError::before(self, format!("its directory {}", path.display())))?)
            }
            None => None,
        };
        let (lifeline, writer) = sys::fd::pipe().map_err(CommandError::before(self, "making its pipe".into()))?;
        let ready = Ready {
            path: text(path.as_os_str())?,
            argv: std::iter::once(&self.program).chain(&self.args).map(|arg| text(arg)).collect::<Result<_, _>>()?,
            envp: env.into_iter().map(entry).collect::<Result<_, _>>()?,
            streams,
            errors_to_output,
            directory,
            own_group: !self.interactive,
            lifeline,
        };
        Ok((ready, pipes, writer))
    }

    fn invalid(&self, reason: &str) -> CommandError {
        CommandError::not_started(self, reason.into(), Some(libc::EINVAL))
    }

    /// Its whole environment.
    fn environment(&self) -> Result<BTreeMap<OsString, OsString>, CommandError> {
        let mut env: BTreeMap<_, _> = if self.env_clear { BTreeMap::new() } else { std::env::vars_os().collect() };
        for (key, value) in &self.env {
            if key.is_empty() || key.as_bytes().contains(&b'=') {
                return Err(self.invalid(&format!("{key:?} cannot be the name of an environment variable")));
            }
            match value {
                Some(value) => _ = env.insert(key.clone(), value.clone()),
                None => _ = env.remove(key),
            }
        }
        Ok(env)
    }

    /// The program's path.
    fn find(&self, path: Option<&OsString>) -> Result<PathBuf, CommandError> {
        if self.program.as_bytes().contains(&b'/') {
            return Ok(PathBuf::from(&self.program));
        }
        let is_program =
            |path: &PathBuf| path.metadata().is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0);
        let path = path.map_or(OsStr::new(DEFAULT_PATH), OsString::as_os_str);
        let found = std::env::split_paths(path).map(|directory| directory.join(&self.program)).find(is_program);
        found.ok_or_else(|| {
            let reason = "there is no such program in its PATH";
            CommandError::not_started(self, reason.into(), Some(libc::ENOENT))
        })
    }

    fn open_for_reading(&self, from: &Redirect, end: &mut Option<PipeWriter>) -> Result<Option<OwnedFd>, CommandError> {
        let failed = |what: &Path| CommandError::before(self, format!("its standard input {}", what.display()));
        let fd: OwnedFd = match from {
            Redirect::Inherit => return Ok(None),
            Redirect::Null => File::open("/dev/null").map_err(failed(Path::new("/dev/null")))?.into(),
            Redirect::File(path) => File::open(path).map_err(failed(path))?.into(),
            Redirect::Piped => {
                let (reader, writer) = sys::fd::pipe().map_err(failed(Path::new("")))?;
                *end = Some(writer.into());
                reader
            }
            Redirect::Append(_) | Redirect::Stdout => {
                return Err(self.invalid("standard input cannot be redirected so"));
            }
        };
        sys::fd::above_streams(fd).map(Some).map_err(failed(Path::new("")))
    }

    fn open_for_writing(
        &self,
        to: &Redirect,
        end: &mut Option<PipeReader>,
        name: &str,
    ) -> Result<Option<OwnedFd>, CommandError> {
        let failed = |what: &Path| CommandError::before(self, format!("its {name} {}", what.display()));
        let fd: OwnedFd = match to {
            Redirect::Inherit => return Ok(None),
            Redirect::Null => {
                File::options().write(true).open("/dev/null").map_err(failed(Path::new("/dev/null")))?.into()
            }
            Redirect::File(path) => File::create(path).map_err(failed(path))?.into(),
            Redirect::Append(path) => {
                File::options().append(true).create(true).open(path).map_err(failed(path))?.into()
            }
            Redirect::Piped => {
                let (reader, writer) = sys::fd::pipe().map_err(failed(Path::new("")))?;
                *end = Some(reader.into());
                writer
            }
            Redirect::Stdout => return Err(self.invalid("standard output cannot be redirected to itself")),
        };
        sys::fd::above_streams(fd).map(Some).map_err(failed(Path::new("")))
    }

    /// `exec`, by std, as nothing has to be tied to anything: the process stays what it is.
    pub(super) fn replace_this_program(&self) -> CommandError {
        let replaced = || -> Result<io::Error, CommandError> {
            let (ready, pipes, _) = self.ready([Redirect::Inherit, Redirect::Inherit])?;
            if pipes.stdin.is_some() || pipes.stdout.is_some() || pipes.stderr.is_some() {
                return Err(self.invalid("nobody would be at the other end of a pipe"));
            }
            let Ready { streams: [stdin, stdout, stderr], errors_to_output, .. } = ready;
            let env = self.environment()?;
            let mut command = std::process::Command::new(self.find(env.get(OsStr::new("PATH")))?);
            command.arg0(&self.program).args(&self.args).env_clear().envs(env);
            if let Some(directory) = &self.directory {
                command.current_dir(directory);
            }
            let own_output = || io::stdout().as_fd().try_clone_to_owned();
            let stderr = match (errors_to_output, &stdout) {
                (false, _) => stderr,
                (true, Some(stdout)) => {
                    Some(stdout.try_clone().map_err(CommandError::before(self, "its standard error".into()))?)
                }
                (true, None) => Some(own_output().map_err(CommandError::before(self, "its standard error".into()))?),
            };
            let stream = |fd: Option<OwnedFd>| fd.map_or_else(Stdio::inherit, Stdio::from);
            // Without a word the new program goes on with what this one has.
            let stdin = if self.stdin.is_none() { None } else { stdin };
            command.stdin(stream(stdin)).stdout(stream(stdout)).stderr(stream(stderr));
            // Whatever cannot be written now is lost with this program.
            _ = io::stdout().flush();
            Ok(command.exec())
        };
        replaced().map_or_else(
            |error| error,
            |error| CommandError::not_started(self, error.to_string(), error.raw_os_error()),
        )
    }
}

impl Ready {
    fn exec(&self, writer: BorrowedFd<'_>, parent_death: Option<Signal>) -> io::Result<spawn::Spawned> {
        let [stdin, stdout, stderr] = &self.streams;
        let streams = [stdin, stdout, stderr].map(|stream| stream.as_ref().map(AsFd::as_fd));
        spawn::exec(&spawn::Exec {
            program: spawn::Program::Path(&self.path),
            argv: &self.argv,
            envp: &self.envp,
            keep: &[self.lifeline.as_fd()],
            parent_death,
            setup: Some(spawn::Setup {
                streams,
                errors_to_output: self.errors_to_output,
                directory: self.directory.as_ref().map(AsFd::as_fd),
                own_group: self.own_group,
                lifeline: (self.lifeline.as_fd(), writer),
            }),
        })
    }
}
