//! Where a child's standard streams lead.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::OwnedFd;

/// Where a child's standard input, output or error leads.
///
/// Without a word a child has its parent's streams. A file or a pipe's end converts into a `Stream`.
///
/// # Examples
/// ```no_run
/// use offspring::{Process, process::Stream, task};
///
/// #[task]
/// fn report() {
///     println!("all is well");
/// }
///
/// # fn main() -> offspring::Result<()> {
/// let log = std::fs::File::create("report.log").expect("a log file");
/// Process::new(report, ()).stdin(Stream::null()).stdout(log).spawn()?.join()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Stream(Kind);

#[derive(Debug)]
enum Kind {
    Inherit,
    Null,
    Piped,
    Fd(OwnedFd),
}

impl Stream {
    /// The parent's stream.
    pub fn inherit() -> Stream {
        Stream(Kind::Inherit)
    }

    /// `/dev/null`: reads nothing, and what is written is gone.
    pub fn null() -> Stream {
        Stream(Kind::Null)
    }

    /// A pipe, whose other end is in [`Child::stdin`](crate::Child::stdin), `stdout` or `stderr`.
    pub fn piped() -> Stream {
        Stream(Kind::Piped)
    }

    /// For reading by the child: its descriptor, `None` for the parent's; and our end.
    pub(crate) fn open_for_reading(self) -> io::Result<(Option<OwnedFd>, Option<PipeWriter>)> {
        match self.0 {
            Kind::Piped => {
                let (reader, writer) = io::pipe()?;
                Ok((Some(reader.into()), Some(writer)))
            }
            Kind::Null => Ok((Some(File::open("/dev/null")?.into()), None)),
            Kind::Fd(fd) => Ok((Some(fd), None)),
            Kind::Inherit => Ok((None, None)),
        }
    }

    /// For writing by the child: its descriptor, `None` for the parent's; and our end.
    pub(crate) fn open_for_writing(self) -> io::Result<(Option<OwnedFd>, Option<PipeReader>)> {
        match self.0 {
            Kind::Piped => {
                let (reader, writer) = io::pipe()?;
                Ok((Some(writer.into()), Some(reader)))
            }
            Kind::Null => Ok((Some(File::options().write(true).open("/dev/null")?.into()), None)),
            Kind::Fd(fd) => Ok((Some(fd), None)),
            Kind::Inherit => Ok((None, None)),
        }
    }
}

impl<T: Into<OwnedFd>> From<T> for Stream {
    fn from(file: T) -> Stream {
        Stream(Kind::Fd(file.into()))
    }
}
