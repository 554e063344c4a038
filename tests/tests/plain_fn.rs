//! A task is still an ordinary function.
#![allow(missing_docs)]
use offspring::{message, task};

#[task]
fn square(x: u64) -> u64 {
    x * x
}

#[task]
fn sum(a: u64, b: u64) -> u64 {
    a + b
}

#[task]
fn nothing() {}

#[message]
#[derive(Debug, Clone, PartialEq)]
struct Page {
    url: String,
    links: Vec<String>,
    saved: Option<std::path::PathBuf>,
}

#[task]
fn degree(page: &offspring::Archived<Page>) -> usize {
    page.links.len()
}

#[test]
fn it_is_called_like_any_function() {
    nothing();
    assert_eq!(square(3), 9);
    assert_eq!(sum(1, 2), 3);
    let square = square(4);
    assert_eq!(square, 16);
    let names: Vec<_> = offspring::tasks().iter().map(|task| task.name()).collect();
    assert_eq!(names, ["plain_fn::degree", "plain_fn::nothing", "plain_fn::square", "plain_fn::sum"]);
}
