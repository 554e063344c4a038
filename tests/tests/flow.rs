//! Flows: each method against the same chain on an iterator of std, with random inputs, on every engine; and what becomes of bad items.
#![allow(clippy::print_stderr, reason = "seeds are printed")]

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use offspring::{CancelToken, ErrorKind, Executor, FlowError, Inline, OnError, Pool, RunOptions, message, task};
use offspring_tests::kill::Random;
use offspring_tests::watchdog;

#[task]
fn twist(x: u64) -> u64 {
    x.wrapping_mul(0x9e37_79b9).rotate_left(7) ^ x
}

#[task]
fn twist_ref(x: &u64) -> u64 {
    twist(*x)
}

#[task]
fn is_odd(x: &u64) -> bool {
    x % 2 == 1
}

#[task]
fn halve(x: u64) -> Result<u64, String> {
    if x.is_multiple_of(3) { Err(format!("{x} is out")) } else { Ok(x / 2) }
}

/// 0 to 6 values.
#[task]
fn spread(x: u64) -> Vec<u64> {
    (0..x % 7).map(|n| x.wrapping_add(n)).collect()
}

#[task]
fn only_small(x: u64) -> Option<u64> {
    (x % 100 < 30).then_some(x % 100)
}

#[task]
fn text(x: u64) -> String {
    format!("<{}>", x % 1000)
}

#[task]
fn length(text: &str) -> usize {
    text.len()
}

#[task]
fn join(a: String, b: String) -> String {
    a + &b
}

#[task]
fn first_and_last(a: (u64, u64), b: (u64, u64)) -> (u64, u64) {
    (a.0, b.1)
}

#[task]
fn twice(x: u64) -> (u64, u64) {
    (x, x)
}

#[task]
fn sum(a: u64, b: u64) -> u64 {
    a.wrapping_add(b)
}

#[task]
fn keyed(x: u64) -> (u64, u64) {
    (x % 17, x / 17)
}

#[task]
fn key(x: &u64) -> u64 {
    x % 11
}

#[task]
fn total(values: &[u64]) -> u64 {
    values.iter().fold(values.len() as u64, |all, x| all.wrapping_add(*x))
}

#[task]
fn no_values() -> Vec<u64> {
    Vec::new()
}

#[task]
fn add_value(mut values: Vec<u64>, x: u64) -> Vec<u64> {
    values.push(x % 10);
    values
}

#[task]
fn all_values(mut a: Vec<u64>, b: Vec<u64>) -> Vec<u64> {
    a.extend(b);
    a
}

#[task]
fn look(x: &u64) {
    assert!(*x != u64::MAX, "never in these tests");
}

#[task]
fn visit(x: u64) {
    assert!(x != u64::MAX, "never in these tests");
}

#[message]
#[derive(Debug, Clone, PartialEq)]
struct Page {
    title: String,
    links: Vec<u32>,
}

#[task]
fn page(x: u64) -> Page {
    Page { title: format!("page {x}"), links: (0..(x % 5) as u32).collect() }
}

#[task]
fn has_links(page: &Page) -> bool {
    !page.links.is_empty()
}

#[task]
fn title(page: Page) -> String {
    page.title
}

/// Items of a size that is chosen anew each time, and sometimes none.
fn inputs(random: &mut Random) -> Vec<u64> {
    let len = [0, 1, 2, 7, 64, 300, 2_000][random.below(7) as usize];
    (0..len).map(|_| random.number() >> 8).collect()
}

/// Runs an end of a flow over items, with chunks of the engine's choice and with given ones, and compares.
macro_rules! same {
    ($engine:expr, $items:expr, $chunk:expr, $flow:ident => $run:expr, $expected:expr) => {{
        let expected = $expected;
        let $flow = $engine.flow($items.clone());
        assert_eq!($run.unwrap(), expected, "{} items", $items.len());
        let $flow = $engine.flow($items).chunk_size($chunk);
        assert_eq!($run.unwrap(), expected, "{} items, chunks of {}", $items.len(), $chunk);
    }};
}

/// Each method of a flow against the same chain on an iterator.
fn equals_std(engine: &impl Executor, rounds: usize) {
    let mut random = Random::from_env();
    for _ in 0..rounds {
        let items = inputs(&mut random);
        let chunk = 1 + random.below(40) as usize;
        let few = random.below(items.len() as u64 + 5) as usize;
        stages_do_what_those_of_std_do(engine, &items, chunk);
        ends_give_what_those_of_std_give(engine, &items, chunk);
        tables_hold_what_a_map_holds(engine, &items, chunk);
        cuts_are_those_of_std(engine, &items, chunk, few);
    }
}

fn stages_do_what_those_of_std_do(engine: &impl Executor, items: &Vec<u64>, chunk: usize) {
    let std = || items.iter().copied();
    same!(engine, items, chunk, flow => flow.collect(), items.clone());
    same!(engine, items, chunk, flow => flow.map(twist).collect(), std().map(twist).collect::<Vec<_>>());
    same!(engine, items, chunk, flow => flow.map(twist_ref).collect(), std().map(twist).collect::<Vec<_>>());
    same!(engine, items, chunk, flow => flow.filter(is_odd).collect(), std().filter(is_odd).collect::<Vec<_>>());
    same!(engine, items, chunk, flow => flow.try_map(halve).collect(), std().flat_map(halve).collect::<Vec<_>>());
    same!(engine, items, chunk, flow => flow.flat_map(spread).collect(), std().flat_map(spread).collect::<Vec<_>>());
    same!(engine, items, chunk, flow => flow.flat_map(only_small).collect(), std().filter_map(only_small).collect::<Vec<_>>());
    same!(engine, items, chunk, flow => flow.inspect(look).map(text).map(length).collect(),
        std().map(text).map(|text| length(&text)).collect::<Vec<_>>());
    same!(engine, items, chunk, flow => flow.map(twice).map(sum).collect(), std().map(|x| sum(x, x)).collect::<Vec<_>>());
    same!(engine, items, chunk,
        flow => flow.map(twist).flat_map(spread).filter(is_odd).try_map(halve).map(page).filter(has_links).map(title).collect(),
        std().map(twist).flat_map(spread).filter(is_odd).flat_map(halve).map(page).filter(has_links).map(title)
            .collect::<Vec<_>>());
}

fn ends_give_what_those_of_std_give(engine: &impl Executor, items: &Vec<u64>, chunk: usize) {
    let std = || items.iter().copied();
    same!(engine, items, chunk, flow => flow.count(), items.len() as u64);
    same!(engine, items, chunk, flow => flow.flat_map(spread).filter(is_odd).count(),
        std().flat_map(spread).filter(is_odd).count() as u64);
    same!(engine, items, chunk, flow => flow.for_each(visit), ());
    same!(engine, items, chunk, flow => flow.reduce(sum), std().reduce(sum));
    same!(engine, items, chunk, flow => flow.filter(is_odd).reduce(sum), std().filter(is_odd).reduce(sum));
    // Associative, but not commutative: the order matters.
    same!(engine, items, chunk, flow => flow.map(twice).reduce(first_and_last), std().map(twice).reduce(first_and_last));
    same!(engine, items, chunk, flow => flow.map(text).reduce(join), std().map(text).reduce(join));
    same!(engine, items, chunk, flow => flow.fold(no_values, add_value, all_values), std().fold(no_values(), add_value));
    same!(engine, items, chunk, flow => flow.min_by_key(key), std().min_by_key(key));
    same!(engine, items, chunk, flow => flow.max_by_key(key), std().max_by_key(key));
    same!(engine, items, chunk, flow => flow.map(twist).stream().collect::<Result<Vec<_>, _>>(),
        std().map(twist).collect::<Vec<_>>());
    same!(engine, items, chunk, flow => flow.stream().collect::<Result<Vec<_>, _>>(), items.clone());
    let sorted = |mut values: Vec<u64>| {
        values.sort_unstable();
        values
    };
    same!(engine, items, chunk, flow => flow.map(twist).unordered().stream().collect::<Result<Vec<_>, _>>().map(sorted),
        sorted(std().map(twist).collect()));
    same!(engine, items, chunk, flow => flow.map(twist).unordered().collect().map(sorted), sorted(std().map(twist).collect()));
    same!(engine, items, chunk, flow => flow.map(twist).unordered().ordered().collect(), std().map(twist).collect::<Vec<_>>());
}

fn tables_hold_what_a_map_holds(engine: &impl Executor, items: &Vec<u64>, chunk: usize) {
    let mut sums: HashMap<u64, u64> = HashMap::new();
    let mut groups: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for (key, value) in items.iter().copied().map(keyed) {
        let sum_so_far = sums.entry(key).or_insert(0);
        *sum_so_far = sum(*sum_so_far, value);
        groups.entry(key).or_default().push(value);
    }
    same!(engine, items, chunk, flow => flow.map(keyed).reduce_by_key(sum).map(|table| table.into_map()), sums.clone());
    same!(engine, items, chunk, flow => flow.map(keyed).group_by_key().map(|table| table.sorted_by_key()),
        groups.clone().into_iter().collect::<Vec<_>>());
    let mut top: Vec<(u64, u64)> = sums.into_iter().collect();
    top.sort_by_key(|(key, value)| (std::cmp::Reverse(*value), *key));
    top.truncate(5);
    same!(engine, items, chunk, flow => flow.map(keyed).reduce_by_key(sum).map(|table| table.top_by_value(5)), top);
}

fn cuts_are_those_of_std(engine: &impl Executor, items: &Vec<u64>, chunk: usize, few: usize) {
    let std = || items.iter().copied();
    same!(engine, items, chunk, flow => flow.take(few).collect(), std().take(few).collect::<Vec<_>>());
    same!(engine, items, chunk, flow => flow.filter(is_odd).take(few).map(twist).collect(),
        std().filter(is_odd).take(few).map(twist).collect::<Vec<_>>());
    same!(engine, items, chunk, flow => flow.map(twist).chunks(few + 1).map(total).collect(),
        std().map(twist).collect::<Vec<_>>().chunks(few + 1).map(total).collect::<Vec<_>>());
    same!(engine, items, chunk, flow => flow.flat_map(spread).take(few).chunks(3).collect(),
        std().flat_map(spread).take(few).collect::<Vec<_>>().chunks(3).map(<[u64]>::to_vec).collect::<Vec<_>>());
}

#[test]
fn flows_equal_iterators_inline() {
    let _watch = watchdog(Duration::from_secs(120));
    equals_std(&Inline::new(), 12);
}

/// As engines over a network have it: no result of a chunk is in reach of whoever merges it.
#[test]
fn flows_equal_iterators_where_partial_results_pass_by_value() {
    let _watch = watchdog(Duration::from_secs(120));
    equals_std(&Inline::new().apart(), 12);
    bad_items_cost_themselves(&Inline::new().apart());
}

#[test]
fn flows_equal_iterators_in_a_pool() {
    let _watch = watchdog(Duration::from_secs(240));
    equals_std(&Pool::builder().workers(3).build().unwrap(), 12);
}

#[test]
fn flows_equal_iterators_in_a_pool_of_one() {
    let _watch = watchdog(Duration::from_secs(240));
    equals_std(&Pool::builder().workers(1).build().unwrap(), 6);
}

#[task]
fn picky(x: u64) -> u64 {
    assert!(x % 50 != 13, "{x} is unlucky");
    x
}

#[task]
fn fall_at(x: u64) -> Vec<u64> {
    (0..3).map(|n| x * 3 + n).collect()
}

#[task]
fn fall(x: u64) -> u64 {
    assert!(x % 30 != 16, "{x} falls");
    x
}

#[task]
fn touchy_sum(a: u64, b: u64) -> u64 {
    assert!(b != 77, "77 cannot be added");
    a + b
}

/// What is lost is told with its item and its stage, and nothing else is lost.
fn bad_items_cost_themselves(engine: &impl Executor) {
    let told: RefCell<Vec<FlowError>> = RefCell::default();
    let tell = |error| told.borrow_mut().push(error);
    let facts = || {
        let told = told.take();
        let facts = |error: &FlowError| (error.item().unwrap(), error.stage(), error.kind());
        told.iter().map(facts).collect::<Vec<_>>()
    };

    // Ordered by item, whichever stage it was.
    let good = engine.flow(0..200u64).map(picky).try_map(halve).on_failure(tell).collect().unwrap();
    let expected: Vec<u64> = (0..200).filter(|x| x % 50 != 13).flat_map(halve).collect();
    assert_eq!(good, expected);
    let expected: Vec<(usize, usize, ErrorKind)> = (0..200)
        .filter_map(|x| match x {
            _ if x % 50 == 13 => Some((x as usize, 1, ErrorKind::Panicked)),
            _ if x % 3 == 0 => Some((x as usize, 2, ErrorKind::Failed)),
            _ => None,
        })
        .collect();
    assert_eq!(facts(), expected);

    // An item of which a part panics is lost as a whole, whatever the chunk.
    for chunk in [1, 7, 1_000] {
        let good =
            engine.flow(0..100u64).flat_map(fall_at).map(fall).on_failure(tell).chunk_size(chunk).collect().unwrap();
        let falls = |x: &u64| (0..3).any(|n| (x * 3 + n) % 30 == 16);
        assert_eq!(good, (0..100).filter(|x| !falls(x)).flat_map(fall_at).collect::<Vec<_>>());
        let lost: Vec<_> = (0..100).filter(falls).map(|x| (x as usize, 2, ErrorKind::Panicked)).collect();
        assert_eq!(facts(), lost);
    }

    // A panic in the reduction costs the item that was to be added; what was added before stands.
    for chunk in [5, 1_000] {
        let total =
            engine.flow(0..100u64).filter(is_odd).on_failure(tell).chunk_size(chunk).reduce(touchy_sum).unwrap();
        assert_eq!(total, Some((0..100).filter(|x| x % 2 == 1 && *x != 77).sum()), "chunks of {chunk}");
        let lost = told.take();
        assert_eq!(lost.len(), 1);
        assert_eq!((lost[0].item(), lost[0].stage()), (Some(77), 2));
        let error = lost[0].as_task_error().unwrap();
        assert!(error.is_panicked() && error.task().ends_with("touchy_sum"), "{error}");
        assert!(lost[0].to_string().contains("77 cannot be added"), "{}", lost[0]);
    }

    // Without a handler: the first that was not the task's own decision, when all others were run.
    let error = engine.flow(0..200u64).try_map(halve).map(picky).collect().unwrap_err();
    assert_eq!((error.item(), error.stage(), error.kind()), (Some(26), 2, ErrorKind::Panicked));
    assert!(error.task().ends_with("picky"), "{error}");
    assert_eq!(engine.flow(0..200u64).try_map(halve).count().unwrap(), (0..200).flat_map(halve).count() as u64);

    // In a stream errors come among the values, and it goes on.
    let (good, bad): (Vec<_>, Vec<_>) = engine.flow(0..200u64).map(picky).stream().partition(Result::is_ok);
    assert_eq!((good.len(), bad.len()), (196, 4));
    assert_eq!(
        bad.iter().map(|error| error.as_ref().unwrap_err().item().unwrap()).collect::<Vec<_>>(),
        [13, 63, 113, 163]
    );

    // Before and behind a cut.
    let good =
        engine.flow(0..60u64).map(picky).chunks(10).map(total).try_map(halve).on_failure(tell).collect().unwrap();
    let passed: Vec<u64> = (0..60).filter(|x| x % 50 != 13).collect();
    assert_eq!(good, passed.chunks(10).map(total).flat_map(halve).collect::<Vec<_>>());
    let facts = facts();
    assert_eq!(facts[0], (13, 1, ErrorKind::Panicked));
    assert!(facts[1..].iter().all(|(_, stage, kind)| (*stage, *kind) == (4, ErrorKind::Failed)), "{facts:?}");
    let error = engine.flow(0..60u64).map(picky).take(50).map(twist).collect().unwrap_err();
    assert_eq!((error.item(), error.stage()), (Some(13), 1));
}

#[test]
fn bad_items_cost_themselves_and_are_told_with_their_stage() {
    let _watch = watchdog(Duration::from_secs(120));
    bad_items_cost_themselves(&Inline::new());
    bad_items_cost_themselves(&Pool::builder().workers(3).build().unwrap());
}

struct Offset {
    by: u64,
    calls: u64,
}

#[task(state)]
fn offset(by: u64) -> Offset {
    Offset { by, calls: 0 }
}

#[task]
fn shift(offset: &mut Offset, x: u64) -> u64 {
    offset.calls += 1;
    assert!(x != 5, "five");
    x + offset.by
}

#[test]
fn stages_borrow_the_workers_state() {
    let _watch = watchdog(Duration::from_secs(60));
    let pool = Pool::builder().workers(2).state(offset, 100u64).build().unwrap();
    let inline = Inline::with_state(offset, 100u64).unwrap();
    let expected: Vec<u64> = (0..50).filter(|x| *x != 5).map(|x| twist(x + 100)).collect();
    fn check(engine: &impl Executor, expected: &[u64]) {
        let mut lost = Vec::new();
        let values = engine.flow(0..50u64).map(shift).map(twist).on_failure(|error| lost.push(error.item())).collect();
        assert_eq!((values.unwrap().as_slice(), lost), (expected, vec![Some(5)]));
    }
    check(&pool, &expected);
    check(&inline, &expected);
    let error = Pool::builder().workers(1).build().unwrap().flow([1u64]).map(shift).collect().unwrap_err();
    assert!(error.as_task_error().unwrap().is_no_state(), "{error}");
}

fn plain(x: u64) -> u64 {
    x
}

#[test]
fn a_stage_without_the_attribute_is_refused_by_name_in_the_caller() {
    let refused = std::panic::catch_unwind(|| drop(Inline::new().flow([1u64]).map(plain)));
    let message = *refused.unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains("plain") && message.contains("#[offspring::task]"), "{message}");
}

#[test]
fn a_flow_without_items_gives_nothing_and_starts_no_worker() {
    let _watch = watchdog(Duration::from_secs(60));
    let pool = Pool::builder().workers(2).build().unwrap();
    let none = || pool.flow(Vec::<u64>::new());
    assert_eq!(none().map(twist).collect().unwrap(), Vec::<u64>::new());
    assert_eq!(none().reduce(sum).unwrap(), None);
    assert_eq!(none().map(keyed).reduce_by_key(sum).unwrap().len(), 0);
    assert_eq!(none().count().unwrap(), 0);
    assert_eq!(pool.stats().started, 0);
    assert_eq!(none().fold(no_values, add_value, all_values).unwrap(), Vec::<u64>::new());
}

#[test]
fn a_closed_pool_ends_a_flow_with_an_error_even_where_there_is_a_handler() {
    let _watch = watchdog(Duration::from_secs(60));
    let pool = Pool::builder().workers(1).build().unwrap();
    pool.close();
    let error = pool.flow(0..9u64).map(twist).on_failure(|_| ()).collect().unwrap_err();
    assert_eq!((error.kind(), error.item()), (ErrorKind::Closed, None));
    let error = pool.flow(0..9u64).map(twist).reduce(sum).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    let mut stream = pool.flow(0..9u64).map(twist).stream();
    assert_eq!(stream.next().unwrap().unwrap_err().kind(), ErrorKind::Closed);
    assert!(stream.next().is_none());
}

/// Endless input: nothing is pulled that is not needed soon, and what is in flight does not grow.
#[test]
fn endless_input_is_pulled_as_it_is_needed() {
    let _watch = watchdog(Duration::from_secs(120));
    let pool = Pool::builder().workers(2).build().unwrap();
    let pulled = std::cell::Cell::new(0u64);
    let endless = || {
        std::iter::from_fn(|| {
            pulled.set(pulled.get() + 1);
            Some(pulled.get())
        })
    };
    let first: Vec<u64> = pool.flow(endless()).map(twist).stream().take(1_000).map(Result::unwrap).collect();
    assert_eq!(first, (1..=1_000).map(twist).collect::<Vec<u64>>());
    assert!(pulled.get() < 2_000_000, "pulled {} items for 1,000 results", pulled.get());
    pulled.set(0);
    let odd = pool.flow(endless()).filter(is_odd).take(500).map(twist).unordered().count().unwrap();
    assert_eq!(odd, 500);
    assert!(pulled.get() < 2_000_000, "pulled {} items for 500 values", pulled.get());
}

#[task]
fn hang_at_seven(x: u64) -> u64 {
    if x == 7 {
        std::thread::sleep(Duration::from_secs(600));
    }
    x
}

#[task]
fn nap(x: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(5));
    x
}

#[test]
fn an_item_that_runs_too_long_is_ended_and_told_with_its_stage() {
    let _watch = watchdog(Duration::from_secs(120));
    let pool = Pool::builder().workers(2).build().unwrap();
    for chunk in [1, 20] {
        let mut lost = Vec::new();
        let flow = pool.flow(0..20u64).map(twice).map(sum).map(halve_of).map(hang_at_seven).chunk_size(chunk);
        let flow = flow.timeout(Duration::from_millis(300)).on_failure(|error| lost.push(error));
        assert_eq!(flow.reduce(sum).unwrap(), Some((0..20).sum::<u64>() - 7));
        assert_eq!(lost.len(), 1, "{lost:?}");
        assert_eq!((lost[0].item(), lost[0].stage(), lost[0].kind()), (Some(7), 4, ErrorKind::Timeout), "{}", lost[0]);
        assert!(lost[0].as_task_error().unwrap().is_timed_out());
    }
}

#[task]
fn halve_of(x: u64) -> u64 {
    x / 2
}

#[test]
fn a_token_ends_a_flow_over_endless_input() {
    let _watch = watchdog(Duration::from_secs(120));
    let token = CancelToken::new().unwrap();
    let pool = Pool::builder().workers(2).build().unwrap();
    let canceller = {
        let token = token.clone();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            token.cancel();
        })
    };
    let error = pool.flow(0u64..).map(nap).cancel(&token).count().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
    canceller.join().unwrap();
    assert_eq!(pool.flow(0..9u64).map(twist).count().unwrap(), 9);
    // Cancelled before it began, it is an error too, and not an empty result.
    fn refused(engine: &impl Executor, token: &CancelToken) {
        let error = engine.flow(0u64..).map(twist).cancel(token).count().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
        let error = engine.flow(0..5u64).map(twist).cancel(token).collect().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
        let error = engine.flow(0..5u64).map(twist).cancel(token).reduce(sum).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
        let streamed: Vec<_> = engine.flow(0..5u64).map(twist).cancel(token).stream().collect();
        assert!(streamed.len() == 1 && streamed[0].is_err(), "{streamed:?}");
    }
    refused(&pool, &token);
    refused(&Inline::new(), &token);
}

/// The first failure that is too much ends the flow, over endless input too.
fn stops_at_errors(engine: &impl Executor) {
    let error = engine.flow(1u64..).try_map(halve).on_error(OnError::Stop).count().unwrap_err();
    assert_eq!((error.item(), error.stage(), error.kind()), (Some(2), 1, ErrorKind::Failed));
    let mut told = 0;
    let flow = engine.flow(0u64..).map(picky).on_error(OnError::StopAfter(3)).on_failure(|_| told += 1);
    let error = flow.reduce(sum).unwrap_err();
    assert_eq!((error.item(), error.kind()), (Some(113), ErrorKind::Panicked));
    assert!(told >= 3);
    let results: Vec<_> = engine.flow(1u64..).try_map(halve).on_error(OnError::Stop).stream().collect();
    assert!(results.iter().any(Result::is_err) && results.iter().filter(|result| result.is_ok()).count() < 1_000_000);
}

#[task]
fn no_hundreds(x: u64) -> Result<u64, String> {
    if x.is_multiple_of(100) { Err(format!("{x} is round")) } else { Ok(x) }
}

/// What comes before the failure that is too much is there, and nothing of what comes after it, however large the chunks.
fn stops_to_the_item(engine: &impl Executor) {
    for chunk in [1, 7, 1_000] {
        let flow = || engine.flow(1..=5_000u64).try_map(no_hundreds).chunk_size(chunk);
        let mut results: Vec<_> = flow().on_error(OnError::Stop).stream().collect();
        let error = results.pop().unwrap().unwrap_err();
        assert_eq!((error.item(), error.text()), (Some(99), Some("100 is round")));
        assert_eq!(results.into_iter().map(Result::unwrap).collect::<Vec<_>>(), (1..100).collect::<Vec<_>>());
        let mut told = Vec::new();
        let counted = flow().on_error(OnError::StopAfter(3)).on_failure(|error| told.push(error.item())).count();
        assert_eq!(counted.unwrap_err().item(), Some(299));
        assert_eq!(told, [Some(99), Some(199), Some(299)], "chunks of {chunk}");
    }
}

#[test]
fn a_policy_ends_flows() {
    let _watch = watchdog(Duration::from_secs(120));
    stops_at_errors(&Inline::new());
    stops_to_the_item(&Inline::new());
    let pool = Pool::builder().workers(2).build().unwrap();
    stops_at_errors(&pool);
    stops_to_the_item(&pool);
}

#[task]
fn cancel_at_five((x, token): (u64, CancelToken)) -> u64 {
    if x == 5 {
        token.cancel();
    }
    assert!(x < 8 || !token.is_cancelled(), "nothing begins after the token is cancelled");
    x
}

/// Inline, everything is looked at before each item, in a chunk too: so what is told is exact.
#[test]
fn inline_flows_look_before_each_item() {
    let _watch = watchdog(Duration::from_secs(60));
    let inline = Inline::new();
    for chunk in [1, 4, 1_000] {
        let token = CancelToken::new().unwrap();
        let ran = RefCell::new(0);
        let items = (0u64..).map(|x| (x, token.clone())).inspect(|_| *ran.borrow_mut() += 1);
        let flow = inline.flow(items).map(cancel_at_five).on_failure(|error| panic!("{error}"));
        let error = flow.chunk_size(chunk).cancel(&token).count().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Cancelled, "{error}");
    }
    let pulled = RefCell::new(0);
    let items = (0u64..).inspect(|_| *pulled.borrow_mut() += 1);
    let error = inline.flow(items).map(picky).on_error(OnError::Stop).reduce(sum).unwrap_err();
    assert_eq!((error.item(), pulled.take()), (Some(13), 14));
    let lost = RefCell::new(Vec::new());
    let flow = inline.flow(0..5u64).map(long_at_two).timeout(Duration::from_millis(200));
    let values = flow.on_failure(|error| lost.borrow_mut().push((error.item(), error.kind()))).collect().unwrap();
    assert_eq!((values, lost.take()), (vec![0, 1, 3, 4], vec![(Some(2), ErrorKind::Timeout)]));
}

/// Ends when it is told that its time is up.
#[task]
fn long_at_two(x: u64) -> u64 {
    while x == 2 && !task::cancelled() {
        std::thread::sleep(Duration::from_millis(1));
    }
    x
}

#[task]
fn own_number(_: u64) -> Option<usize> {
    task::current().and_then(|run| run.item)
}

#[test]
fn stages_know_the_number_of_their_item() {
    let _watch = watchdog(Duration::from_secs(60));
    fn check(engine: &impl Executor) {
        let numbers = engine.flow(0..100u64).map(own_number).chunk_size(7).collect().unwrap();
        assert_eq!(numbers, (0..100).map(Some).collect::<Vec<_>>());
    }
    check(&Inline::new());
    check(&Pool::builder().workers(2).build().unwrap());
    assert_eq!(task::current(), None);
}

/// What came before the panic is handed out, and the panic is the caller's, as with an iterator.
#[test]
fn a_panic_of_the_input_is_the_callers() {
    let _watch = watchdog(Duration::from_secs(60));
    fn check(engine: &impl Executor) {
        let items = || (0..200u64).inspect(|x| assert!(*x != 150, "no more input"));
        let panic = |end: &dyn Fn()| {
            let payload = std::panic::catch_unwind(std::panic::AssertUnwindSafe(end)).unwrap_err();
            assert_eq!(payload.downcast_ref::<&str>(), Some(&"no more input"));
        };
        panic(&|| drop(engine.flow(items()).map(twist).collect()));
        panic(&|| drop(engine.flow(items()).map(twist).reduce(sum)));
        panic(&|| drop(engine.flow(items()).map(twist).chunks(7).map(total).count()));
        let seen = RefCell::new(0);
        panic(&|| {
            engine.flow(items()).map(twist).stream().for_each(|value| *seen.borrow_mut() += value.map_or(0, |_| 1))
        });
        assert_eq!(seen.take(), 150);
        assert_eq!(engine.flow(0..9u64).map(twist).count().unwrap(), 9);
    }
    check(&Inline::new());
    check(&Pool::builder().workers(2).build().unwrap());
}

#[task]
fn inner_flow(n: u64) -> u64 {
    let pool = Pool::builder().workers(2).build().unwrap();
    let inner = pool.flow(0..n).map(twist).reduce(sum).unwrap().unwrap_or(0);
    inner.wrapping_add(Inline::new().flow(0..n).map(twist).reduce(sum).unwrap().unwrap_or(0))
}

#[test]
fn a_stage_can_run_a_flow_itself() {
    let _watch = watchdog(Duration::from_secs(120));
    let pool = Pool::builder().workers(2).build().unwrap();
    let expected = |n: u64| (0..n).map(twist).fold(0u64, u64::wrapping_add).wrapping_mul(2);
    assert_eq!(pool.flow(0..6u64).map(inner_flow).collect().unwrap(), (0..6).map(expected).collect::<Vec<_>>());
}

#[task]
fn large(x: u64) -> Vec<u64> {
    vec![x; 300_000]
}

#[task]
fn of_each(values: Vec<u64>) -> u64 {
    values.len() as u64 + values[0]
}

#[task]
fn longer(a: Vec<u64>, b: Vec<u64>) -> Vec<u64> {
    if b.len() > a.len() || b[0] > a[0] { b } else { a }
}

#[test]
fn values_of_megabytes_pass_through_stages_and_ends() {
    let _watch = watchdog(Duration::from_secs(120));
    fn check(engine: &impl Executor) {
        let all: Vec<Vec<u64>> = engine.flow(0..8u64).map(large).collect().unwrap();
        assert!(all.iter().enumerate().all(|(x, values)| values.len() == 300_000 && values[7] == x as u64));
        assert_eq!(engine.flow(&all).map(of_each).collect().unwrap(), (300_000..300_008).collect::<Vec<_>>());
        assert_eq!(engine.flow(0..20u64).map(large).chunk_size(1).reduce(longer).unwrap().unwrap()[0], 19);
        assert_eq!(engine.flow(0..6u64).map(large).chunks(2).map(lengths).collect().unwrap(), [600_000; 3]);
    }
    check(&Inline::new());
    check(&Pool::builder().workers(2).build().unwrap());
}

#[task]
fn lengths(values: Vec<Vec<u64>>) -> usize {
    values.iter().map(Vec::len).sum()
}

#[test]
fn a_batch_is_an_engine_for_flows_with_its_options() {
    let _watch = watchdog(Duration::from_secs(60));
    let pool = Pool::builder().workers(2).build().unwrap();
    let batch = pool.batch().on_error(OnError::Stop).chunk_size(1);
    assert_eq!(batch.flow(0..100u64).map(twist).reduce(sum).unwrap(), (0..100).map(twist).reduce(sum));
    let inline = Inline::new();
    let careful = RunOptions::new().chunk_size(3).retries(2);
    assert_eq!(inline.with_options(&careful).flow(0..9u64).map(twist).count().unwrap(), 9);
}

#[test]
fn progress_is_told_to_the_end() {
    let _watch = watchdog(Duration::from_secs(60));
    let pool = Pool::builder().workers(2).build().unwrap();
    let mut told = Vec::new();
    let flow = pool.flow(0..1_000u64).map(picky).on_failure(|_| ()).on_progress(|done| told.push(done));
    assert_eq!(flow.reduce(sum).unwrap(), (0..1_000).filter(|x| x % 50 != 13).reduce(sum));
    assert!(told.is_sorted() && told.last() == Some(&1_000), "{told:?}");
}
