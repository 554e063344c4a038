//! Five processes, each started and joined in turn.
use offspring::task;

#[task]
fn foo(i: u32) {
    println!("called function in process: {i}");
}

fn main() -> offspring::Result<()> {
    for i in 0..5 {
        offspring::spawn(foo, i)?.join()?;
    }
    Ok(())
}
