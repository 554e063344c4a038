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
#[derive(Clone, Copy)]
struct PlainInAnyOrder {
    x: u64,
}

#[message(plain)]
#[derive(Clone, Copy)]
#[repr(C)]
enum PlainEnum {
    A,
}

#[message(plain, derive(Debug))]
#[derive(Clone, Copy)]
#[repr(C)]
struct PlainArchived {
    x: u64,
}

#[message(nothing)]
struct Unknown {
    x: u64,
}

fn main() {}
