//! Names for values of any type.
#![allow(unsafe_code)]

use std::any::type_name;
use std::fmt;

use super::SharedError;
use super::dict::{Inserted, Table, When};
use super::image::{self, Writer, with_buffer, with_writer};
use super::kinds::{NamespaceKind, pos_in};
use super::nested::calling;
use crate::arena::{Arena, BlockId};
use crate::message::Message;
use crate::object::{Handle, Role, message_by_handle};

type Result<T, E = SharedError> = std::result::Result<T, E>;

/// Named values of any type that all processes of a program share: Python's `Manager().Namespace()`, without the manager.
///
/// A [`Dict`](super::Dict) whose keys are names, and whose values each know their type. What is said there of atomicity,
/// kill safety and errors holds here.
///
/// ```
/// use offspring::shared::Namespace;
///
/// let space = Namespace::new()?;
/// space.set("retries", &3u64)?;
/// space.set("host", &"example.org".to_string())?;
/// assert_eq!(space.get::<u64>("retries")?, Some(3));
/// assert!(space.get::<u64>("host").is_err());
/// assert_eq!(space.get::<u64>("port")?, None);
/// # Ok::<(), offspring::Error>(())
/// ```
#[doc(alias = "NamespaceProxy")]
#[derive(Clone, PartialEq)]
pub struct Namespace {
    pub(super) handle: Handle<NamespaceKind>,
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Namespace").field("id", &self.handle.id()).finish_non_exhaustive()
    }
}

impl Eq for Namespace {}

message_by_handle!([] Namespace, handle, Namespace::of);

impl Namespace {
    /// A namespace without names.
    ///
    /// ```
    /// let settings = offspring::shared::Namespace::new()?;
    /// settings.set("rate", &0.5)?;
    /// settings.set("name", &"fast".to_string())?;
    /// assert_eq!((settings.get::<f64>("rate")?, settings.len()), (Some(0.5), 2));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// Of kind [`OutOfMemory`](crate::ErrorKind::OutOfMemory) when the family's shared memory is used up.
    pub fn new() -> Result<Self> {
        Namespace::in_arena(crate::arena::family()?)
    }

    pub(crate) fn in_arena(arena: &'static Arena) -> Result<Self> {
        let space = Namespace::of(Handle::create_in(arena, 0, Role::Plain, |_| ())?);
        space.table()?.init()?;
        Ok(space)
    }

    pub(super) fn of(handle: Handle<NamespaceKind>) -> Self {
        Namespace { handle }
    }

    fn table(&self) -> Result<Table<'_>> {
        self.handle.check()?;
        let root = self.handle.shared();
        Ok(Table::new(self.handle.arena(), root, pos_in(&self.handle, root)?))
    }

    fn with<R>(&self, name: &str, body: impl FnOnce(&Table<'_>, &mut Writer, u64) -> Result<R>) -> Result<R> {
        let table = self.table()?;
        with_writer(|writer| {
            writer.key(&name.to_owned())?;
            let hash = table.hash(writer.key_words());
            body(&table, writer, hash)
        })
    }

    fn read<T: Message>(
        &self,
        table: &Table<'_>,
        (hash, key): (u64, &[u64]),
        name: &str,
    ) -> Result<Option<(BlockId, T)>> {
        with_buffer(|buffer| {
            loop {
                let Some(id) = table.find(hash, key, Some(buffer))? else { return Ok(None) };
                if buffer.tag() != image::type_tag::<T>() {
                    return Err(SharedError::WrongType { name: name.to_owned(), wanted: type_name::<T>() });
                }
                // SAFETY: a good copy of what was written as a `T`, as its tag says.
                match unsafe { buffer.value() } {
                    Ok(value) => return Ok(Some((id, value))),
                    // What a handle in it means may be gone with it.
                    Err(_) if table.find(hash, key, None)? != Some(id) => {}
                    Err(error) => return Err(error),
                }
            }
        })
    }

    /// The value of `name`; `None` if there is none. Takes no lock.
    ///
    /// ```
    /// use offspring::ErrorKind;
    ///
    /// let settings = offspring::shared::Namespace::new()?;
    /// settings.set("rate", &0.5)?;
    /// assert_eq!(settings.get::<f64>("none")?, None);
    /// assert_eq!(settings.get::<String>("rate").unwrap_err().kind(), ErrorKind::InvalidInput);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if it is of another type.
    #[doc(alias = "__getattr__")]
    pub fn get<T: Message>(&self, name: &str) -> Result<Option<T>> {
        self.with(name, |table, writer, hash| {
            Ok(self.read(table, (hash, writer.key_words()), name)?.map(|(_, value)| value))
        })
    }

    /// Makes `value` the value of `name`, whatever type it had before.
    ///
    /// ```
    /// let settings = offspring::shared::Namespace::new()?;
    /// settings.set("limit", &10u64)?;
    /// settings.set("limit", &"none".to_string())?; // another type takes its place
    /// assert_eq!(settings.get::<String>("limit")?.as_deref(), Some("none"));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// Of kind [`OutOfMemory`](crate::ErrorKind::OutOfMemory) when the family's shared memory is used up, of kind
    /// [`NotSendable`](crate::ErrorKind::NotSendable) when the value holds a handle of another family.
    #[doc(alias = "__setattr__")]
    pub fn set<T: Message>(&self, name: &str, value: &T) -> Result<()> {
        self.with(name, |table, writer, hash| {
            let block = writer.block(self.handle.arena(), (hash, image::type_tag::<T>()), value)?;
            table.insert((hash, writer.key_words()), block, When::Always).map(drop)
        })
    }

    /// Makes what `change` makes of the value of `name` its value, and returns a copy of that; `None`, and no call, if there
    /// is none. Called again when another process was faster; nothing is locked meanwhile.
    ///
    /// # Errors
    /// As [`Namespace::get`]; [`ErrorKind::Deadlock`](crate::ErrorKind::Deadlock) if `change` sets `name` by itself.
    ///
    /// ```
    /// let space = offspring::shared::Namespace::new()?;
    /// space.set("n", &1u64)?;
    /// assert_eq!(space.update("n", |n: u64| n + 1)?, Some(2));
    /// # Ok::<(), offspring::Error>(())
    /// ```
    pub fn update<T: Message>(&self, name: &str, mut change: impl FnMut(T) -> T) -> Result<Option<T>> {
        self.with(name, |table, writer, hash| {
            loop {
                let Some((id, old)) = self.read(table, (hash, writer.key_words()), name)? else { return Ok(None) };
                let call = calling(table.pos(), hash);
                let new = change(old);
                let block = writer.block(self.handle.arena(), (hash, image::type_tag::<T>()), &new)?;
                if let Inserted::Replaced(_) = table.insert((hash, writer.key_words()), block, When::Holds(id))? {
                    return Ok(Some(new));
                }
                call.refused()?;
            }
        })
    }

    /// Has `name` a value?
    ///
    /// ```
    /// let settings = offspring::shared::Namespace::new()?;
    /// settings.set("limit", &10u64)?;
    /// assert!(settings.contains("limit")? && !settings.contains("rate")?);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// Of kind [`Unsupported`](crate::ErrorKind::Unsupported) in a `fork()` of a process of the program.
    #[doc(alias = "hasattr")]
    pub fn contains(&self, name: &str) -> Result<bool> {
        self.with(name, |table, writer, hash| Ok(table.find(hash, writer.key_words(), None)?.is_some()))
    }

    /// Removes `name`; says whether it had a value.
    ///
    /// ```
    /// let settings = offspring::shared::Namespace::new()?;
    /// settings.set("limit", &10u64)?;
    /// assert!(settings.remove("limit")? && !settings.remove("limit")?);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`contains`](Self::contains).
    #[doc(alias = "__delattr__")]
    pub fn remove(&self, name: &str) -> Result<bool> {
        self.with(name, |table, writer, hash| Ok(table.remove((hash, writer.key_words()), None)?.is_some()))
    }

    /// How many names have a value: exact as long as nobody adds or removes any. 0 in a `fork()` of a process of the program.
    pub fn len(&self) -> usize {
        self.table().and_then(|table| table.len()).unwrap_or(0)
    }

    /// Has no name a value?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes all names, at one moment.
    ///
    /// ```
    /// let settings = offspring::shared::Namespace::new()?;
    /// settings.set("limit", &10u64)?;
    /// settings.clear()?;
    /// assert!(settings.is_empty());
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`contains`](Self::contains).
    pub fn clear(&self) -> Result<()> {
        self.table()?.clear()
    }

    /// All names, in no order that means anything. One that is added or removed meanwhile may be among them.
    ///
    /// ```
    /// let settings = offspring::shared::Namespace::new()?;
    /// settings.set("limit", &10u64)?;
    /// assert_eq!(settings.names()?, ["limit"]);
    /// # Ok::<(), offspring::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`contains`](Self::contains).
    pub fn names(&self) -> Result<Vec<String>> {
        let table = self.table()?;
        let (mut names, mut cursor) = (Vec::new(), Some(0));
        while let Some(at) = cursor {
            let (keys, next) = table.keys_at(at)?;
            for key in keys {
                names.push(image::key_of(&key)?);
            }
            cursor = next;
        }
        Ok(names)
    }
}
