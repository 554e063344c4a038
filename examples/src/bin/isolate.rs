//! Files go through a parser that crashes, hangs and eats memory on some of them: all others come out, and each bad one is explained.
//!
//! Without arguments it makes the files for itself.
use std::path::{Path, PathBuf};
use std::time::Duration;

use offspring::{Failure, Pool, Signal, TaskError, task};
use offspring_examples::fragile;

#[task]
fn parse(path: &Path) -> Result<String, Failure> {
    Ok(fragile::parse(&std::fs::read_to_string(path)?)?)
}

/// What became of a file, in a few words.
fn explain(result: Result<Result<String, Failure>, TaskError>) -> String {
    match result {
        Ok(Ok(text)) => format!("`{text}`"),
        Ok(Err(failure)) => format!("refused: {failure}"),
        Err(error) if error.is_panicked() => format!("panicked: {}", error.message().unwrap_or_default()),
        Err(error) if error.is_timed_out() => "took too long and was ended".to_owned(),
        Err(error) => match error.exit_status() {
            // Who aborts has said why, as a rule.
            Some(status) if status.signal() == Some(Signal::ABRT) => {
                let mut lines = error.stderr().unwrap_or_default().lines().rev();
                let reason = lines.find(|line| !line.starts_with("note:")).unwrap_or("no reason given");
                format!("worker {status}: {reason}")
            }
            Some(status) => format!("worker {status}"),
            None => error.to_string(),
        },
    }
}

fn samples(directory: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = vec![
        ("crashes", "head 1 1000000000000".to_owned()),
        ("hangs", "a 0 1\nb 0 0".to_owned()),
        ("eats-memory", "1234567890 1000000000 -1".to_owned()),
        ("panics", "12 9223372036854775807 -1".to_owned()),
        ("is-refused", "no numbers".to_owned()),
    ];
    let names: Vec<String> = (1..=20).map(|i| format!("good-{i:02}")).collect();
    files.extend(names.iter().map(|name| (name.as_str(), format!("{name} 1 1\n! 2 -1"))));
    files.sort();
    let write = |(name, text): &(&str, String)| std::fs::write(directory.join(name), text);
    files.iter().try_for_each(write)?;
    Ok(files.iter().map(|(name, _)| directory.join(name)).collect())
}

fn main() -> offspring::Result<()> {
    let directory = tempfile::tempdir()?;
    let mut paths: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if paths.is_empty() {
        paths = samples(directory.path())?;
    }
    let pool = Pool::builder()
        .task_timeout(Duration::from_millis(500))
        .memory_limit(256 << 20)
        .stderr_tail(true)
        .env("RUST_BACKTRACE", "0")
        .build()?;
    for (path, result) in paths.iter().zip(pool.try_map(parse, &paths)?) {
        println!("{}: {}", path.file_name().unwrap_or_default().display(), explain(result));
    }
    Ok(())
}
