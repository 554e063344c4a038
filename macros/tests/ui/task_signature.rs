//! Signatures that cannot be a task's.
use offspring::task;

#[task]
async fn asynchronous(x: u64) -> u64 {
    x
}

#[task]
unsafe fn dangerous(x: u64) -> u64 {
    x
}

#[task]
extern "C" fn foreign(x: u64) -> u64 {
    x
}

#[task]
fn generic<T>(x: T) -> T {
    x
}

#[task(instantiate(u32))]
fn not_generic(x: u64) -> u64 {
    x
}

#[task(instantiate(u32, u64))]
fn two_parameters<A: offspring::Message, B: offspring::Message>(a: A, b: B) -> (A, B) {
    (a, b)
}

#[task]
fn unnamed(x: impl Into<u64>) -> u64 {
    x.into()
}

#[task]
fn kept(text: &'static str) -> usize {
    text.len()
}

#[task]
fn kept_inside(text: &[&'static str]) -> usize {
    text.len()
}

#[task]
fn bounded<'a: 'a>(text: &'a str) -> usize {
    text.len()
}

#[task]
fn bounded_below<'a>(text: &'a str) -> usize
where
    'a: 'static,
{
    text.len()
}

#[task]
fn mutable(x: u64, out: &mut Vec<u64>) {
    out.push(x);
}

#[task]
fn dynamic(x: &dyn std::fmt::Debug) -> String {
    format!("{x:?}")
}

#[task]
fn boxed(x: Box<dyn std::fmt::Debug>) -> String {
    format!("{x:?}")
}

#[task]
fn pointer(x: *const u8) -> bool {
    x.is_null()
}

#[task]
fn callback(f: fn(u64) -> u64) -> u64 {
    f(1)
}

#[task]
fn returns_a_borrow(text: &str) -> &str {
    text
}

#[task]
fn returns_a_lifetime<'a>(text: &'a str) -> std::borrow::Cow<'a, str> {
    text.into()
}

#[task]
fn returns_something(n: u64) -> impl Iterator<Item = u64> {
    0..n
}

#[task]
fn never(x: u64) -> ! {
    panic!("{x}")
}

#[task]
fn method(&self, x: u64) -> u64 {
    x
}

#[task]
fn conditional(#[cfg(test)] x: u64) {}

#[task]
#[rustfmt::skip]
fn nine(_: u8, _: u8, _: u8, _: u8, _: u8, _: u8, _: u8, _: u8, _: u8) {}

#[task(state)]
fn state_of_state(state: &mut u64) -> u64 {
    *state
}

fn main() {}
