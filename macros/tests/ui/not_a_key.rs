//! Types that cannot be keys: equal values of them need not have equal bytes.
use offspring::message;
use offspring::shared::Dict;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

#[message(key)]
#[derive(PartialEq)]
struct Place {
    name: String,
    height: f64,
}

#[message]
#[derive(PartialEq, Eq, Hash)]
struct NotMarked {
    id: u32,
}

fn main() {
    let _ = Dict::<f32, u8>::new();
    let _ = Dict::<PathBuf, u8>::new();
    let _ = Dict::<(u8, HashMap<u8, u8>), u8>::new();
    let _ = Dict::<Vec<Arc<str>>, u8>::new();
    let _ = Dict::<NotMarked, u8>::new();
}
