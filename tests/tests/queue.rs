//! Queues between processes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use offspring::{Archived, ErrorKind, JoinableQueue, Queue, message, spawn, task, testing, wait_any};
use offspring_tests::watchdog;

#[message]
#[derive(Debug, Clone, PartialEq)]
struct Envelope {
    text: String,
    answer: Queue<String>,
}

#[task]
fn answer(questions: Queue<Envelope>) {
    for envelope in &questions {
        let Envelope { text, answer } = envelope.unwrap();
        answer.put(&format!("{text}!")).unwrap();
    }
}

#[task]
fn count_to(queue: Queue<u64>, n: u64) {
    queue.put_all(0..n).unwrap();
}

#[task]
fn add_up(queue: Queue<u64>) -> (u64, u64) {
    let (mut count, mut sum) = (0, 0);
    for number in &queue {
        count += 1;
        sum += number.unwrap();
    }
    (count, sum)
}

#[task]
fn put_later(queue: Queue<u64>, milliseconds: u64) {
    std::thread::sleep(Duration::from_millis(milliseconds));
    queue.put(&7).unwrap();
}

#[task]
fn mirror(model: Queue<Vec<u8>>, out: Queue<Vec<u8>>) {
    for bytes in &model {
        out.put(&bytes.unwrap()).unwrap();
    }
    out.close().unwrap();
}

#[test]
fn handles_travel_through_queues() {
    let _watch = watchdog(Duration::from_secs(60));
    let questions = Queue::unbounded().unwrap();
    let child = spawn(answer, &questions).unwrap();
    for number in 0..10 {
        let answer = Queue::bounded(1).unwrap();
        questions.put(&Envelope { text: number.to_string(), answer: answer.clone() }).unwrap();
        assert_eq!(answer.get().unwrap(), format!("{number}!"));
    }
    questions.close().unwrap();
    child.join().unwrap();
}

#[test]
fn a_queue_in_an_unread_message_lives_as_long_as_the_message() {
    let _watch = watchdog(Duration::from_secs(60));
    let outer: Queue<Queue<u64>> = Queue::unbounded().unwrap();
    let inner = Queue::unbounded().unwrap();
    inner.put(&7).unwrap();
    outer.put(&inner).unwrap();
    drop(inner);
    assert_eq!(outer.get().unwrap().get().unwrap(), 7);
}

#[test]
fn a_handle_of_another_family_is_refused_and_nothing_is_put() {
    let _watch = watchdog(Duration::from_secs(60));
    let other = testing::Arena::create(testing::Arena::LEN_MIN, 64 << 20).unwrap();
    let foreign: Queue<u64> = testing::queue::queue(other, 4).unwrap();
    let queue: Queue<Queue<u64>> = Queue::unbounded().unwrap();
    let error = queue.put(&foreign).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotSendable);
    assert!(error.to_string().contains("another family"), "{error}");
    assert!(queue.is_empty());
}

#[test]
fn several_producers_and_consumers_share_every_item_once() {
    let _watch = watchdog(Duration::from_secs(60));
    let queue = Queue::bounded(16).unwrap();
    let consumers: Vec<_> = (0..3).map(|_| spawn(add_up, &queue).unwrap()).collect();
    let producers: Vec<_> = (0..3).map(|_| spawn(count_to, (&queue, 5000)).unwrap()).collect();
    for producer in producers {
        producer.join().unwrap();
    }
    queue.close().unwrap();
    let sums: Vec<(u64, u64)> = consumers.into_iter().map(|consumer| consumer.join().unwrap()).collect();
    let total = sums.iter().fold((0, 0), |(count, sum), (c, s)| (count + c, sum + s));
    assert_eq!(total, (15_000, 3 * 5000 * 4999 / 2));
}

#[test]
fn full_and_empty_are_told_at_once_or_after_the_timeout() {
    let _watch = watchdog(Duration::from_secs(60));
    let queue = Queue::bounded(2).unwrap();
    assert_eq!(queue.try_get().unwrap_err().kind(), ErrorKind::Empty);
    queue.put_all([1u64, 2]).unwrap();
    assert!(queue.is_full());
    assert_eq!(queue.try_put(&3).unwrap_err().kind(), ErrorKind::Full);
    let begun = Instant::now();
    assert_eq!(queue.put_timeout(&3, Duration::from_millis(30)).unwrap_err().kind(), ErrorKind::Timeout);
    assert!(begun.elapsed() >= Duration::from_millis(30));
    assert_eq!(queue.get_many(5).unwrap(), [1, 2]);
    let begun = Instant::now();
    assert_eq!(queue.get_timeout(Duration::from_millis(30)).unwrap_err().kind(), ErrorKind::Timeout);
    assert!(begun.elapsed() >= Duration::from_millis(30));
    assert!(queue.is_empty() && queue.get_many(0).unwrap().is_empty());
}

#[test]
fn messages_of_every_size_arrive_whole() {
    let _watch = watchdog(Duration::from_secs(120));
    let (there, back) = (Queue::bounded(3).unwrap(), Queue::bounded(3).unwrap());
    let child = spawn(mirror, (&there, &back)).unwrap();
    for len in [0, 1, 7, 8, 2000, 2030, 2031, 2032, 2033, 2048, 2049, 4096, 40_000, 70_000, 1 << 20, 100 << 20] {
        let bytes: Vec<u8> = (0..len).map(|at| at as u8 ^ len as u8).collect();
        there.put(&bytes).unwrap();
        let view = back.take().unwrap();
        assert_eq!(view.len(), len);
        assert!(view[..] == bytes[..], "{len} bytes differ");
    }
    there.close().unwrap();
    child.join().unwrap();
    assert_eq!(back.get().unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn a_view_outlives_its_queue() {
    let _watch = watchdog(Duration::from_secs(60));
    let views: Vec<_> = [3, 3000]
        .into_iter()
        .map(|len| {
            let queue: Queue<Vec<String>> = Queue::unbounded().unwrap();
            queue.put(&vec!["word".to_owned(); len]).unwrap();
            queue.take().unwrap()
        })
        .collect();
    let words = |view: &Archived<Vec<String>>| view.iter().filter(|word| **word == *"word").count();
    assert_eq!(views.iter().map(|view| words(view)).collect::<Vec<_>>(), [3, 3000]);
}

#[test]
fn what_cannot_be_put_is_an_error_and_changes_nothing() {
    let _watch = watchdog(Duration::from_secs(60));
    for (capacity, text) in [(0, "from 1 to 1073741824, not 0"), (usize::MAX, "from 1 to")] {
        let error = Queue::<u64>::bounded(capacity).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(text), "{error}");
    }
    let queue: Queue<Vec<u8>> = Queue::bounded(4).unwrap();
    queue.close().unwrap();
    let error = queue.put_all([vec![1]]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert!(error.to_string().starts_with("after 0 items"), "{error}");
}

#[test]
fn closing_ends_those_who_wait() {
    let _watch = watchdog(Duration::from_secs(60));
    let queue: Queue<u64> = Queue::bounded(1).unwrap();
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let queue = queue.clone();
            std::thread::spawn(move || queue.get().unwrap_err().kind())
        })
        .collect();
    std::thread::sleep(Duration::from_millis(20));
    queue.close().unwrap();
    queue.close().unwrap();
    assert!(waiting.into_iter().all(|thread| thread.join().unwrap() == ErrorKind::Closed));
    assert!(queue.is_closed());
}

#[test]
fn wait_any_tells_which_queue_has_something() {
    let _watch = watchdog(Duration::from_secs(60));
    let (first, second) = (Queue::<u64>::unbounded().unwrap(), Queue::<u64>::unbounded().unwrap());
    assert_eq!(wait_any(&[&first, &second], Some(Duration::from_millis(10))).unwrap(), None);
    let child = spawn(put_later, (&second, 50)).unwrap();
    assert_eq!(wait_any(&[&first, &second], Some(Duration::from_secs(30))).unwrap(), Some(1));
    assert_eq!(second.try_get().unwrap(), 7);
    child.join().unwrap();
    first.close().unwrap();
    assert_eq!(wait_any(&[&second, &first], None).unwrap(), Some(1));
}

#[test]
fn task_done_is_counted() {
    let _watch = watchdog(Duration::from_secs(60));
    let jobs: JoinableQueue<u64> = JoinableQueue::bounded(10).unwrap();
    assert!(jobs.join_timeout(Duration::ZERO).unwrap());
    jobs.put_all(0..3).unwrap();
    assert!(!jobs.join_timeout(Duration::from_millis(10)).unwrap());
    assert_eq!(jobs.task_done().unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!((jobs.get().unwrap(), jobs.get().unwrap()), (0, 1));
    jobs.task_done().unwrap();
    jobs.task_done().unwrap();
    assert_eq!(jobs.task_done().unwrap_err().kind(), ErrorKind::InvalidInput);
    let job = jobs.take().unwrap();
    assert_eq!((*job, jobs.len(), jobs.unfinished()), (2.into(), 0, 1));
    drop(job);
    assert_eq!((jobs.len(), jobs.unfinished()), (1, 1));
    jobs.take().unwrap().done().unwrap();
    jobs.join().unwrap();
}

/// Random operations, compared with `VecDeque` after each.
#[test]
fn a_queue_is_a_vec_deque() {
    let _watch = watchdog(Duration::from_secs(120));
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let mut random = |below: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % below
    };
    for capacity in [1, 2, 5, 100, 1000] {
        let queue: Queue<Vec<u8>> = Queue::bounded(capacity).unwrap();
        let mut model: VecDeque<Vec<u8>> = VecDeque::new();
        for step in 0..20_000u64 {
            // Phases in which it rather fills, and rather empties.
            if random(100) < if step / 2000 % 2 == 0 { 70 } else { 30 } {
                let len = if random(20) == 0 { random(10_000) } else { random(200) };
                let item = vec![step as u8; len as usize];
                match queue.try_put(&item) {
                    Ok(()) => model.push_back(item),
                    Err(error) => assert_eq!((error.kind(), model.len()), (ErrorKind::Full, capacity)),
                }
            } else {
                match queue.try_get() {
                    Ok(item) => assert_eq!(Some(item), model.pop_front()),
                    Err(error) => assert_eq!((error.kind(), model.len()), (ErrorKind::Empty, 0)),
                }
            }
            assert_eq!((queue.len(), queue.is_full()), (model.len(), model.len() == capacity));
        }
        assert_eq!(queue.drain().map(Result::unwrap).collect::<VecDeque<_>>(), model);
    }
}
