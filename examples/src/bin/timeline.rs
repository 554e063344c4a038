//! Shows where the time of a batch went: its report as text, as a page, and as a timeline for <https://ui.perfetto.dev>.
//!
//! `timeline [DIRECTORY]` writes `report.html`, `report.json`, `timeline.svg` and `report.trace.json` there; without one, to a directory of its own that it
//! removes again.
use std::path::PathBuf;
use std::time::Duration;

use offspring::{Pool, task};

/// Renders a page; page 13 crashes its worker the first time, and page 27 never ends.
#[task]
fn render(page: u64) -> u64 {
    match (page, task::current().map_or(1, |current| current.tries)) {
        (13, 1) => std::process::abort(),
        (27, _) => std::thread::sleep(Duration::from_secs(3600)),
        _ => std::thread::sleep(Duration::from_millis(2 + page * 7 % 11)),
    }
    page * page
}

#[task]
fn check(page: u64) -> Result<u64, String> {
    std::thread::sleep(Duration::from_millis(1 + page % 3));
    if page % 17 == 5 { Err(format!("page {page} is empty")) } else { Ok(page) }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let own = tempfile::tempdir()?;
    let directory = std::env::args_os().nth(1).map_or(own.path().to_owned(), PathBuf::from);
    let pool = Pool::builder().workers(3).name("pages").account(true).build()?;
    let limit = Duration::from_millis(60);
    let pages = pool.batch().progress("rendering").chunk_size(2).retries(1).timeout(limit).try_map(render, 0..40)?;
    let checked = pool.batch().progress("checking").chunk_size(2).map(check, 0..40)?;
    let report = pool.report();
    for name in ["report.html", "report.json", "timeline.svg", "report.trace.json"] {
        report.save(directory.join(name))?;
    }
    print!("{report}");
    let (rendered, good) = (pages.iter().flatten().count(), checked.iter().flatten().count());
    println!("{rendered} of 40 pages rendered, {good} checked and good");
    Ok(())
}
