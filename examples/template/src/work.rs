//! What is done with one file.

use std::path::Path;

use offspring::{Failure, message, task};

/// What is known of a file when it is done.
#[message]
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Count {
    pub lines: u64,
    pub words: u64,
}

/// Runs in a worker process. It is still a plain function: the tests call it as one.
#[task]
pub fn count(path: &Path) -> Result<Count, Failure> {
    let text = std::fs::read_to_string(path)?;
    Ok(Count { lines: text.lines().count() as u64, words: text.split_whitespace().count() as u64 })
}

impl std::fmt::Display for Count {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:>8} {:>8}", self.lines, self.words)
    }
}

#[cfg(test)]
mod tests {
    use offspring::{Executor, Inline, Pool};

    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn a_file_is_counted() {
        assert_eq!(count(file("one two\nthree\n").path()).unwrap(), Count { lines: 2, words: 3 });
    }

    #[test]
    fn a_missing_file_is_a_failure() {
        assert!(count(Path::new("/no/such/file")).unwrap_err().to_string().contains("No such file"));
    }

    /// The same in this process and in others.
    #[test]
    fn workers_count_as_this_process_does() {
        fn with(executor: &impl Executor, paths: &[&Path]) -> Vec<Option<Count>> {
            let results = executor.try_map(count, paths.iter().copied()).unwrap();
            results.into_iter().map(|result| result.unwrap().ok()).collect()
        }
        let (one, two) = (file("a"), file(""));
        let paths = [one.path(), Path::new("/no/such/file"), two.path()];
        let expected = [Some(Count { lines: 1, words: 1 }), None, Some(Count::default())];
        assert_eq!(with(&Inline::new(), &paths), expected);
        assert_eq!(with(&Pool::new().unwrap(), &paths), expected);
    }
}
