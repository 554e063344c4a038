//! The body is not parsed: what is wrong with it is said by the compiler, once, and the task is there.
use offspring::{Executor, Inline, task};

#[task]
fn unfinished(x: u64) -> u64 {
    x.
}

#[task]
fn wrong(x: u64) -> u64 {
    let y: u64 = "text";
    y
}

fn main() {
    let _ = Inline::new().map(unfinished, [1]);
    let _ = Inline::new().map(wrong, [1]);
}
