//! Where `#[task]` does not belong, and options that do not exist.
use offspring::task;

#[task]
struct NotAFunction;

#[task]
mod not_a_function {}

#[task]
const NOT_A_FUNCTION: u64 = 1;

struct Generic<T>(T);

#[task]
impl<T> Generic<T> {
    fn run(x: u64) -> u64 {
        x
    }
}

struct Empty;

#[task]
impl Empty {}

#[task(name = "one")]
impl Empty {
    fn a() {}
    fn b() {}
}

trait Declared {
    #[task]
    fn without_a_body(x: u64) -> u64;
}

#[task(nam = "x")]
fn misspelt() {}

#[task(name = 7)]
fn wrong_value() {}

#[task(name)]
fn no_value() {}

#[task(version = 99999999999)]
fn large_version() {}

#[task(version = 1, version = 2)]
fn twice() {}

#[task(instantiate)]
fn no_list<T>(_: T) {}

#[task(instantiate())]
fn empty_list<T>(_: T) {}

impl Empty {
    #[task]
    fn associated(x: u64) -> Option<Self> {
        (x > 0).then_some(Empty)
    }
}

fn main() {}
