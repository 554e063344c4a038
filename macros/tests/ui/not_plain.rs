//! Types that are not plain: they cannot lie in shared memory to be changed there.
use offspring::message;

#[message(plain)]
#[derive(Clone, Copy)]
#[repr(C)]
struct Flags {
    seen: bool,
    letter: char,
    id: u64,
}

#[message(plain)]
#[derive(Clone)]
#[repr(C)]
struct NotCopy {
    x: u64,
}

#[message]
#[derive(Clone, Copy)]
struct Message {
    x: u64,
}

#[message(plain)]
#[derive(Clone, Copy)]
#[repr(C)]
struct HoldsOneThatIsNot {
    message: Message,
    words: [usize; 2],
}

fn main() {}
