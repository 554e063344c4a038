//! Every operation on shared memory has a row in the table that the killer walks.
//!
//! The operations are read from the sources: whatever the arena's files, and those of the locks, offer to the rest of the
//! library. A new one fails here until it has a row, or a line below that says why it needs none.

use offspring::testing;
use offspring_tests::table;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Folders whose functions are operations.
const FOLDERS: &[&str] =
    &["arena", "object", "queue", "shared", "shared/array", "shared/dict", "shared/list", "sync", "sync/raw"];

/// Files that only give types and names to the operations of others.
const THIN: &[&str] = &["queue/mod.rs", "queue/joinable.rs", "queue/typed.rs", "queue/write.rs", "queue/records.rs"];

/// Files whose functions touch no shared memory: numbers, words and sizes, and what tests look at.
const WITHOUT: &[&str] =
    &["budget", "check", "class", "error", "header", "id", "kind", "layout", "mutants", "testing", "tests"];

/// Functions that only read shared memory, or only wait for it to change.
const READS: &[&str] = &[
    "core::arena",
    "core::await_room",
    "core::capacity",
    "core::is_closed",
    "core::is_deaf_now",
    "core::is_ready",
    "core::poll",
    "core::ring",
    "core::root_of",
    "core::unfinished",
    "core::waiting",
    "ring::capacity",
    "ring::is_closed",
    "ring::waiting",
    "block::capacity",
    "block::id",
    "block::as_ptr",
    "block::pos",
    "block::locate",
    "block::resolve",
    "block::state",
    "granule::kind",
    "journal::id",
    "journal::word_at",
    "granule::from_raw",
    "granule::oldest_warm",
    "granule::out_of_memory",
    "hold::hold_high",
    "hold::my_hold",
    "liveness::is_alive",
    "liveness::liveness_holder",
    "mod::at",
    "mod::budget",
    "mod::check",
    "mod::fds",
    "mod::is_here",
    "mod::mapping",
    "mod::me",
    "mod::pos_of",
    "mod::readable",
    "mod::slots",
    "create::me",
    "owner_lock::holder",
    "permits::are_wanted",
    "permits::at",
    "permits::free",
    "permits::is_held",
    "permits::of_this_tree",
    "slots::parent_of",
    "barrier::is_broken",
    "barrier::is_leader",
    "barrier::parties",
    "barrier::waiting",
    "condvar::timed_out",
    "event::is_set",
    "mutex::holder",
    "mutex::is_locked",
    "mutex::is_poisoned",
    "once::is_completed",
    "reentrant::depth",
    "reentrant::is_locked",
    "reentrant::is_owned",
    "reentrant::is_poisoned",
    "rwlock::is_poisoned",
    "rwlock::is_write_locked",
    "rwlock::readers",
    "rwlock::state",
    "semaphore::available",
    "semaphore::available_permits",
    "semaphore::is_forgotten",
    "semaphore::bound",
    "semaphore::count",
    "slots::all",
    "slots::children_of",
    "slots::from_raw",
    "slots::get",
    "slots::life",
    "slots::life_word",
    "slots::name",
    "slots::note_kind",
    "slots::read_note",
    "small::next_generation",
    "thread::count_threads",
    "thread::owner_of_thread",
    "prim::wait",
    "prim::wait_among",
    "wait::pause",
    "wait::spin_until",
    "wait::spin_while",
    "wait::wait_while",
    "create::has_family",
    "granule::is_dead_thread",
    "mod::id",
    "handle::arena",
    "handle::check",
    "handle::extra",
    "handle::id",
    "handle::object",
    "handle::role",
    "handle::shared",
    "lock::arena",
    "lock::count",
    "lock::extra",
    "lock::id",
    "lock::shared",
    "refs::bell",
    "refs::from_raw",
    "refs::is_owned",
    "refs::is_reference",
    "refs::payload_of",
    "refs::root",
    "wait_any::is_waited_for",
    "wait_any::rope",
    "wait_any::waiter",
    "broadcast::to_value",
    "copying::copied",
    "namespace::get",
    "namespace::contains",
    "namespace::len",
    "namespace::is_empty",
    "namespace::names",
    "array::len",
    "array::is_empty",
    "array::is_poisoned",
    "part::range",
    "part::len",
    "part::is_empty",
    "part::array",
    "dict::contains",
    "dict::len",
    "dict::is_empty",
    "dict::iter",
    "dict::keys",
    "dict::values",
    "dict::to_map",
    "list::first",
    "list::last",
    "list::len",
    "list::is_empty",
    "list::slice",
    "list::index_of",
    "list::contains",
    "list::count",
    "list::iter",
];

/// Functions that change memory of this process only.
const PRIVATE: &[&str] = &[
    "core::after",
    "core::into_handle",
    "core::of",
    "get::as_ptr",
    "get::new",
    "cache::block",
    "cache::hold",
    "cache::new",
    "hold::put",
    "local::lock",
    "prim::full_fence",
    "prim::is_over",
    "prim::new",
    "small::put",
    "block::from_parts",
    "block::into_parts",
    "lock::narrow",
    "lock::wide",
    "mod::step",
    "refs::new",
    "refs::put_hold",
    "refs::take_hold",
    "shared_static::__new",
    "spill::counted",
    "spill::lending",
    "spill::new",
    "dict::of",
    "list::of",
    "value::of",
    "table::new",
    "spine::new",
    "key::is_key",
];

/// One store, or a kernel's lock: before it or after it, and nothing else is to be found.
const ONE_STEP: &[&str] = &[
    "ledger::set_budget",
    "liveness::hold_liveness",
    "owner_lock::wake_all",
    "permits::join",
    "permits::resize",
    "slots::set_life",
    "handle::ring",
    "lock::nudge",
    "refs::ring",
    "wait_any::pull",
    "wait_any::ring",
    "watch::ring",
    "watch::ring_after",
];

/// How a process comes by an arena: a process killed in here has shown itself to nobody but in its slot.
const ENTRY: &[&str] = &[
    "create::attach",
    "create::create",
    "create::create_stage",
    "create::existing_family",
    "create::family",
    "create::open",
    "create::open_stage",
];

/// Only shown to people.
const SHOWN: &[&str] = &["slots::set_name"];

/// Steps of operations, stepped through in the rows of these.
const STEPS: &[(&str, &str)] = &[
    ("core::create", "handle::create"),
    ("core::create_in", "handle::create"),
    ("core::watch", "watch::new"),
    ("core::with_role", "handle::with_role"),
    ("barrier::in_arena", "mutex::in_arena"),
    ("barrier::new", "mutex::in_arena"),
    ("condvar::in_arena", "mutex::in_arena"),
    ("condvar::new", "mutex::in_arena"),
    ("event::in_arena", "mutex::in_arena"),
    ("event::new", "mutex::in_arena"),
    ("mutex::new", "mutex::in_arena"),
    ("once::in_arena", "mutex::in_arena"),
    ("once::new", "mutex::in_arena"),
    ("reentrant::in_arena", "mutex::in_arena"),
    ("reentrant::new", "mutex::in_arena"),
    ("rwlock::in_arena", "mutex::in_arena"),
    ("rwlock::new", "mutex::in_arena"),
    ("semaphore::new", "semaphore::in_arena"),
    ("barrier::init", "mutex::in_arena"),
    ("barrier::recover", "audit::audit"),
    ("barrier::wake_sleepers", "audit::audit"),
    // As after very many rounds: for a test.
    ("barrier::set_phase", "barrier::wait"),
    ("semaphore::add", "semaphore::release"),
    ("semaphore::init", "semaphore::in_arena"),
    ("semaphore::recover", "audit::audit"),
    ("semaphore::wake", "semaphore::release"),
    ("semaphore::wake_sleepers", "audit::audit"),
    // Steps of `acquire` by themselves: for tests.
    ("semaphore::count_sleeper", "semaphore::acquire"),
    ("semaphore::inherit", "semaphore::acquire"),
    ("event::wake_sleepers", "audit::audit"),
    ("mutex::wake_sleepers", "audit::audit"),
    ("rwlock::wake_sleepers", "audit::audit"),
    ("permits::let_others", "permits::take"),
    ("permits::pause", "permits::give_back"),
    ("thread::thread_at_hand", "thread::thread"),
    ("audit::settle", "audit::audit"),
    ("journal::give", "journal::given"),
    ("redo::lock", "journal::guard"),
    ("redo::unlock", "journal::guard"),
    ("redo::apply", "journal::apply"),
    ("redo::apply_plan", "journal::apply_all"),
    ("redo::recover", "audit::audit"),
    ("thread::building_of", "audit::audit"),
    ("block::free", "block::drop"),
    ("block::let_go", "block::drop"),
    ("block::recycle", "block::drop"),
    ("block::tell_owner", "block::drop"),
    ("cache::fill_and_take", "block::alloc"),
    ("cache::flush", "trim::tidy"),
    ("cache::put", "block::drop"),
    ("cache::take", "block::alloc"),
    ("granule::cut", "block::shrink_to"),
    ("granule::give", "block::drop"),
    ("granule::granules", "owner_lock::lock"),
    ("granule::recover_granules", "audit::audit"),
    ("granule::retire", "audit::audit"),
    ("granule::take", "block::alloc"),
    ("granule::take_at", "trim::trim"),
    ("hold::take", "block::alloc"),
    ("ledger::ledger", "audit::audit"),
    ("small::inherit", "audit::audit"),
    ("small::take", "block::alloc"),
    ("small::tidy", "trim::tidy"),
    ("thread::audit_threads", "audit::audit"),
    ("thread::return_current_thread", "thread::drop"),
    ("tree::adopt", "block::adopt_into"),
    ("tree::drain", "block::drop"),
    ("tree::settle_adoption", "audit::audit"),
    ("trim::trim_now_and_then", "trim::trim"),
    ("trim::with_room", "block::alloc"),
    ("directory::recover_root", "audit::audit"),
    ("handle::create_in", "handle::create"),
    ("handle::lock", "lock::lock"),
    ("lock::give_as", "lock::give"),
    ("lock::take_as", "lock::take"),
    ("lock::recover", "audit::audit"),
    ("refs::exchange", "lock::give"),
    ("shared_static::get", "directory::find_or_make"),
    ("wait_any::wait_any", "watch::new"),
    ("wait_any::watch", "watch::new"),
    ("namespace::new", "dict::new"),
    ("namespace::in_arena", "dict::new"),
    ("dict::in_arena", "dict::new"),
    ("list::in_arena", "list::new"),
    ("broadcast::in_arena", "broadcast::new"),
    ("value::in_arena", "value::new"),
    ("array::in_arena", "array::zeroed"),
    ("array::slice", "array::get"),
    ("array::snapshot", "array::get"),
    ("array::copy_from", "array::fill"),
    ("array::from_slice", "array::fill"),
    ("array::try_lock", "array::lock"),
    ("array::lock_timeout", "array::lock"),
    ("value::take", "value::replace"),
    ("value::fetch_sub", "value::fetch_add"),
    ("value::fetch_and", "value::fetch_add"),
    ("value::fetch_or", "value::fetch_add"),
    ("value::fetch_xor", "value::fetch_add"),
    ("value::fetch_max", "value::fetch_add"),
    ("value::fetch_min", "value::fetch_add"),
    ("dict::get_or_insert", "dict::insert_new"),
    ("dict::get_or_insert_with", "dict::insert_new"),
    ("list::from_items", "list::push"),
    ("list::sort_by_key", "list::sort_by"),
];

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../runtime/src")
}

/// What a file's functions are named by: the file, or its folder where that has structures of several kinds.
fn stem(file: &Path) -> String {
    let stem = file.file_stem().unwrap().to_string_lossy().into_owned();
    let folder = file.parent().unwrap();
    if stem == "mod" && folder.parent().is_some_and(|above| above.ends_with("shared")) {
        return folder.file_name().unwrap().to_string_lossy().into_owned();
    }
    stem
}

/// The functions of a file, as `file::name`; with `offered`, only those that the rest of the library may call.
fn functions(file: &Path, offered: bool) -> Vec<String> {
    let stem = stem(file);
    let text = fs::read_to_string(file).unwrap();
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let name = |line: &str| {
        let line = line.trim_start();
        let rest = match line.split_once("fn ")?.0.trim_end() {
            "pub" | "pub const" | "pub unsafe" | "pub(crate)" | "pub(crate) const" | "pub(crate) unsafe" => line,
            _ if offered => return None,
            _ => line,
        };
        let name = rest.split_once("fn ")?.1.split(|c: char| !c.is_alphanumeric() && c != '_').next()?;
        (!line.starts_with("//")).then(|| format!("{stem}::{name}"))
    };
    code.lines().filter_map(name).collect()
}

fn files(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(sources().join(folder)).unwrap();
    entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|it| it == "rs")).collect()
}

#[test]
fn every_operation_has_a_row() {
    let covered: BTreeSet<&str> = table::rows().iter().flat_map(|row| row.covers).copied().collect();
    let steps = STEPS.iter().filter(|(_, of)| covered.contains(of)).map(|(step, _)| step);
    let excused = [READS, PRIVATE, ONE_STEP, ENTRY, SHOWN].concat();
    let known: BTreeSet<&str> = covered.iter().chain(steps).chain(&excused).copied().collect();
    let files = FOLDERS.iter().flat_map(|folder| files(folder));
    let without = |file: &PathBuf| {
        WITHOUT.iter().any(|stem| file.file_stem().is_some_and(|it| it == *stem))
            || THIN.iter().any(|thin| file.ends_with(thin))
    };
    let offered: Vec<String> = files.filter(|file| !without(file)).flat_map(|file| functions(&file, true)).collect();
    assert!(offered.len() > 80, "the sources are elsewhere? {offered:?}");
    let missing: BTreeSet<&String> = offered.iter().filter(|name| !known.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "operations without a row in offspring_tests::table: {missing:#?}");
}

#[test]
fn what_rows_and_lists_name_is_there() {
    let of_pools = fs::read_dir(sources().join("pool")).unwrap().map(|entry| entry.unwrap().path());
    let of_pools = of_pools.filter(|path| path.is_dir()).map(|path| path.to_string_lossy().into_owned());
    let all: BTreeSet<String> = (FOLDERS.iter().map(|folder| (*folder).to_owned()))
        .chain(["pool".to_owned()])
        .chain(of_pools)
        .flat_map(|folder| files(&folder))
        .flat_map(|file| functions(&file, false))
        .collect();
    let rows = table::rows();
    let named = rows.iter().flat_map(|row| row.covers).chain(STEPS.iter().flat_map(|(step, of)| [step, of]));
    let listed = [READS, PRIVATE, ONE_STEP, ENTRY, SHOWN].concat();
    let gone: BTreeSet<&str> = named.chain(&listed).copied().filter(|name| !all.contains(*name)).collect();
    assert!(gone.is_empty(), "no longer in the sources: {gone:#?}");
}

#[test]
fn every_seeded_mistake_belongs_to_a_row() {
    let rows = table::rows();
    let tried: BTreeSet<u32> = rows.iter().flat_map(|row| row.mutants).copied().collect();
    let missed: Vec<_> = testing::mutants().into_iter().filter(|(number, _)| !tried.contains(number)).collect();
    assert!(missed.is_empty(), "no row has to notice: {missed:?}");
    let mut names: Vec<&str> = rows.iter().map(|row| row.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), rows.len(), "two rows have one name");
}
