//! Children never run `main`: the line is printed once, without any guard.
use offspring::task;

#[task]
fn nothing() {}

fn main() -> offspring::Result<()> {
    println!("66666");
    let children = [(); 3].map(|()| offspring::spawn(nothing, ()));
    for child in children {
        child?.join()?;
    }
    Ok(())
}
