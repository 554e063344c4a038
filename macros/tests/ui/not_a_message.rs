//! Types that are no messages, as parameters, results, items and fields.
use offspring::{Archived, message, task};

struct Foo;

#[task]
fn by_value(foo: Foo) {}

#[task]
fn in_a_vector(foos: Vec<Foo>) {}

#[task]
fn by_reference(foo: &Foo) {}

#[task]
fn in_place(foo: &Archived<Foo>) {}

#[task]
fn slice(names: &[String]) {}

#[task]
fn slice_of_foos(foos: &[Foo]) {}

#[task]
fn cow(text: std::borrow::Cow<'_, str>) {}

#[task]
fn result() -> Foo {
    Foo
}

#[task]
fn results(n: u64) -> Vec<Foo> {
    vec![]
}

#[task]
fn handle(file: std::fs::File) {}

#[message]
struct Page {
    title: String,
    foo: Foo,
}

#[message]
enum Shape {
    Round { foos: Vec<Foo> },
}

fn main() {}
