//! One mistake is one error: the item is there all the same, and is used below.
use offspring::{message, task};

#[task(unknown)]
fn square(x: u64) -> u64 {
    x * x
}

#[message(unknown)]
#[derive(Debug)]
struct Page {
    size: u64,
}

fn main() {
    println!("{} {:?}", square(3), Page { size: 1 });
}
