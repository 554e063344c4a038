//! Any error of a task, as a message.

use std::error::Error as StdError;
use std::fmt;
use std::panic::Location;

use offspring_macros::message;

/// Any error, by `?`, as a task's result: its text, its causes, its type and where it was turned into this.
///
/// Errors of most crates are no messages, as they hold handles or trait objects. A `Failure` is what remains of one when
/// it leaves its process. It is no [`std::error::Error`] itself, which is what makes `?` work for all of them.
///
/// `{}` shows the error, `{:#}` its causes too, on one line; `{:?}` shows them line by line.
///
/// ```
/// use offspring::{Failure, task};
///
/// #[task]
/// fn parse(text: &str) -> Result<u64, Failure> {
///     let number: u64 = text.trim().parse()?;
///     if number == 0 {
///         return Err(Failure::msg("zero is not allowed"));
///     }
///     Ok(number)
/// }
///
/// let error = parse("x").unwrap_err();
/// assert_eq!(error.to_string(), "invalid digit found in string");
/// assert_eq!(error.type_name(), "core::num::error::ParseIntError");
/// ```
#[message(crate = crate, derive(Debug))]
#[derive(Clone, PartialEq, Eq)]
pub struct Failure {
    chain: Vec<String>,
    type_name: String,
    place: String,
}

impl Failure {
    /// A failure that says this.
    ///
    /// ```
    /// # use offspring::Failure;
    /// assert_eq!(Failure::msg(format!("no row {}", 7)).to_string(), "no row 7");
    /// ```
    #[track_caller]
    pub fn msg<T: fmt::Display>(text: T) -> Failure {
        Failure {
            chain: vec![text.to_string()],
            type_name: std::any::type_name::<T>().to_owned(),
            place: Location::caller().to_string(),
        }
    }

    /// The same failure with what was attempted put before it.
    ///
    /// ```
    /// # use offspring::Failure;
    /// let failure = Failure::msg("no such file").context("cannot read the configuration");
    /// assert_eq!(format!("{failure:#}"), "cannot read the configuration: no such file");
    /// ```
    #[must_use]
    pub fn context<T: fmt::Display>(mut self, attempted: T) -> Failure {
        self.chain.insert(0, attempted.to_string());
        self
    }

    /// What it says, then its cause, then the cause's cause, and so on.
    pub fn chain(&self) -> impl ExactSizeIterator<Item = &str> + DoubleEndedIterator {
        self.chain.iter().map(String::as_str)
    }

    /// The type of the error it was made of.
    pub fn type_name(&self) -> &str {
        &self.type_name
    }

    /// `file:line:column` where it was made: of the `?`, mostly.
    pub fn place(&self) -> &str {
        &self.place
    }
}

impl<E: StdError + 'static> From<E> for Failure {
    #[track_caller]
    fn from(error: E) -> Failure {
        let mut chain = vec![error.to_string()];
        let mut cause = error.source();
        while let Some(error) = cause {
            chain.push(error.to_string());
            cause = error.source();
        }
        Failure { chain, type_name: std::any::type_name::<E>().to_owned(), place: Location::caller().to_string() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if f.alternate() {
            return f.write_str(&self.chain.join(": "));
        }
        f.write_str(self.chain.first().map_or("", String::as_str))
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        if self.chain.len() > 1 {
            f.write_str("\n\nCaused by:")?;
            for cause in &self.chain[1..] {
                write!(f, "\n    {cause}")?;
            }
        }
        if self.place.is_empty() { Ok(()) } else { write!(f, "\n\nAt {}", self.place) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot load")]
    struct Outer(#[source] std::num::ParseIntError);

    fn load() -> Result<u64, Failure> {
        let number = "x".parse().map_err(Outer)?;
        Ok(number)
    }

    #[test]
    fn the_chain_and_the_place_are_kept() -> Result<(), String> {
        let failure = load().err().ok_or("loaded")?;
        assert_eq!(format!("{failure:#}"), "cannot load: invalid digit found in string");
        assert!(failure.place().contains("failure.rs"), "{}", failure.place());
        assert!(failure.type_name().ends_with("Outer"));
        assert!(format!("{failure:?}").contains("Caused by:\n    invalid digit"));
        Ok(())
    }
}
