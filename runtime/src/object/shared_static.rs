//! Statics that are one object in all processes of a family.

use std::cell::RefCell;
use std::fmt;
use std::ops::Deref;
use std::sync::OnceLock;

use super::{ObjectError, directory};
use crate::arena;
use crate::{ErrorKind, Failure, Message};

/// A static that is one object in all processes of a family; [`macro@crate::shared`] makes one.
///
/// It derefs to `T`, a handle or anything with handles in it. The object is made when somebody first uses the static, in
/// whichever process, and lives until the family ends.
///
/// ```
/// use offspring::sync::Mutex;
/// use offspring::{ObjectError, SharedStatic};
///
/// #[offspring::shared]
/// static TOTAL: Mutex<u64> = Mutex::new(0)?;
///
/// *TOTAL.lock()? += 1;
/// // Instead of the panic of a failing expression, its error:
/// let total: Result<&Mutex<u64>, ObjectError> = SharedStatic::get(&TOTAL);
/// assert_eq!(*total?.lock()?, 1);
/// # Ok::<(), offspring::Error>(())
/// ```
pub struct SharedStatic<T> {
    name: &'static str,
    place: &'static str,
    make: fn() -> Result<T, Failure>,
    /// `find_or_make`. Only `__new` asks that `T` is a message: of a static that cannot be, the compiler says so once, and where it is
    /// defined.
    find: fn(&SharedStatic<T>) -> Result<&T, ObjectError>,
    /// This process's handle.
    value: OnceLock<T>,
}

thread_local! {
    /// The statics whose expressions this thread is evaluating.
    static UNDER_WAY: RefCell<Vec<*const ()>> = const { RefCell::new(Vec::new()) };
}

/// Takes a static off the list.
struct UnderWay;

impl Drop for UnderWay {
    fn drop(&mut self) {
        UNDER_WAY.with_borrow_mut(Vec::pop);
    }
}

impl<T> SharedStatic<T> {
    // Not public API. What `#[offspring::shared]` generates. `name` and `place` are those of the static.
    #[doc(hidden)]
    pub const fn __new(name: &'static str, place: &'static str, make: fn() -> Result<T, Failure>) -> SharedStatic<T>
    where
        T: Message + Send + Sync,
    {
        SharedStatic { name, place, make, find: Self::find_or_make, value: OnceLock::new() }
    }

    /// The name without its module.
    fn short_name(&self) -> &'static str {
        self.name.rsplit("::").next().unwrap_or(self.name)
    }

    /// The object, made if nobody in the family has made it yet.
    ///
    /// Does not block, apart from what the static's expression does. Several who come first at once each evaluate the expression;
    /// what one of them made is what all of them get. A process that is killed meanwhile leaves nothing half-made.
    ///
    /// ```
    /// use offspring::{SharedStatic, sync::Mutex};
    ///
    /// #[offspring::shared]
    /// static TOTAL: Mutex<u64> = Mutex::new(0)?;
    ///
    /// // `TOTAL.lock()` would panic, were there no memory for it.
    /// *SharedStatic::get(&TOTAL)?.lock()? += 1;
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ObjectError::NotMade`] if the expression fails, or uses the static itself; then the next use evaluates it again.
    /// [`ObjectError::Memory`] if shared memory is used up, or cannot be used in this process (a `fork` of a member).
    pub fn get(this: &Self) -> Result<&T, ObjectError> {
        if let Some(value) = this.value.get() {
            return Ok(value);
        }
        (this.find)(this)
    }
}

impl<T: Message + Send + Sync> SharedStatic<T> {
    #[cold]
    fn find_or_make(&self) -> Result<&T, ObjectError> {
        let arena = arena::family()?;
        // Two statics may have the same name in two functions, or come out of one macro with different types.
        let key = format!("{} {} {}", self.name, self.place, std::any::type_name::<T>());
        let value = directory::find_or_make(arena, &key, self.name, || self.make())?;
        Ok(self.value.get_or_init(|| value))
    }

    fn make(&self) -> Result<T, ObjectError> {
        let me = std::ptr::from_ref(self).cast::<()>();
        let failed = |kind, text| ObjectError::NotMade { name: self.name, kind, text };
        let _under_way = UNDER_WAY.with_borrow_mut(|list| {
            if list.contains(&me) {
                return Err(failed(ErrorKind::Deadlock, "its own expression uses it".to_owned()));
            }
            list.push(me);
            Ok(UnderWay)
        })?;
        (self.make)().map_err(|error| failed(ErrorKind::Failed, format!("{error:#}")))
    }
}

impl<T> Deref for SharedStatic<T> {
    type Target = T;

    /// As [`SharedStatic::get`].
    ///
    /// # Panics
    /// Where that gives an error.
    #[track_caller]
    fn deref(&self) -> &T {
        match SharedStatic::get(self) {
            Ok(value) => value,
            Err(error) => panic!("{error}; `SharedStatic::get(&{})` gives this as an error", self.short_name()),
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for SharedStatic<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedStatic").field("name", &self.name).field("value", &self.value.get()).finish()
    }
}
