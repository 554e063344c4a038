//! What cannot be a shared static.
use offspring::shared;
use offspring::sync::Mutex;

#[shared]
fn not_a_static() {}

#[shared]
const MANY: Mutex<u64> = Mutex::new(0)?;

#[shared]
static mut CHANGING: Mutex<u64> = Mutex::new(0)?;

#[shared(name = "x")]
static WITH_OPTION: u64 = 7;

#[shared]
static WRONG: Mutex<u64> = 7u64;

#[shared]
static NO_MESSAGE: std::sync::Mutex<u64> = std::sync::Mutex::new(0);

#[shared]
static WITHOUT_QUESTION_MARK: Mutex<u64> = Mutex::new(0);

fn main() {
    *MANY.lock().unwrap() = 1;
    *CHANGING.lock().unwrap() = 1;
    let _ = NO_MESSAGE.lock();
}
