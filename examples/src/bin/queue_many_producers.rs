//! Three processes put a pair into one queue.
use offspring::{Failure, Queue, task};

#[task]
fn put(n: u32, queue: Queue<(u32, u32)>) -> Result<(), Failure> {
    Ok(queue.put(&(n, std::process::id()))?)
}

fn main() -> offspring::Result<()> {
    let queue = Queue::unbounded()?;
    let children = (0..3).map(|n| offspring::spawn(put, (n, &queue))).collect::<Result<Vec<_>, _>>()?;
    for _ in 0..3 {
        let (n, pid) = queue.get()?;
        println!("number {n} from {pid}");
    }
    for (n, child) in children.into_iter().enumerate() {
        println!("child {n} was {}", child.pid());
        child.join()??;
    }
    Ok(())
}
