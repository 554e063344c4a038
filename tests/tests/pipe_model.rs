//! Random operations of several processes on pipes, compared with what a pipe is: nothing is lost, nothing comes twice, each
//! receiver sees the messages of each sender in order, and the end comes after the last of them.

use std::collections::{HashMap, HashSet};
use std::thread;
use std::time::Duration;

use offspring::pipe::{self, End, Receiver, Sender};
use offspring::{Child, ErrorKind, spawn, task};
use offspring_tests::kill::Random;
use offspring_tests::locks::{checked, until};

/// Which sender, which of its messages, and bytes that follow from both.
type Message = (u64, u64, Vec<u8>);
type Log = Vec<(u64, u64)>;

/// Lengths on both sides of what lies in the pipe itself.
fn message(sender: u64, number: u64) -> Message {
    let mut random = Random::new(sender << 32 | number);
    let len = if random.below(10) == 0 { random.below(6000) } else { random.below(100) };
    (sender, number, (0..len).map(|at| at as u8 ^ number as u8 ^ sender as u8).collect())
}

fn check(message: &Message) -> (u64, u64) {
    assert_eq!(*message, self::message(message.0, message.1));
    (message.0, message.1)
}

fn rest(random: &mut Random) {
    if random.below(200) == 0 {
        thread::sleep(Duration::from_micros(random.below(500)));
    }
}

fn some_time(random: &mut Random) -> Duration {
    Duration::from_micros(random.below(300))
}

/// Sends for a while, in all ways, by clones that come and go.
#[task]
fn send(tx: Sender<Message>, sender: u64, most: u64, seed: u64) {
    let mut random = Random::new(seed);
    let mut tx = Some(tx);
    let mut next = 0;
    while next < most {
        if random.below(20) == 0 {
            tx = tx.clone();
        }
        let message = message(sender, next);
        let end = tx.as_ref().unwrap();
        let sent = match random.below(3) {
            0 => end.send(&message),
            1 => end.try_send(&message),
            _ => end.send_timeout(&message, some_time(&mut random)),
        };
        match sent.map_err(|error| error.kind()) {
            Ok(()) => next += 1,
            Err(kind) => assert!(matches!(kind, ErrorKind::Full | ErrorKind::Timeout), "{kind:?}"),
        }
        rest(&mut random);
    }
}

/// Receives until the last sender is gone, in all ways, in two threads.
#[task]
fn receive(rx: Receiver<Message>, seed: u64) -> Vec<Log> {
    let another = rx.clone();
    let another = thread::spawn(move || receive_in_a_thread(&another, seed ^ 1));
    vec![receive_in_a_thread(&rx, seed), another.join().unwrap()]
}

fn receive_in_a_thread(rx: &Receiver<Message>, seed: u64) -> Log {
    let mut random = Random::new(seed);
    let mut log = Log::new();
    loop {
        let received = match random.below(6) {
            0 => rx.recv().map(|it| vec![check(&it)]),
            1 => rx.try_recv().map(|it| vec![check(&it)]),
            2 => rx.recv_timeout(some_time(&mut random)).map(|it| vec![check(&it)]),
            3 => rx.recv_view().map(|view| vec![check(&(view.0.to_native(), view.1.to_native(), view.2.to_vec()))]),
            4 => rx.poll(some_time(&mut random)).map(|_| Vec::new()),
            _ => rx.try_iter().take(5).map(|it| it.map(|it| check(&it))).collect(),
        };
        match received.map_err(|error| error.kind()) {
            Ok(them) => log.extend(them),
            Err(ErrorKind::Closed) => return log,
            Err(kind) => assert!(matches!(kind, ErrorKind::Empty | ErrorKind::Timeout), "{kind:?}"),
        }
        rest(&mut random);
    }
}

#[test]
fn nothing_is_lost_doubled_or_overtaken_and_the_end_comes_last() {
    const EACH: u64 = 1000;
    checked(|| {
        let mut random = Random::from_env();
        for _ in 0..5 {
            let (senders, receivers) = (1 + random.below(3), 1 + random.below(2));
            let (tx, rx) = match random.below(4) {
                0 => pipe::channel().unwrap(),
                least => pipe::bounded([1, 3, 100][least as usize - 1]).unwrap(),
            };
            let receivers: Vec<Child<Vec<Log>>> =
                (0..receivers).map(|_| spawn(receive, (&rx, random.number())).unwrap()).collect();
            let children: Vec<Child<()>> =
                (0..senders).map(|at| spawn(send, (&tx, at, EACH, random.number())).unwrap()).collect();
            drop((tx, rx));
            children.into_iter().for_each(|child| child.join().unwrap());
            let mut all = HashSet::new();
            for log in receivers.into_iter().flat_map(|child| child.join().unwrap()) {
                let mut last = HashMap::new();
                for (sender, number) in log {
                    assert!(all.insert((sender, number)), "{number} of {sender} came twice");
                    let before = last.insert(sender, number);
                    assert!(before < Some(number), "{number} of {sender} came after {before:?}");
                }
            }
            assert_eq!(all.len() as u64, senders * EACH, "messages were lost");
        }
    });
}

/// Sends `most` messages and receives as many, in whatever order comes, as the other end does.
fn talk(end: &End<Message, Message>, me: u64, most: u64, seed: u64) {
    let mut random = Random::new(seed);
    let (mut sent, mut received) = (0, 0);
    while sent < most || received < most {
        let send = sent < most && (received == most || random.below(2) == 0);
        let result = if send {
            let message = message(me, sent);
            match random.below(2) {
                0 => end.try_send(&message),
                _ => end.send_timeout(&message, some_time(&mut random)),
            }
        } else {
            let message = match random.below(4) {
                0 => end.try_recv(),
                1 => end.recv_timeout(some_time(&mut random)),
                2 => end.poll(some_time(&mut random)).and_then(|_| end.try_recv()),
                // The other one can send what is left without this end's help only if there is room.
                _ if end.poll(Duration::ZERO).unwrap() => end.recv(),
                _ => end.try_recv(),
            };
            message.map(|message| assert_eq!(check(&message), (1 - me, received)))
        };
        match result.map_err(|error| error.kind()) {
            Ok(()) if send => sent += 1,
            Ok(()) => received += 1,
            Err(kind) => assert!(matches!(kind, ErrorKind::Full | ErrorKind::Empty | ErrorKind::Timeout), "{kind:?}"),
        }
        rest(&mut random);
    }
}

#[task]
fn converse(end: End<Message, Message>, most: u64, seed: u64) {
    talk(&end, 1, most, seed);
}

#[test]
fn two_ends_of_a_duplex_pipe_see_each_others_messages_in_order_and_only_those() {
    const EACH: u64 = 1000;
    checked(|| {
        let mut random = Random::from_env();
        for round in 0..4 {
            let (mine, theirs) = match round {
                0 => pipe::duplex().unwrap(),
                _ => pipe::bounded_duplex([1, 2, 50][round - 1]).unwrap(),
            };
            let child = spawn(converse, (&theirs, EACH, random.number())).unwrap();
            drop(theirs);
            talk(&mine, 0, EACH, random.number());
            child.join().unwrap();
            assert_eq!(mine.recv().unwrap_err().kind(), ErrorKind::Closed);
            // The other half of the other end goes a moment later.
            until(|| mine.send_timeout(&message(0, 0), Duration::ZERO).is_err_and(|it| it.kind() == ErrorKind::Closed));
        }
    });
}
