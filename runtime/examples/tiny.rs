//! The smallest tasks there are, by one worker, each a chunk of its own: `benches/count.sh` counts their instructions.
//!
//! `tiny ITEMS [account|progress]`
#![allow(clippy::print_stdout, reason = "a program")]

use offspring::{Pool, StartMethod, task};

#[task]
fn square(x: u64) -> u64 {
    x.wrapping_mul(x)
}

fn main() -> offspring::Result<()> {
    let mut args = std::env::args().skip(1);
    let items: u64 = args.next().and_then(|items| items.parse().ok()).unwrap_or(10_000);
    // Run anew, not copied: so the tool that counts sees the worker begin.
    let pool = Pool::builder().workers(1).start_method(StartMethod::Spawn).build()?;
    let batch = pool.batch().chunk_size(1);
    let batch = match args.next().as_deref() {
        Some("account") => batch.account(true),
        Some("progress") => batch.progress_with(|_| ()),
        _ => batch,
    };
    let sum = batch.map(square, 0..items)?.into_iter().fold(0, u64::wrapping_add);
    println!("{items} squares, together {sum}");
    Ok(())
}
