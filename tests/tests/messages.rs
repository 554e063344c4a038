//! `#[message]` as users write it: every kind of item, in a crate that depends on `offspring` alone.
#![allow(missing_docs)]
#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt::Debug;
use std::marker::PhantomData;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use offspring::{Archived, Executor, Inline, Message, TaskError, message, task};

type Outcome = Result<(), TaskError>;

/// Fields with names that generated code uses as well.
#[message(derive(Debug, PartialEq))]
#[derive(Debug, Clone, PartialEq)]
pub struct Odd {
    pub this: u64,
    encoder: String,
    resolver: Option<Resolver>,
    r#type: Vec<u8>,
    out: (),
}

#[message(derive(Debug, PartialEq))]
#[derive(Debug, Clone, PartialEq)]
pub enum Resolver {
    Value,
    Tag(u8, String),
    Raw { archived: PathBuf, decoder: Vec<SystemTime> },
    Empty(),
    AlsoEmpty {},
}

#[message]
#[derive(Debug, Clone, PartialEq, Default)]
struct Generic<T, const N: usize = 2>
where
    T: Clone,
{
    values: Vec<T>,
    marker: PhantomData<T>,
}

#[message]
#[derive(Debug, Clone, Copy, PartialEq)]
struct Tuple(f32, [u8; 4]);

#[message]
#[derive(Debug, Clone, Copy, PartialEq)]
struct Unit;

#[message]
#[derive(Debug, Clone, PartialEq)]
enum Either<A, B> {
    Left(A),
    Right { value: B },
}

// Types that hold each other.

#[message]
#[derive(Debug, Clone, PartialEq)]
struct Block {
    statements: Vec<Statement>,
}

#[message]
#[derive(Debug, Clone, PartialEq)]
enum Statement {
    Call(String),
    Inner(Block),
    If { condition: Box<Statement>, then: Option<Box<Block>> },
}

fn odd_name() -> OsString {
    OsString::from_vec(vec![0xff, b'/', 0x80])
}

fn odd() -> Odd {
    let decoder = vec![SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH - Duration::from_nanos(7)];
    Odd {
        this: 1,
        encoder: "text ".repeat(10),
        resolver: Some(Resolver::Raw { archived: odd_name().into(), decoder }),
        r#type: vec![1, 2],
        out: (),
    }
}

#[task]
fn same_odd(value: Odd) -> Odd {
    value
}

#[task]
fn same_resolver(value: &Resolver) -> Resolver {
    value.clone()
}

#[task(instantiate((String, 2), (u8, 3)))]
fn same_generic<T: Clone + Message, const N: usize>(value: Generic<T, N>) -> Generic<T, N> {
    value
}

#[task]
fn same_either(value: Either<PathBuf, Arc<str>>) -> Either<PathBuf, Arc<str>> {
    value
}

#[task]
fn same_small(value: (Tuple, Unit)) -> (Tuple, Unit) {
    value
}

#[task]
fn same_block(value: Block) -> Block {
    value
}

#[task]
fn same_map(value: HashMap<PathBuf, Vec<Option<OsString>>>) -> HashMap<PathBuf, Vec<Option<OsString>>> {
    value
}

#[test]
fn every_kind_of_item_comes_back() -> Outcome {
    let inline = Inline::new();
    assert_eq!(inline.map(same_odd, [odd()])?, [odd()]);
    let all = [
        Resolver::Value,
        Resolver::Tag(7, "x".into()),
        odd().resolver.unwrap_or(Resolver::Value),
        Resolver::Empty(),
        Resolver::AlsoEmpty {},
    ];
    assert_eq!(inline.map(same_resolver, &all)?, all);
    let generic = Generic { values: vec!["a".to_string()], marker: PhantomData };
    assert_eq!(inline.map(same_generic::<String, 2>, [generic.clone()])?, [generic]);
    let sides = [Either::Left(odd_name().into()), Either::Right { value: "right".into() }];
    assert_eq!(inline.map(same_either, sides.clone())?, sides);
    let small = (Tuple(1.5, [1, 2, 3, 4]), Unit);
    assert_eq!(inline.map(same_small, [small])?, [small]);
    let map = HashMap::from([(odd_name().into(), vec![None, Some(odd_name())])]);
    assert_eq!(inline.map(same_map, [map.clone()])?, [map]);
    Ok(())
}

#[test]
fn types_that_hold_each_other_come_back() -> Outcome {
    let leaf = Statement::Call("f".into());
    let block = Block { statements: vec![leaf.clone(), leaf.clone()] };
    let condition = Box::new(Statement::Inner(block.clone()));
    let value = Block { statements: vec![leaf, Statement::If { condition, then: Some(Box::new(block)) }] };
    assert_eq!(Inline::new().map(same_block, [value.clone()])?, [value]);
    Ok(())
}

#[task]
fn looked_at(value: &Archived<Resolver>) -> String {
    match value {
        ArchivedResolver::Value => "value".into(),
        ArchivedResolver::Tag(number, text) => format!("{number}{}", text.as_str()),
        ArchivedResolver::Raw { archived, decoder } => format!("{} {}", archived.display(), decoder.len()),
        other => format!("{other:?}"),
    }
}

#[test]
fn archived_enums_are_matched_in_place() -> Outcome {
    let values = [Resolver::Tag(1, "x".into()), Resolver::AlsoEmpty {}, Resolver::Value];
    assert_eq!(Inline::new().map(looked_at, &values)?, ["1x", "AlsoEmpty", "value"]);
    Ok(())
}

/// Deeper than any honest message: refused, where reading it back would overflow the stack.
#[test]
fn nesting_without_end_is_an_error() {
    let mut statement = Statement::Call("f".into());
    for _ in 0..2000 {
        statement = Statement::If { condition: Box::new(statement), then: None };
    }
    let value = Block { statements: vec![statement] };
    let error = Inline::new().map(same_block, [&value]).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains("nested deeper than 512 levels"), "{error}");
}

fn message<T: Message + Debug>() {}

#[test]
fn what_std_offers_is_a_message() {
    message::<Box<[Option<Result<u8, String>>]>>();
    message::<std::collections::BTreeMap<String, std::collections::VecDeque<Duration>>>();
    message::<std::rc::Rc<std::net::SocketAddr>>();
    message::<std::ops::RangeInclusive<char>>();
    message::<std::borrow::Cow<'static, str>>();
    message::<(u8, u16, u32, u64, u128, i8, i16, i32, i64, i128, usize, isize)>();
    message::<std::num::NonZeroUsize>();
    message::<std::ffi::CString>();
}
