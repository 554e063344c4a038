//! The samples of the README and of the guide, compiled and run as doctests of this package.

#[doc = include_str!("../../README.md")]
mod readme {}
#[doc = include_str!("../../guide/src/commands.md")]
mod commands {}
#[doc = include_str!("../../guide/src/errors.md")]
mod errors {}
#[doc = include_str!("../../guide/src/first-program.md")]
mod first_program {}
#[doc = include_str!("../../guide/src/from-python.md")]
mod from_python {}
#[doc = include_str!("../../guide/src/from-rayon.md")]
mod from_rayon {}
#[doc = include_str!("../../guide/src/how-it-works.md")]
mod how_it_works {}
#[doc = include_str!("../../guide/src/performance.md")]
mod performance {}
#[doc = include_str!("../../guide/src/platform.md")]
mod platform {}
#[doc = include_str!("../../guide/src/pools.md")]
mod pools {}
#[doc = include_str!("../../guide/src/processes.md")]
mod processes {}
#[doc = include_str!("../../guide/src/tasks.md")]
mod tasks {}
#[doc = include_str!("../../guide/src/testing.md")]
mod testing {}
