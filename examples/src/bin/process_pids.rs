//! Who is whose parent.
use offspring::{process, task};

#[task]
fn family() {
    let parent = process::parent().map(|parent| parent.pid());
    println!("child: pid {}, parent {}", std::process::id(), parent.unwrap_or(0));
}

fn main() -> offspring::Result<()> {
    println!("main: pid {}", std::process::id());
    let child = offspring::spawn(family, ())?;
    println!("main: child {}", child.pid());
    child.join()?;
    Ok(())
}
