//! Items that do not fit, and functions that cannot be tasks.
use offspring::{Executor, Inline, task};

struct Foo;

#[task]
fn square(x: u64) -> u64 {
    x * x
}

#[task]
fn sum(a: u64, b: u64) -> u64 {
    a + b
}

#[task]
fn words(text: &str) -> usize {
    text.len()
}

fn plain(_: Foo) -> u64 {
    0
}

fn main() {
    let inline = Inline::new();
    let _ = inline.map(square, ["text"]);
    let _ = inline.map(square, [(1, 2)]);
    let _ = inline.map(sum, [1, 2]);
    let _ = inline.map(words, [1u64]);
    let _ = inline.map(plain, [Foo]);
    let captured = 1;
    let _ = inline.map(move |_: Foo| captured, [Foo]);
}
