//! The attributes of `offspring`: see the crate `offspring`, which re-exports them.
//!
//! `options.rs` reads the attributes' arguments, `item.rs` the items, `check.rs` refuses what cannot work, `task.rs`,
//! `message.rs`, `plain.rs` and
//! `shared.rs` generate. Every refusal is a sentence with the way out, on the smallest span, and comes with the
//! untouched item: one mistake is one error.

mod check;
mod item;
mod message;
mod options;
mod plain;
mod shared;
mod signature;
mod task;

use proc_macro2::TokenStream;
use quote::quote;

/// Makes a function a task: something that other processes can be asked to run.
///
/// The function stays what it is, and can be called, passed and documented as before. Its parameters and its result are
/// [messages](https://docs.rs/offspring/latest/offspring/trait.Message.html); they may be borrowed, and are then read in
/// place in shared memory: `&str`, `&Path`, `&[T]` of numbers, `&Archived<T>`. `&T` of any other message is made a value
/// first and lent. There may be up to 8 parameters.
///
/// ```
/// use offspring::task;
///
/// #[task]
/// fn square(x: u64) -> u64 {
///     x * x
/// }
///
/// #[task]
/// fn words(text: &str) -> usize {
///     text.split_whitespace().count()
/// }
///
/// assert_eq!(square(3), 9);
/// assert_eq!([1, 2, 3].map(square), [1, 4, 9]);
/// ```
///
/// # State
/// A first parameter `&mut S` borrows the worker's state, which a function marked `#[task(state)]` makes once per worker.
/// It needs not be a message, as it never leaves the worker; the constructor may return a `Result`.
///
/// ```
/// use offspring::{Failure, task};
/// use std::collections::HashMap;
///
/// #[task(state)]
/// fn open(path: &str) -> Result<HashMap<u64, String>, Failure> {
///     Ok(HashMap::from([(7, path.to_owned())]))
/// }
///
/// #[task]
/// fn query(db: &mut HashMap<u64, String>, id: u64) -> Option<String> {
///     db.get(&id).cloned()
/// }
/// ```
///
/// # Methods
/// Above an `impl` block it makes every function in it a task. `self` and `&self` are the first parameter, `&mut self` is
/// the worker's state.
///
/// ```
/// use offspring::{message, task};
///
/// #[message]
/// struct Scale {
///     by: f64,
/// }
///
/// #[task]
/// impl Scale {
///     fn run(&self, x: f64) -> f64 {
///         x * self.by
///     }
/// }
/// assert_eq!(Scale::run(&Scale { by: 2.0 }, 4.0), 8.0);
/// ```
///
/// # Generics
/// A generic function is a task for the types that are listed. With several parameters, each entry is in parentheses:
/// `instantiate((f32, u8), (f64, u16))`.
///
/// ```
/// use offspring::task;
///
/// #[task(instantiate(u32, u64))]
/// fn largest<T: Ord + Copy + offspring::Message>(values: Vec<T>) -> Option<T> {
///     values.iter().copied().max()
/// }
/// assert_eq!(largest(vec![3u32, 5]), Some(5));
/// ```
///
/// # Options
/// - `name = "..."`: the name in errors and in `offspring::tasks()`, instead of `module::path::function`.
/// - `version = 2`: shown by `offspring::tasks()`.
/// - `crate = path`: where `offspring` is, if it is re-exported by another crate.
#[proc_macro_attribute]
pub fn task(arguments: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    or_untouched(item.into(), |item| task::expand(arguments.into(), item))
}

/// Makes a struct or an enum a message: something that can be sent to other processes, and read in place there.
///
/// All fields are messages. `#[message]` is rkyv's derives with everything filled in, so that rkyv need not be a
/// dependency, and `PathBuf`, `OsString` and `SystemTime` work as fields, inside `Option`, `Vec` and maps too. The archived
/// form of `Page` is `ArchivedPage`, also known as `offspring::Archived<Page>`, with the same fields, archived.
///
/// ```
/// use offspring::{Archived, message, task};
/// use std::path::PathBuf;
///
/// #[message]
/// #[derive(Debug, Clone, PartialEq)]
/// struct Page {
///     url: String,
///     links: Vec<String>,
///     saved_as: Option<PathBuf>,
/// }
///
/// #[task]
/// fn degree(page: &Archived<Page>) -> usize {
///     page.links.len()
/// }
/// ```
///
/// # Plain types
/// `#[message(plain)]` says that a struct is nothing but numbers, so that it may lie in shared memory and be changed there:
/// the `T` of `Mutex<T>`, `RwLock<T>`, `Array<T>`. It makes the type [`Plain`](https://docs.rs/offspring/latest/offspring/trait.Plain.html).
/// All fields are plain, it is `Copy`, and `repr(C)` or `repr(transparent)`. A plain type is its own archived form, and
/// slices of it are read in place by a parameter `&[T]`.
///
/// ```
/// use offspring::{message, task};
///
/// #[message(plain)]
/// #[derive(Clone, Copy, Debug, PartialEq)]
/// #[repr(C)]
/// struct Account {
///     owner: u32,
///     cents: i64,
/// }
///
/// #[task]
/// fn total(accounts: &[Account]) -> i64 {
///     accounts.iter().map(|account| account.cents).sum()
/// }
///
/// assert_eq!(total(&[Account { owner: 7, cents: 250 }; 2]), 500);
/// ```
///
/// # Options
/// - `key`: all fields can be keys of a `Dict`, and so can this. Its equality, if it has one, should be the derived one.
/// - `plain`: see above.
/// - `derive(Debug, PartialEq)`: derives for the archived form.
/// - `crate = path`: where `offspring` is, if it is re-exported by another crate.
#[proc_macro_attribute]
pub fn message(arguments: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    or_untouched(item.into(), |item| message::expand(arguments.into(), item))
}

/// Makes a static one object in all processes of a family: by name, made once, by whoever comes first.
///
/// The type is a handle (a lock, a queue, a value, a dict), or any [message](https://docs.rs/offspring/latest/offspring/trait.Message.html)
/// with handles in it. The expression may use `?` with any error; it is evaluated when the static is first used. The static
/// derefs to its type.
///
/// ```
/// use offspring::sync::Mutex;
/// use offspring::{Pool, task};
///
/// #[offspring::shared]
/// static TOTAL: Mutex<u64> = Mutex::new(0)?;
///
/// #[task]
/// fn add(x: u64) -> Result<(), offspring::Failure> {
///     *TOTAL.lock()? += x;
///     Ok(())
/// }
///
/// # fn main() -> offspring::Result<()> {
/// let pool = Pool::new()?;
/// pool.map(add, 0..100)?;
/// assert_eq!(*TOTAL.lock()?, 4950);
/// # Ok(())
/// # }
/// ```
///
/// The object lives until the family ends. Where several processes come first at once, each evaluates the expression, and what
/// one of them made is what all get; one that is killed meanwhile leaves nothing half-made. So the expression should do nothing
/// but make its value.
///
/// # Panics
/// The use of a static panics when its expression fails, in the caller; [`SharedStatic::get`](https://docs.rs/offspring/latest/offspring/struct.SharedStatic.html)
/// gives the error instead.
///
/// # Options
/// - `crate = path`: where `offspring` is, if it is re-exported by another crate.
#[doc(alias = "Manager")]
#[proc_macro_attribute]
pub fn shared(arguments: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    or_untouched(item.into(), |item| shared::expand(arguments.into(), item))
}

/// What `expand` makes of the item; or its errors, and the item as it was.
fn or_untouched(
    item: TokenStream,
    expand: impl FnOnce(TokenStream) -> syn::Result<TokenStream>,
) -> proc_macro::TokenStream {
    expand(item.clone())
        .unwrap_or_else(|error| {
            let error = error.into_compile_error();
            quote!(#error #item)
        })
        .into()
}
