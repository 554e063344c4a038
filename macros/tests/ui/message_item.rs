//! What `#[message]` refuses.
use offspring::message;

#[message]
fn function() {}

#[message]
union Union {
    a: u8,
    b: u8,
}

#[message]
enum Void {}

#[message]
struct Borrowing<'a> {
    text: &'a str,
}

#[message]
struct Static {
    text: &'static str,
}

#[message]
struct Nested {
    texts: Vec<Option<&'static str>>,
}

#[message]
struct Pointer {
    at: *const u8,
}

#[message]
struct Callback {
    f: fn(u64) -> u64,
}

#[message]
struct Dynamic {
    value: Box<dyn std::any::Any>,
}

#[message(plain)]
struct Plain {
    x: u64,
}

#[message(nothing)]
struct Unknown {
    x: u64,
}

fn main() {}
