//! What tasks print, in the ways that a pool can hand it over: kept for each task, passed on at once in tagged lines, and in the order of the results.
use offspring::{OutputMode, Pool, task};
use std::time::Duration;

/// The first file takes longest; the third one crashes its worker in the middle of a line.
#[task]
fn check(name: &str, millis: u64) -> usize {
    println!("opening {name}");
    std::thread::sleep(Duration::from_millis(millis));
    if name.starts_with("broken") {
        eprint!("this looks ");
        std::process::abort();
    }
    println!("{name} is fine");
    name.len()
}

fn main() -> offspring::Result<()> {
    let files = [("a.txt", 60), ("b.txt", 30), ("broken.txt", 0), ("c.txt", 10)];
    let pool = Pool::builder().workers(2).name("check").output(OutputMode::Capture).build()?;
    // Batches choose among the ways; each task is a chunk of its own, so that all are at it side by side.
    let batch = pool.batch().chunk_size(1);

    println!("-- kept, and handed over with each result");
    let kept = batch.clone().on_output(|item, output| println!("item {item:?} wrote {} bytes", output.stdout().len()));
    for result in kept.try_map(check, files)? {
        if let Err(error) = result {
            println!("{:?} failed, and had written {:?}", error.item(), error.output().map(ToString::to_string));
        }
    }

    println!("-- passed on at once");
    batch.clone().output(OutputMode::Tagged).try_map(check, files)?;

    println!("-- passed on in order");
    batch.output(OutputMode::Ordered).try_map(check, files)?;
    println!("-- over");
    Ok(())
}
