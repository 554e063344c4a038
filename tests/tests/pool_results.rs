//! How results come back: callbacks for batches, lazy results with deadlines, input that blocks or panics, streams.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use futures_core::Stream;
use offspring::{CancelLevel, Pool, task};
use offspring_tests::{Watchdog, watchdog};

#[task]
fn square(x: u64) -> u64 {
    x.wrapping_mul(x)
}

#[task]
fn nap(millis: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(millis));
    millis
}

#[task]
fn picky(x: u64) -> u64 {
    assert!(x % 7 != 3, "{x} is odd");
    x
}

#[task]
fn bytes(len: usize, fill: u8) -> Vec<u8> {
    vec![fill; len]
}

#[task]
fn sum(data: &[u8]) -> u64 {
    data.iter().map(|&byte| u64::from(byte)).sum()
}

fn watch() -> Watchdog {
    watchdog(Duration::from_secs(180))
}

fn pool(workers: usize) -> Pool {
    Pool::builder().workers(workers).build().unwrap()
}

#[test]
fn a_batch_hands_each_result_to_its_callback_once() {
    let _watch = watch();
    let pool = pool(3);
    let mut seen = BTreeMap::new();
    let tally = pool
        .map_with(picky, 0..1_000, |index, result| {
            assert!(seen.insert(index, result.ok()).is_none(), "{index} twice");
        })
        .unwrap();
    let expected: BTreeMap<_, _> = (0..1_000u64).map(|x| (x as usize, (x % 7 != 3).then_some(x))).collect();
    assert_eq!(seen, expected);
    assert_eq!((tally.items, tally.failed, tally.panicked), (1_000, 143, 0));
}

#[test]
fn a_callback_that_panics_is_counted_and_the_batch_goes_on() {
    let _watch = watch();
    let pool = pool(2);
    let mut sum = 0;
    let tally = pool
        .map_with(square, 0..100, |index, result| {
            assert!(index % 10 != 0, "a callback's own panic");
            sum += result.unwrap();
        })
        .unwrap();
    assert_eq!((tally.items, tally.failed, tally.panicked), (100, 0, 10));
    assert_eq!(sum, (0..100).filter(|x| x % 10 != 0).map(|x| x * x).sum::<u64>());
    assert_eq!(pool.call(square, 3).unwrap(), 9);
}

#[test]
fn a_closed_pool_refuses_a_batch_with_a_callback() {
    let _watch = watch();
    let pool = pool(1);
    pool.close();
    let error = pool.map_with(square, 0..3, |_, _| panic!("there is nothing to hear")).unwrap_err();
    assert!(error.is_pool_closed(), "{error}");
}

#[test]
fn callbacks_for_values_and_for_errors_hear_of_theirs_only() {
    let _watch = watch();
    let pool = pool(2);
    let (sender, receiver) = mpsc::channel();
    for x in [1u64, 3] {
        let handle = pool.submit(picky, x).unwrap();
        let (good, bad) = (sender.clone(), sender.clone());
        handle.on_value(move |value| good.send(format!("value {value}")).unwrap());
        handle.on_error(move |error| bad.send(format!("error {}", error.message().unwrap())).unwrap());
    }
    drop(sender);
    let mut heard: Vec<String> = receiver.into_iter().collect();
    heard.sort();
    assert_eq!(heard, ["error 3 is odd", "value 1"]);
}

#[test]
fn a_deadline_of_a_lazy_result_loses_nothing() {
    let _watch = watch();
    let pool = pool(2);
    let mut ordered = pool.imap(nap, [300u64, 1, 2]);
    let error = ordered.next_timeout(Duration::from_millis(5)).unwrap_err();
    assert!(error.is_timeout() && error.item() == Some(0), "{error}");
    for expected in [300, 1, 2] {
        assert_eq!(ordered.next_timeout(Duration::from_secs(60)).unwrap(), Some(Ok(expected)));
    }
    assert_eq!(ordered.next_timeout(Duration::ZERO).unwrap(), None);

    let mut unordered = pool.batch().chunk_size(1).imap_unordered(nap, [300u64, 1]);
    assert_eq!(unordered.next_timeout(Duration::from_secs(60)).unwrap(), Some((1, Ok(1))));
    assert!(unordered.next_timeout(Duration::from_millis(5)).unwrap_err().is_timeout());
    assert_eq!(unordered.next_timeout(Duration::from_secs(60)).unwrap(), Some((0, Ok(300))));
    assert_eq!(unordered.next_timeout(Duration::ZERO).unwrap(), None);
}

#[test]
fn lazy_results_go_on_after_failed_items() {
    let _watch = watch();
    let pool = pool(2);
    let values: Vec<u64> = pool.imap(picky, 0..200u64).filter_map(Result::ok).collect();
    assert_eq!(values, (0..200).filter(|x| x % 7 != 3).collect::<Vec<_>>());
}

/// Gives `good` items, then panics.
/// Fails without a word, so that very many of them cost little.
#[task]
fn quietly_picky(x: u64) -> u64 {
    if x % 3 == 1 {
        std::panic::resume_unwind(Box::new("odd"));
    }
    x
}

#[test]
fn a_failed_item_is_never_read_as_a_value_while_others_come_in() {
    let _watch = watch();
    let pool = pool(2);
    for round in 0..40 {
        let mut seen = 0;
        for (x, result) in (0..3000).zip(pool.batch().chunk_size(1).imap(quietly_picky, 0..3000u64)) {
            assert_eq!(result.ok(), (x % 3 != 1).then_some(x), "round {round}");
            seen += 1;
        }
        assert_eq!(seen, 3000);
        for (x, result) in pool.batch().chunk_size(1).imap_unordered(quietly_picky, 0..3000u64) {
            assert_eq!(result.ok(), (x as u64 % 3 != 1).then_some(x as u64), "round {round}");
        }
    }
}

fn breaks_after(good: u64) -> impl Iterator<Item = u64> {
    (0..).inspect(move |x| assert!(*x < good, "the input broke"))
}

fn message(panic: Box<dyn std::any::Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(other) => (*other.downcast::<&str>().unwrap()).to_owned(),
    }
}

#[test]
fn a_panic_of_the_input_reaches_the_caller_and_the_pool_goes_on() {
    let _watch = watch();
    let pool = pool(2);
    for good in [0, 1, 5, 3_000] {
        let panic = catch_unwind(AssertUnwindSafe(|| pool.map(square, breaks_after(good)))).unwrap_err();
        assert_eq!(message(panic), "the input broke");
        let panic = catch_unwind(AssertUnwindSafe(|| pool.try_map(square, breaks_after(good)))).unwrap_err();
        assert_eq!(message(panic), "the input broke");

        // What came before it is handed out first, in order.
        let mut results = pool.imap(square, breaks_after(good));
        for x in 0..good {
            assert_eq!(results.next().unwrap().unwrap(), x * x);
        }
        let panic = catch_unwind(AssertUnwindSafe(|| results.next())).unwrap_err();
        assert_eq!(message(panic), "the input broke");
        assert!(results.next().is_none());

        let mut results = pool.imap_unordered(square, breaks_after(good));
        let mut seen: Vec<usize> = (0..good).map(|_| results.next().unwrap().0).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..good as usize).collect::<Vec<_>>());
        assert!(catch_unwind(AssertUnwindSafe(|| results.next())).is_err());

        let mut results = pool.imap_ahead(square, breaks_after(good));
        assert_eq!(results.by_ref().take(good as usize).filter(|result| result.is_ok()).count(), good as usize);
        let panic = catch_unwind(AssertUnwindSafe(|| results.next())).unwrap_err();
        assert_eq!(message(panic), "the input broke");
    }
    assert_eq!(pool.map(square, 0..3).unwrap(), [0, 1, 4]);
    pool.close();
    pool.join().unwrap();
}

#[test]
fn input_read_ahead_may_wait_for_results() {
    let _watch = watch();
    let pool = pool(2);
    let (next, items) = mpsc::channel();
    next.send(3u64).unwrap();
    let mut results = pool.imap_ahead(square, items);
    for _ in 0..5 {
        let value = results.next().unwrap().unwrap();
        next.send(value).unwrap();
    }
    drop(next);
    assert_eq!(results.next().unwrap().unwrap(), 3u64.wrapping_pow(64));
    assert!(results.next().is_none());
}

#[test]
fn input_read_ahead_is_bounded_and_given_up_with_its_results() {
    let _watch = watch();
    let pool = pool(2);
    let pulled = Arc::new(AtomicUsize::new(0));
    let counted = pulled.clone();
    let endless = std::iter::from_fn(move || Some(counted.fetch_add(1, Ordering::Relaxed) as u64));
    let mut results = pool.imap_ahead(square, endless);
    for x in 0..1_000 {
        assert_eq!(results.next().unwrap().unwrap(), x * x);
    }
    // Nobody takes results any more: nothing more is read.
    std::thread::sleep(Duration::from_millis(100));
    let before = pulled.load(Ordering::Relaxed);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(pulled.load(Ordering::Relaxed), before);
    drop(results);
    pool.close();
    pool.join().unwrap();
    // The thread ends with the next item, and drops the input.
    let deadline = Instant::now() + Duration::from_secs(60);
    while Arc::strong_count(&pulled) > 1 {
        assert!(Instant::now() < deadline, "the input is still held");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_cancelled_lazy_batch_ends() {
    let _watch = watch();
    let pool = pool(2);
    let mut results = pool.batch().chunk_size(1).imap(nap, std::iter::repeat(2u64));
    assert_eq!(results.next().unwrap().unwrap(), 2);
    results.cancel_with(CancelLevel::Cooperative);
    let rest: Vec<_> = results.collect();
    assert!(rest.len() < 1_000, "{}", rest.len());
    for result in rest {
        assert!(result.as_ref().map_or_else(|error| error.is_cancelled(), |value| *value == 2), "{result:?}");
    }
    assert_eq!(pool.call(square, 2).unwrap(), 4);
}

/// The smallest executor: parks the thread until it is woken.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        std::thread::park();
    }
}

async fn next<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    std::future::poll_fn(|cx| std::pin::Pin::new(&mut *stream).poll_next(cx)).await
}

#[test]
fn lazy_results_are_streams_of_any_executor() {
    let _watch = watch();
    let pool = pool(2);
    block_on(async {
        let mut ordered = pool.imap(picky, 0..2_000u64).into_stream();
        let mut expected = 0..2_000u64;
        while let Some(result) = next(&mut ordered).await {
            let x = expected.next().unwrap();
            assert_eq!(result.ok(), (x % 7 != 3).then_some(x));
        }
        assert!(expected.next().is_none() && next(&mut ordered).await.is_none());

        let mut unordered = pool.batch().chunk_size(1).imap_unordered(nap, [150u64, 1, 70]).into_stream();
        let mut order = Vec::new();
        while let Some((_, result)) = next(&mut unordered).await {
            order.push(result.unwrap());
        }
        assert_eq!(order.len(), 3);
        assert_eq!(order.last(), Some(&150));
    });
}

#[test]
fn a_stream_over_input_that_waits_for_its_results_goes_on() {
    let _watch = watch();
    let pool = pool(2);
    let (send, items) = mpsc::channel();
    send.send(2u64).unwrap();
    block_on(async {
        let mut stream = pool.imap_ahead(square, items).into_stream();
        for _ in 0..4 {
            let value = next(&mut stream).await.unwrap().unwrap();
            send.send(value).unwrap();
        }
        drop(send);
        assert_eq!(next(&mut stream).await.unwrap().unwrap(), 2u64.pow(32));
        assert!(next(&mut stream).await.is_none());
    });
}

#[test]
fn a_stream_ends_when_its_pool_is_terminated() {
    let _watch = watch();
    let pool = pool(1);
    let mut stream = pool.imap(nap, [60_000u64]).into_stream();
    let result = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| block_on(next(&mut stream)));
        std::thread::sleep(Duration::from_millis(50));
        pool.terminate();
        waiting.join().unwrap()
    });
    assert!(result.unwrap().unwrap_err().is_pool_closed());
}

#[test]
fn results_and_inputs_may_be_large() {
    let _watch = watch();
    let pool = pool(2);
    let len = 300 << 20;
    let big = pool.call(bytes, (len, 3)).unwrap();
    assert!(big.len() == len && big.iter().all(|&byte| byte == 3));
    assert_eq!(pool.call(sum, &big).unwrap(), 3 * len as u64);
    drop(big);
    let sizes = [0usize, 1, 63, 64, 65, 4_095, 4_096, 1 << 20, (16 << 20) + 1];
    let all = pool.map(bytes, sizes.map(|len| (len, 1))).unwrap();
    assert_eq!(all.iter().map(Vec::len).collect::<Vec<_>>(), sizes);
}
