//! What tasks log, with `tracing` and with `log`: it comes to the subscriber of the program, with worker, task and item, also the last words of a
//! worker that crashes.
use offspring::{Pool, task};
use tracing::{info, info_span, warn};

#[task]
fn parse(text: &str) -> Result<i64, String> {
    let _span = info_span!("parsing", text).entered();
    info!(bytes = text.len(), "begun");
    // By a crate that knows nothing of `tracing`.
    log::info!("looking closer");
    if text == "poison" {
        warn!("this will not end well");
        std::process::abort();
    }
    text.parse().map_err(|error| {
        warn!(%error, "not a number");
        format!("{text}: {error}")
    })
}

fn main() -> offspring::Result<()> {
    // Before the pool is built: that looks for a subscriber once.
    tracing_subscriber::fmt().without_time().with_ansi(false).init();
    let pool = Pool::builder().workers(2).build()?;
    let results = pool.batch().chunk_size(1).try_map(parse, ["12", "x", "poison", "7"])?;
    let sum: i64 = results.iter().flatten().flatten().sum();
    info!(sum, "done");
    Ok(())
}
