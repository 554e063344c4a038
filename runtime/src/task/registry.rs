//! All tasks of the program, in one order that every process of one build agrees on.
#![allow(unsafe_code)]

use std::any::TypeId;
use std::collections::HashMap;
use std::fmt;
use std::sync::OnceLock;

use super::entry::{Role, TaskEntry};
use crate::sys::image;

/// A task's place in the registry: equal in every process of one build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(u32);

/// Set in the number of a program; the rest of it is where its code lies in the file.
const PROGRAM: u32 = 1 << 31;

impl TaskId {
    /// From the number that crossed the wire; there may be no such task.
    pub fn from_raw(number: u32) -> Self {
        TaskId(number)
    }

    /// The number that crosses the wire.
    pub fn as_raw(self) -> u32 {
        self.0
    }
}

/// Describes a program: tasks that were put together by generic code, which has no name of its own to be registered by.
///
/// It is identified by the place of this function in the program's file, which is the same in all processes of one build, as one
/// function is made of each set of type parameters. Should the linker fold two of them into one, because their code is the same to
/// the bit, then so are the entries that they return.
pub(crate) type ProgramEntry = fn() -> &'static TaskEntry;

/// The number under which other processes find a program.
///
/// # Errors
/// Its code lies in a shared library: those lie elsewhere in each process.
pub(crate) fn program(entry: ProgramEntry) -> Result<TaskId, LookupError> {
    let name = entry().name();
    let in_shared_library = LookupError::InSharedLibrary { name };
    if !image::in_main_program() {
        return Err(in_shared_library);
    }
    let offset = image::code_offset(entry as usize).and_then(|offset| u32::try_from(offset).ok());
    offset.filter(|offset| offset & PROGRAM == 0).map(|offset| TaskId(PROGRAM | offset)).ok_or(in_shared_library)
}

/// The program of that number.
fn find_program(id: TaskId) -> Option<&'static TaskEntry> {
    let address = image::code_at(u64::from(id.0 & !PROGRAM))?;
    // SAFETY: the number was made by `program`, of such a function, in a process of the same build (a child compares builds before it
    // takes anything from its parent), so there is one at the same distance from the start of the file.
    let entry = unsafe { std::mem::transmute::<*const u8, ProgramEntry>(address) };
    Some(entry())
}

struct Registry {
    entries: Vec<&'static TaskEntry>,
    by_type: HashMap<TypeId, TaskId>,
    duplicate: Option<DuplicateTask>,
}

/// Two tasks have the same key: a macro made both, in one place and with one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "two tasks are registered as `{name}` at {file}:{line}:{column} (both made by one macro); give one of them another \
     name with #[task(name = \"...\")]"
)]
pub struct DuplicateTask {
    name: &'static str,
    file: &'static str,
    line: u32,
    column: u32,
}

/// Why a function is no task that can be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError {
    /// The function was never registered.
    #[error(
        "`{name}` is no task: put #[offspring::task] on its definition{}",
        if name.contains("{{closure}}") { " (a closure cannot be a task: make it a function)" } else { "" }
    )]
    NotATask {
        /// The function's type, as the compiler names it.
        name: &'static str,
    },
    /// The function makes a worker's state, and was asked for as a task.
    #[error(
        "`{name}` makes a worker's state, so it cannot be run as a task: give it to a pool with \
         `Pool::builder().state(constructor, input)`, or put #[offspring::task] on it instead of #[task(state)]"
    )]
    MakesState {
        /// The function's type, as the compiler names it.
        name: &'static str,
    },
    /// The function is a task, and was asked for to make a worker's state.
    #[error("`{name}` is a task, so it cannot make a worker's state: put #[offspring::task(state)] on its definition")]
    MakesNoState {
        /// The function's type, as the compiler names it.
        name: &'static str,
    },
    /// The code that joins tasks to a flow lies in a shared library.
    #[error(
        "`{name}` lies in a shared library, where child processes cannot find it: each loads it at another address. Link the crate \
         that makes the flow into the program itself (crate-type \"rlib\"), or run its tasks one by one with `map`"
    )]
    InSharedLibrary {
        /// What it is.
        name: &'static str,
    },
    /// Two tasks have the same key, so none can be told from the other.
    #[error(transparent)]
    Duplicate(#[from] DuplicateTask),
    /// This binary has no task of that number: it is another build than its parent's.
    #[error(
        "this program has no task number {number} (it has {tasks}): it is not the build that its parent is; was the file \
         replaced while the program ran?"
    )]
    Unknown {
        /// The number asked for.
        number: u32,
        /// How many there are.
        tasks: usize,
    },
}

impl LookupError {
    /// [`DuplicateTask`](crate::ErrorKind::DuplicateTask) or [`UnknownTask`](crate::ErrorKind::UnknownTask).
    pub fn kind(&self) -> crate::ErrorKind {
        match self {
            LookupError::Duplicate(_) => crate::ErrorKind::DuplicateTask,
            LookupError::InSharedLibrary { .. } => crate::ErrorKind::Unsupported,
            LookupError::NotATask { .. }
            | LookupError::MakesState { .. }
            | LookupError::MakesNoState { .. }
            | LookupError::Unknown { .. } => crate::ErrorKind::UnknownTask,
        }
    }
}

impl Registry {
    fn of(entries: impl Iterator<Item = &'static TaskEntry>) -> Self {
        let mut entries: Vec<_> = entries.collect();
        // Constructors run in an order that links decide; names and places do not change.
        entries.sort_by_key(|entry| entry.key());
        let duplicate = entries.windows(2).find(|pair| pair[0].key() == pair[1].key()).map(|pair| {
            let (name, file, line, column) = pair[0].key();
            DuplicateTask { name, file, line, column }
        });
        let by_type = entries.iter().zip(0..).map(|(entry, number)| (entry.type_id(), TaskId(number))).collect();
        Registry { entries, by_type, duplicate }
    }
}

/// Built at first use: in a child that is after all constructors have run.
fn registry() -> &'static Registry {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    REGISTRY.get_or_init(|| Registry::of(inventory::iter::<TaskEntry>.into_iter()))
}

/// Are all keys different?
///
/// # Errors
/// Two tasks have the same key; nothing is run then.
pub(crate) fn check() -> Result<(), DuplicateTask> {
    registry().duplicate.map_or(Ok(()), Err)
}

/// The task, or the state constructor, that the function of type `F` is.
///
/// Whoever runs one relies on `role`: a task writes an output slot of its result's layout, a state constructor writes none.
///
/// # Errors
/// It is none, it has the other role, or [`check`] fails.
pub(crate) fn entry_of<F: 'static>(role: Role) -> Result<(TaskId, &'static TaskEntry), LookupError> {
    check()?;
    let name = std::any::type_name::<F>();
    let id = registry().by_type.get(&TypeId::of::<F>()).copied().ok_or(LookupError::NotATask { name })?;
    let entry = get(id)?;
    match (role, entry.role()) {
        (Role::Task, Role::State) => Err(LookupError::MakesState { name }),
        (Role::State, Role::Task) => Err(LookupError::MakesNoState { name }),
        (Role::Task, Role::Task) | (Role::State, Role::State) => Ok((id, entry)),
    }
}

/// The task of that number.
///
/// # Errors
/// This build has none, or [`check`] fails.
pub(crate) fn get(id: TaskId) -> Result<&'static TaskEntry, LookupError> {
    check()?;
    if id.0 & PROGRAM != 0 {
        return find_program(id).ok_or(LookupError::Unknown { number: id.0, tasks: registry().entries.len() });
    }
    let entries = &registry().entries;
    entries.get(id.0 as usize).copied().ok_or(LookupError::Unknown { number: id.0, tasks: entries.len() })
}

/// A registered task, as [`tasks`] lists it.
#[derive(Clone, Copy)]
pub struct TaskInfo(&'static TaskEntry);

impl TaskInfo {
    /// Its name: `module::path::function`, or what `#[task(name = "..")]` says.
    pub fn name(&self) -> &'static str {
        self.0.name()
    }

    /// The source file.
    pub fn file(&self) -> &'static str {
        self.0.source().file
    }

    /// The line of the attribute.
    pub fn line(&self) -> u32 {
        self.0.source().line
    }

    /// The function's signature.
    pub fn signature(&self) -> &'static str {
        self.0.source().signature
    }

    /// What `#[task(version = ..)]` says, or 0.
    pub fn version(&self) -> u32 {
        self.0.source().version
    }

    /// Does it make a worker's state (`#[task(state)]`)?
    pub fn is_state(&self) -> bool {
        self.0.role() == Role::State
    }
}

impl fmt::Debug for TaskInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskInfo")
            .field("name", &self.name())
            .field("file", &self.file())
            .field("line", &self.line())
            .field("signature", &self.signature())
            .field("version", &self.version())
            .finish()
    }
}

impl fmt::Display for TaskInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}:{})", self.name(), self.file(), self.line())
    }
}

/// All tasks of this program, its libraries' included, sorted by name.
///
/// Never blocks.
///
/// ```
/// use offspring::task;
///
/// #[task]
/// fn cube(x: u64) -> u64 {
///     x * x * x
/// }
///
/// let tasks = offspring::tasks();
/// let cube = tasks.iter().find(|task| task.name().ends_with("cube")).unwrap();
/// assert_eq!(cube.signature(), "fn cube(x: u64) -> u64");
/// ```
pub fn tasks() -> Vec<TaskInfo> {
    registry().entries.iter().copied().map(TaskInfo).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::entry::{Grain, TaskCall, TaskSource};
    use crate::task::run::SlotLayout;

    fn entry(name: &'static str, line: u32) -> &'static TaskEntry {
        let source = TaskSource { name, file: "lib.rs", line, column: 1, signature: "fn()", version: 0 };
        let call = TaskCall {
            run: |_| (),
            type_id: TypeId::of::<()>,
            input: SlotLayout::of::<()>(),
            output: SlotLayout::of::<()>(),
            role: Role::Task,
            grain: Grain::Item,
            failure: None,
            wire: crate::task::wire::Wire::of::<(), ()>(),
            show: None,
        };
        Box::leak(Box::new(TaskEntry::new(source, call)))
    }

    #[test]
    fn ids_do_not_depend_on_the_order_of_registration() {
        let entries = [entry("b", 1), entry("a", 9), entry("a", 3)];
        let one = Registry::of(entries.into_iter());
        let other = Registry::of(entries.into_iter().rev());
        let names = |registry: &Registry| registry.entries.iter().map(|entry| entry.key()).collect::<Vec<_>>();
        assert_eq!(names(&one), names(&other));
        assert_eq!(one.duplicate, None);
    }

    #[test]
    fn equal_keys_are_an_error_that_names_them() {
        let registry = Registry::of([entry("a", 1), entry("b", 1), entry("a", 1)].into_iter());
        let text = registry.duplicate.map(|duplicate| duplicate.to_string()).unwrap_or_default();
        assert!(text.contains("`a` at lib.rs:1:1"), "{text}");
    }
}
