//! Any error of a task, as a message.

use std::error::Error as StdError;
use std::fmt;
use std::panic::Location;

use offspring_macros::message;

/// Any error, by `?`, as a task's result: its text, its causes, its type and where it was turned into this.
///
/// Errors of most crates are no messages, as they hold handles or trait objects. A `Failure` is what remains of one when
/// it leaves its process. It is no [`std::error::Error`] itself, which is what makes `?` work for all of them. It becomes one
/// by `?` in a function that returns `Box<dyn Error>`.
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

/// A failure as a [`std::error::Error`]: shown as the failure is, its causes as its sources.
struct Boxed {
    failure: Failure,
    cause: Option<Box<Cause>>,
}

/// A cause of a failure that was boxed.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
struct Cause {
    text: String,
    #[source]
    cause: Option<Box<Cause>>,
}

impl fmt::Debug for Boxed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.failure, f)
    }
}

impl fmt::Display for Boxed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.failure, f)
    }
}

impl StdError for Boxed {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause.as_deref().map(|cause| cause as &(dyn StdError + 'static))
    }
}

impl From<Failure> for Box<dyn StdError + Send + Sync> {
    fn from(failure: Failure) -> Self {
        let causes = failure.chain.iter().skip(1).rev();
        let cause = causes.fold(None, |cause, text| Some(Box::new(Cause { text: text.clone(), cause })));
        Box::new(Boxed { failure, cause })
    }
}

impl From<Failure> for Box<dyn StdError> {
    fn from(failure: Failure) -> Self {
        Box::<dyn StdError + Send + Sync>::from(failure)
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

    #[test]
    fn a_boxed_one_is_shown_as_before_and_has_its_causes() {
        fn shared() -> Result<u64, Box<dyn StdError + Send + Sync>> {
            Ok(load()?)
        }
        fn local() -> Result<u64, Box<dyn StdError>> {
            Ok(load().map_err(|failure| failure.context("at start"))?)
        }
        for (error, causes) in [(shared().err().map(|error| error as Box<dyn StdError>), 1), (local().err(), 2)] {
            let error = error.expect("it fails");
            assert!(format!("{error:#}").ends_with("cannot load: invalid digit found in string"));
            assert!(format!("{error:?}").contains("Caused by:"));
            let chain: Vec<String> =
                std::iter::successors(error.source(), |&error| error.source()).map(ToString::to_string).collect();
            assert_eq!(chain.len(), causes);
            assert_eq!(chain.last().map(String::as_str), Some("invalid digit found in string"));
        }
    }
}
