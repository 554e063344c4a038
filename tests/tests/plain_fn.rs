//! A task is still an ordinary function, whatever surrounds it.
#![allow(missing_docs)]

use offspring::{Executor, Inline, TaskError, task};

/// Doubles.
#[task]
fn double(x: u64) -> u64 {
    x * 2
}

#[test]
fn it_is_called_passed_and_coerced_like_any_function() {
    assert_eq!(double(3), 6);
    assert_eq!([1, 2].map(double), [2, 4]);
    assert_eq!((1..3).map(double).collect::<Vec<_>>(), [2, 4]);
    let pointer: fn(u64) -> u64 = double;
    assert_eq!(pointer(5), 10);
    fn apply(f: impl Fn(u64) -> u64) -> u64 {
        f(1)
    }
    assert_eq!(apply(double), 2);
}

/// On one line the compiler would call its braces unneeded, if `#[task]` let it.
#[rustfmt::skip]
#[deny(unused_braces)]
mod on_one_line {
    #[super::task]
    pub(super) fn triple(x: u64) -> u64 { x * 3 }
}

#[test]
fn it_may_stand_on_one_line() {
    assert_eq!(on_one_line::triple(3), 9);
}

#[test]
fn a_local_may_shadow_it() {
    let double = double(4);
    assert_eq!(double, 8);
}

#[task]
fn parameter(parameter: u64) -> u64 {
    parameter + 1
}

#[task]
fn pattern((pattern, mut other): (u64, u64)) -> u64 {
    other += pattern;
    other
}

#[test]
fn a_parameter_may_bear_its_name() -> Result<(), TaskError> {
    assert_eq!(parameter(1), 2);
    assert_eq!(Inline::new().map(parameter, [1, 2])?, [2, 3]);
    assert_eq!(Inline::new().map(pattern, [(1, 2)])?, [3]);
    Ok(())
}

#[task]
fn sibling(x: u64) -> u64 {
    sibling::add(x)
}

mod sibling {
    pub(crate) fn add(x: u64) -> u64 {
        x + 1
    }
}

#[test]
fn a_module_beside_it_may_bear_its_name() -> Result<(), TaskError> {
    assert_eq!(Inline::new().map(sibling, [1])?, [2]);
    Ok(())
}

#[task]
fn inner(x: u64) -> u64 {
    use helpers::inner;
    inner(x)
}

#[task]
fn nested(x: u64) -> u64 {
    #![allow(clippy::let_and_return)]
    fn nested(x: u64) -> u64 {
        x + 10
    }
    let y = nested(x);
    y
}

#[task]
fn globbed(x: u64) -> u64 {
    use helpers::*;
    globbed(x)
}

mod helpers {
    pub(crate) fn inner(x: u64) -> u64 {
        x * 100
    }
    pub(crate) fn globbed(x: u64) -> u64 {
        x * 1000
    }
}

#[test]
fn its_body_may_have_items_and_imports_of_its_name() -> Result<(), TaskError> {
    let inline = Inline::new();
    assert_eq!(inline.map(inner, [1])?, [100]);
    assert_eq!(inline.map(nested, [1])?, [11]);
    assert_eq!(inline.map(globbed, [1])?, [1000]);
    Ok(())
}

#[task]
const fn constant(x: u64) -> u64 {
    x + 1
}

const TWO: u64 = constant(1);

#[test]
fn it_may_be_const() -> Result<(), TaskError> {
    assert_eq!(TWO, 2);
    assert_eq!(Inline::new().map(constant, [TWO])?, [3]);
    Ok(())
}

#[task]
#[inline(never)]
#[must_use]
#[cfg(not(any()))]
pub(crate) fn attributed(x: u64) -> u64 {
    x
}

#[cfg(any())]
#[task]
fn not_there(x: Missing) -> Missing {
    x
}

#[task]
#[cfg(any())]
fn not_there(x: Missing) -> Missing {
    x
}

#[test]
fn other_attributes_and_qualifiers_stay() -> Result<(), TaskError> {
    assert_eq!(Inline::new().map(attributed, [1])?, [1]);
    assert!(!offspring::tasks().iter().any(|task| task.name().contains("not_there")));
    Ok(())
}

#[test]
fn it_may_be_local_to_a_function() -> Result<(), TaskError> {
    fn other() -> Result<Vec<u64>, TaskError> {
        #[task]
        fn local(x: u64) -> u64 {
            x + 100
        }
        Inline::new().map(local, [1])
    }
    #[task]
    fn local(x: u64) -> u64 {
        x + 200
    }
    assert_eq!(other()?, [101]);
    assert_eq!(Inline::new().map(local, [1])?, [201]);
    let places: Vec<_> = offspring::tasks().into_iter().filter(|task| task.name() == "plain_fn::local").collect();
    assert_eq!(places.len(), 2, "{places:?}");
    assert_ne!(places[0].line(), places[1].line());
    Ok(())
}

macro_rules! make {
    ($name:ident $add:expr) => {
        #[task]
        fn $name(x: u64) -> u64 {
            x + $add
        }
    };
}

make!(made_five 5);
make!(made_six 6);

#[test]
fn it_may_be_made_by_a_macro() -> Result<(), TaskError> {
    assert_eq!(Inline::new().map(made_five, [1])?, [6]);
    assert_eq!(Inline::new().map(made_six, [1])?, [7]);
    Ok(())
}

#[task]
fn recursive(n: u64) -> u64 {
    if n == 0 { 0 } else { n + recursive(n - 1) }
}

#[task]
fn nothing() {}

#[test]
fn it_may_call_itself_and_take_nothing() -> Result<(), TaskError> {
    assert_eq!(Inline::new().map(recursive, [4])?, [10]);
    assert_eq!(Inline::new().map(nothing, [(), ()])?, [(), ()]);
    Ok(())
}

/// What rustdoc shows of a task is its signature as written.
#[test]
fn the_list_shows_names_places_and_signatures() {
    let tasks = offspring::tasks();
    let task = tasks.iter().find(|task| task.name() == "plain_fn::double");
    assert_eq!(task.map(|task| task.signature()), Some("fn double(x: u64) -> u64"));
    assert_eq!(task.map(|task| task.file()), Some(file!()));
    assert!(tasks.windows(2).all(|pair| pair[0].name() <= pair[1].name()));
}
