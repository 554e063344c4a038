//! Parameters, results, state, methods and generics of tasks, through the inline executor: every executor encodes and runs
//! them the same way.
#![allow(missing_docs)]
// The point is to write tasks in every way that users write them.
#![allow(
    clippy::too_many_arguments,
    clippy::needless_borrows_for_generic_args,
    clippy::needless_lifetimes,
    clippy::type_complexity,
    clippy::single_component_path_imports,
    unreachable_pub
)]

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use offspring::{Archived, ErrorKind, Executor, Failure, Inline, Message, TaskError, message, task};

type Outcome = Result<(), TaskError>;

#[message]
#[derive(Debug, Clone, PartialEq)]
struct Page {
    url: String,
    links: Vec<String>,
    saved_as: Option<PathBuf>,
}

fn page() -> Page {
    let odd = PathBuf::from(OsString::from_vec(vec![b'a', 0xff, b'/', b'b']));
    Page { url: "https://a.example/".into(), links: vec!["x".into(), "y".into()], saved_as: Some(odd) }
}

// By value.

#[task]
fn sum(a: u64, b: u64) -> u64 {
    a + b
}

#[task]
fn eight(a: u8, b: u16, c: u32, d: u64, e: i8, f: i16, g: f32, h: f64) -> f64 {
    a as f64 + b as f64 + c as f64 + d as f64 + e as f64 + f as f64 + g as f64 + h
}

#[task]
fn pair(pair: (u64, u64)) -> u64 {
    pair.0 * pair.1
}

#[test]
fn one_parameter_takes_the_value_several_a_tuple() -> Outcome {
    let inline = Inline::new();
    assert_eq!(inline.map(sum, [(1, 2), (3, 4)])?, [3, 7]);
    assert_eq!(inline.map(sum, &[(1, 2), (3, 4)])?, [3, 7]);
    assert_eq!(inline.map(sum, (0..3).zip(5..))?, [5, 7, 9]);
    assert_eq!(inline.map(pair, [(2, 3)])?, [6]);
    assert_eq!(inline.map(eight, [(1, 2, 3, 4, -5, -6, 1.5, 2.5)])?, [3.0]);
    assert_eq!(inline.call(sum, (1, 2))?, 3);
    Ok(())
}

#[task]
fn url(page: Page) -> String {
    page.url
}

#[test]
fn owned_parameters_take_values_and_references() -> Outcome {
    let inline = Inline::new();
    let pages = vec![page(), page()];
    assert_eq!(inline.map(url, &pages)?.len(), 2);
    assert_eq!(inline.map(url, pages)?[0], "https://a.example/");
    Ok(())
}

#[task]
fn upper(text: String) -> String {
    text.to_uppercase()
}

#[task]
fn total(values: Vec<u32>) -> u32 {
    values.iter().sum()
}

#[test]
fn owned_strings_and_vectors_take_what_they_are_made_of() -> Outcome {
    let inline = Inline::new();
    assert_eq!(inline.map(upper, ["a", "b"])?, ["A", "B"]);
    assert_eq!(inline.map(upper, ["a", "b"].iter())?, ["A", "B"]);
    assert_eq!(inline.map(upper, vec!["a".to_string()])?, ["A"]);
    assert_eq!(inline.map(upper, &["a".to_string()])?, ["A"]);
    assert_eq!(inline.map(total, [&[1, 2][..], &[3]])?, [3, 3]);
    assert_eq!(inline.map(total, [[1, 2], [3, 4]])?, [3, 7]);
    assert_eq!(inline.map(total, [vec![1, 2, 3]])?, [6]);
    assert_eq!(inline.map(total, &[vec![1, 2, 3]])?, [6]);
    Ok(())
}

// Borrowed.

#[task]
fn words(text: &str) -> usize {
    text.split_whitespace().count()
}

#[task]
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[task]
fn bytes(data: &[u8]) -> usize {
    data.len()
}

#[task]
fn rows(rows: &[[u16; 2]]) -> u16 {
    rows.iter().flatten().sum()
}

#[task]
fn file_name(path: &Path) -> Option<OsString> {
    path.file_name().map(OsStr::to_owned)
}

#[task]
fn length(name: &OsStr) -> usize {
    name.len()
}

#[task]
fn lent(page: &Page) -> String {
    page.url.clone()
}

#[task]
fn degree(page: &Archived<Page>) -> usize {
    page.links.len()
}

#[task]
fn archived_by_name(page: &ArchivedPage, at: usize) -> String {
    page.links[at].to_string()
}

#[task]
fn byte(x: &u8) -> u8 {
    *x + 1
}

#[task]
fn hash(x: &[u8; 4]) -> u8 {
    x.iter().copied().fold(0, |a, b| a ^ b)
}

#[task]
fn archived_map(map: &Archived<HashMap<String, u64>>, key: &str) -> Option<u64> {
    map.get(key).map(|value| value.to_native())
}

#[test]
fn strings_and_slices_are_read_in_place() -> Outcome {
    let inline = Inline::new();
    assert_eq!(inline.map(words, ["a b", "c"])?, [2, 1]);
    assert_eq!(inline.map(words, ["a b", "c"].iter())?, [2, 1]);
    assert_eq!(inline.map(words, vec!["a b".to_string()])?, [2]);
    assert_eq!(inline.map(words, &vec!["a b".to_string()])?, [2]);
    assert_eq!(inline.map(words, "one two\nthree".lines())?, [2, 1]);
    assert_eq!(inline.map(mean, [vec![1.0, 3.0]])?, [2.0]);
    assert_eq!(inline.map(mean, &[vec![1.0, 3.0]])?, [2.0]);
    assert_eq!(inline.map(mean, [[1.0, 3.0]])?, [2.0]);
    assert_eq!(inline.map(mean, [1.0, 2.0, 3.0].chunks(2))?, [1.5, 3.0]);
    assert_eq!(inline.map(bytes, [&b"abc"[..]])?, [3]);
    assert_eq!(inline.map(bytes, [b"abc"])?, [3]);
    assert_eq!(inline.map(bytes, [vec![0u8; 100_000]])?, [100_000]);
    assert_eq!(inline.map(rows, [vec![[1, 2], [3, 4]]])?, [10]);
    Ok(())
}

#[test]
fn paths_of_any_bytes_are_read_in_place() -> Outcome {
    let inline = Inline::new();
    let odd = OsStr::from_bytes(b"\xff\xfe");
    let path = Path::new("/tmp").join(odd);
    assert_eq!(inline.map(file_name, [&path])?, [Some(odd.to_owned())]);
    assert_eq!(inline.map(file_name, [path.as_path()])?, [Some(odd.to_owned())]);
    assert_eq!(inline.map(file_name, vec![path.clone()])?, [Some(odd.to_owned())]);
    assert_eq!(inline.map(file_name, ["/a/b"])?, [Some("b".into())]);
    assert_eq!(inline.map(length, [odd])?, [2]);
    Ok(())
}

#[test]
fn messages_are_lent_or_read_in_place() -> Outcome {
    let inline = Inline::new();
    let pages = [page(), page()];
    assert_eq!(inline.map(lent, &pages)?[1], "https://a.example/");
    assert_eq!(inline.map(degree, &pages)?, [2, 2]);
    assert_eq!(inline.map(degree, pages.clone())?, [2, 2]);
    assert_eq!(inline.map(archived_by_name, [(&pages[0], 1)])?, ["y"]);
    assert_eq!(inline.map(archived_by_name, [(pages[0].clone(), 0)])?, ["x"]);
    assert_eq!(inline.map(byte, [1, 2])?, [2, 3]);
    assert_eq!(inline.map(hash, [[1, 2, 4, 8]])?, [15]);
    let map = HashMap::from([("a".to_string(), 7u64)]);
    assert_eq!(inline.map(archived_map, [(&map, "a"), (&map, "b")])?, [Some(7), None]);
    Ok(())
}

#[task]
fn mix(page: &Archived<Page>, prefix: &str, scale: f64, values: &[f64], path: PathBuf, whole: &Page) -> String {
    let sum: f64 = values.iter().sum();
    format!("{prefix}{}{}{}{}", page.links.len(), sum * scale, path.display(), whole.links[0])
}

#[test]
fn parameters_of_all_kinds_mix() -> Outcome {
    let (page, values) = (page(), vec![1.0, 2.0]);
    let items = [(&page, "n", 2.0, &values, Path::new("/p"), &page)];
    assert_eq!(Inline::new().map(mix, items)?, ["n26/px"]);
    let item = (page.clone(), "n".to_string(), 2.0, [1.0, 2.0], PathBuf::from("/p"), page.clone());
    assert_eq!(Inline::new().call(mix, item)?, "n26/px");
    Ok(())
}

#[task]
fn explicit<'a, 'b>(a: &'a str, b: &'b str) -> bool {
    a == b
}

#[task]
fn owned_cow(text: Cow<'static, str>) -> usize {
    text.len()
}

#[test]
fn lifetimes_may_be_written_out() -> Outcome {
    assert_eq!(Inline::new().map(explicit, [("a", "a")])?, [true]);
    assert_eq!(Inline::new().map(owned_cow, [Cow::Borrowed("abc")])?, [3]);
    Ok(())
}

// Results.

#[task]
fn everything(
    n: u64,
) -> (PathBuf, SystemTime, Duration, BTreeMap<String, Option<PathBuf>>, Arc<str>, Box<[u8]>, [String; 2]) {
    let map = BTreeMap::from([("k".to_string(), Some(PathBuf::from("/x")))]);
    let before = SystemTime::UNIX_EPOCH - Duration::from_nanos(n);
    let strings = ["p".to_string(), "q".to_string()];
    ("/a".into(), before, Duration::from_millis(n), map, "shared".into(), vec![1, 2].into(), strings)
}

#[task]
fn list(dir: PathBuf) -> Result<Vec<PathBuf>, Failure> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(&dir)? {
        paths.push(entry?.path());
    }
    Ok(paths)
}

#[test]
fn results_of_std_come_back() -> Outcome {
    let (path, time, duration, map, shared, bytes, strings) = Inline::new().call(everything, 1_500_000_000)?;
    assert_eq!(path, Path::new("/a"));
    assert_eq!(SystemTime::UNIX_EPOCH.duration_since(time).unwrap_or_default(), Duration::from_nanos(1_500_000_000));
    assert_eq!(duration, Duration::from_secs(1_500_000));
    assert_eq!(map["k"], Some(PathBuf::from("/x")));
    assert_eq!((&*shared, &*bytes, strings.join("")), ("shared", &[1, 2][..], "pq".to_string()));
    Ok(())
}

#[test]
fn a_tasks_own_error_is_its_value() -> Outcome {
    let results = Inline::new().map(list, ["/does/not/exist", "/proc/self/task"])?;
    let failure = results[0].as_ref().err().map(|failure| (failure.to_string(), failure.type_name().to_string()));
    assert_eq!(failure, Some(("No such file or directory (os error 2)".into(), "std::io::error::Error".into())));
    assert!(results[1].as_ref().is_ok_and(|paths| !paths.is_empty()));
    Ok(())
}

#[test]
fn any_failure_goes_through_mains_question_mark() {
    fn main() -> offspring::Result<()> {
        let _: Vec<Vec<PathBuf>> = Inline::new().map(list, ["/nowhere"])?.into_iter().collect::<Result<_, _>>()?;
        Ok(())
    }
    let error = main().err().map(|error| (error.kind(), error.to_string()));
    assert_eq!(error, Some((ErrorKind::Failed, "No such file or directory (os error 2)".to_string())));
}

#[task]
fn boom(x: u64) -> u64 {
    if x == 2 {
        panic!("no {x}");
    }
    x
}

#[test]
fn a_panic_costs_its_item_and_says_where() -> Outcome {
    let results = Inline::new().try_map(boom, 1..4)?;
    assert!(matches!((&results[0], &results[2]), (Ok(1), Ok(3))));
    let error = results[1].as_ref().err().map(ToString::to_string).unwrap_or_default();
    assert!(error.contains("task `tasks::boom`, item 1 panicked at ") && error.ends_with(": no 2"), "{error}");
    Ok(())
}

// Methods.

#[message]
#[derive(Debug, Clone, PartialEq)]
struct Scale {
    by: f64,
}

#[task]
impl Scale {
    /// By value.
    pub fn run(self, x: f64) -> f64 {
        x * self.by
    }

    fn lent(&self, xs: &[f64]) -> Vec<f64> {
        xs.iter().map(|x| x * self.by).collect()
    }

    fn associated(by: f64) -> Self {
        Self { by }
    }

    fn merged(self, other: &Self) -> Self {
        Self { by: self.by * other.by }
    }
}

trait Area {
    const SIDES: usize;
    fn area(&self) -> f64;
}

#[task]
impl Area for Scale {
    const SIDES: usize = 4;

    fn area(&self) -> f64 {
        self.by * self.by
    }
}

#[test]
fn methods_are_tasks_too() -> Outcome {
    let inline = Inline::new();
    let scale = Scale { by: 2.0 };
    assert_eq!(scale.clone().run(3.0), 6.0);
    assert_eq!(inline.map(Scale::run, [(scale.clone(), 3.0)])?, [6.0]);
    assert_eq!(inline.map(Scale::lent, [(&scale, vec![1.0, 2.0])])?, [[2.0, 4.0]]);
    assert_eq!(inline.map(Scale::associated, [5.0])?, [Scale { by: 5.0 }]);
    assert_eq!(inline.map(Scale::merged, [(&scale, &scale)])?, [Scale { by: 4.0 }]);
    assert_eq!(inline.map(<Scale as Area>::area, [&scale])?, [4.0]);
    assert_eq!(Scale::SIDES, 4);
    let names: Vec<_> = offspring::tasks().iter().map(|task| task.name()).collect();
    assert!(names.contains(&"tasks::Scale::run"), "{names:?}");
    Ok(())
}

// Generics.

#[task(instantiate(u32, f64, String))]
fn largest<T: PartialOrd + Clone + Message>(values: Vec<T>) -> Option<T>
where
    Vec<T>: Message,
{
    values.iter().cloned().reduce(|a, b| if b > a { b } else { a })
}

#[task(instantiate((u8, 2), (u16, 3)))]
fn repeat<T: Copy + Message, const N: usize>(value: &T) -> [T; N]
where
    [T; N]: Message,
{
    [*value; N]
}

#[test]
fn listed_instances_of_generics_are_tasks() -> Outcome {
    let inline = Inline::new();
    assert_eq!(inline.map(largest::<u32>, [vec![1, 7, 3]])?, [Some(7)]);
    assert_eq!(inline.map(largest, [vec![0.5, 0.25]])?, [Some(0.5)]);
    assert_eq!(inline.map(largest::<String>, [vec!["a".to_string(), "b".to_string()]])?, [Some("b".to_string())]);
    assert_eq!(inline.map(repeat::<u8, 2>, [7])?, [[7, 7]]);
    assert_eq!(inline.map(repeat::<u16, 3>, [7])?, [[7, 7, 7]]);
    let names: Vec<_> = offspring::tasks().iter().map(|task| task.name()).collect();
    assert!(names.contains(&"tasks::largest::<u32>") && names.contains(&"tasks::repeat::<u16, 3>"), "{names:?}");
    Ok(())
}

#[test]
fn an_unlisted_instance_is_refused_by_name() {
    let refused = std::panic::catch_unwind(|| Inline::new().map(largest::<u64>, [vec![1]]));
    let text = refused.err().and_then(|payload| payload.downcast_ref::<String>().cloned()).unwrap_or_default();
    assert!(text.contains("largest<u64>") && text.contains("is no task"), "{text}");
}

fn not_annotated(x: u64) -> u64 {
    x
}

#[test]
fn a_function_without_the_attribute_is_refused_by_name() {
    let refused = std::panic::catch_unwind(|| Inline::new().map(not_annotated, [1]));
    let text = refused.err().and_then(|payload| payload.downcast_ref::<String>().cloned()).unwrap_or_default();
    assert_eq!(text, "`tasks::not_annotated` is no task: put #[offspring::task] on its definition");
    let refused = std::panic::catch_unwind(|| Inline::new().map(|x: u64| x, [1]));
    let text = refused.err().and_then(|payload| payload.downcast_ref::<String>().cloned()).unwrap_or_default();
    assert!(text.contains("a closure cannot be a task"), "{text}");
}

// Options.

mod facade {
    pub(crate) use offspring;
}

#[task(name = "thumb", version = 2, crate = facade::offspring)]
fn thumbnail(size: u32) -> u32 {
    size / 10
}

#[test]
fn options_set_name_and_version() -> Outcome {
    let tasks = offspring::tasks();
    let thumb = tasks.iter().find(|task| task.name() == "thumb");
    assert_eq!(thumb.map(|task| task.version()), Some(2));
    assert_eq!(Inline::new().map(thumbnail, [100])?, [10]);
    Ok(())
}
