//! Pipes between processes.

use std::time::Duration;

use offspring::{ErrorKind, message, pipe, spawn, task, wait_any};
use offspring_tests::watchdog;

#[message]
#[derive(Debug, Clone, PartialEq)]
enum Mixed {
    Number(i64),
    Text(String),
    Many(Vec<f64>),
    Nothing,
}

#[task]
fn send_numbers(tx: pipe::Sender<u64>, n: u64) {
    for number in 0..n {
        tx.send(&number).unwrap();
    }
}

#[task]
fn square_all(rx: pipe::Receiver<u64>, tx: pipe::Sender<u64>) {
    for number in &rx {
        let number = number.unwrap();
        tx.send(&(number * number)).unwrap();
    }
}

#[task]
fn mixed(end: pipe::End<Vec<Mixed>, usize>) -> usize {
    end.send(&vec![Mixed::Number(-7), Mixed::Text("a".into()), Mixed::Many(vec![0.5; 3]), Mixed::Nothing]).unwrap();
    end.recv().unwrap()
}

#[task]
fn send_and_die(tx: pipe::Sender<u64>) {
    tx.send(&1).unwrap();
    offspring::Signal::KILL.raise();
}

#[task]
fn receive_and_die(rx: pipe::Receiver<u64>) {
    rx.recv().unwrap();
    offspring::Signal::KILL.raise();
}

#[test]
fn a_pipeline_ends_with_its_first_sender() {
    let _watch = watchdog(Duration::from_secs(60));
    let (first, second) = (pipe::channel().unwrap(), pipe::channel().unwrap());
    let one = spawn(send_numbers, (&first.0, 10)).unwrap();
    let two = spawn(square_all, (&first.1, &second.0)).unwrap();
    drop((first, second.0));
    one.join().unwrap();
    two.join().unwrap();
    let squares: Vec<u64> = second.1.iter().map(Result::unwrap).collect();
    assert_eq!(squares, (0..10).map(|number| number * number).collect::<Vec<u64>>());
}

#[test]
fn both_ways_of_a_duplex_pipe_carry_their_own_type() {
    let _watch = watchdog(Duration::from_secs(60));
    let (mine, theirs) = pipe::duplex::<usize, Vec<Mixed>>().unwrap();
    let child = spawn(mixed, &theirs).unwrap();
    let list = mine.recv().unwrap();
    assert_eq!(list.len(), 4);
    assert_eq!(list[1], Mixed::Text("a".into()));
    mine.send(&list.len()).unwrap();
    assert_eq!(child.join().unwrap(), 4);
    assert!(!mine.poll(Duration::ZERO).unwrap());
}

#[test]
fn a_receiver_gets_what_was_sent_before_its_last_sender_died_and_then_the_end() {
    let _watch = watchdog(Duration::from_secs(60));
    for _ in 0..10 {
        let (tx, rx) = pipe::channel::<u64>().unwrap();
        let mut child = spawn(send_and_die, &tx).unwrap();
        drop(tx);
        assert_eq!(rx.recv().unwrap(), 1);
        child.wait().unwrap();
        drop(child);
        assert_eq!(rx.recv().unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(rx.try_recv().unwrap_err().kind(), ErrorKind::Closed);
        assert!(rx.poll(Duration::ZERO).unwrap());
    }
}

#[test]
fn sending_to_a_dead_receiver_is_an_error() {
    let _watch = watchdog(Duration::from_secs(60));
    let (tx, rx) = pipe::bounded::<u64>(1).unwrap();
    let mut child = spawn(receive_and_die, &rx).unwrap();
    drop(rx);
    tx.send(&1).unwrap();
    child.wait().unwrap();
    drop(child);
    // What it referred to is given back by its audit, which may still be under way.
    while !tx.is_closed() {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(tx.send(&2).unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn a_sender_that_waits_for_room_is_told_when_the_last_receiver_goes() {
    let _watch = watchdog(Duration::from_secs(60));
    let (tx, rx) = pipe::bounded::<u64>(1).unwrap();
    tx.send(&1).unwrap();
    assert_eq!(tx.send_timeout(&2, Duration::from_millis(10)).unwrap_err().kind(), ErrorKind::Timeout);
    let waiting = std::thread::spawn(move || tx.send(&2).unwrap_err().kind());
    std::thread::sleep(Duration::from_millis(20));
    drop(rx);
    assert_eq!(waiting.join().unwrap(), ErrorKind::Closed);
}

#[test]
fn wait_any_tells_the_end_of_a_pipe() {
    let _watch = watchdog(Duration::from_secs(60));
    let ((tx, rx), (_other, silent)) = (pipe::channel::<u64>().unwrap(), pipe::channel::<u64>().unwrap());
    let child = spawn(send_numbers, (&tx, 1)).unwrap();
    assert_eq!(wait_any(&[&silent, &rx], Some(Duration::from_secs(30))).unwrap(), Some(1));
    assert_eq!(rx.recv().unwrap(), 0);
    child.join().unwrap();
    drop(tx);
    assert_eq!(wait_any(&[&silent, &rx], Some(Duration::from_secs(30))).unwrap(), Some(1));
    assert_eq!(rx.recv().unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn ends_can_be_sent_through_pipes() {
    let _watch = watchdog(Duration::from_secs(60));
    let (tx, rx) = pipe::channel::<pipe::Sender<String>>().unwrap();
    let (answer, answers) = pipe::channel().unwrap();
    tx.send(&answer).unwrap();
    drop(answer);
    rx.recv().unwrap().send(&"here".to_owned()).unwrap();
    assert_eq!(answers.recv().unwrap(), "here");
    assert_eq!(answers.recv().unwrap_err().kind(), ErrorKind::Closed);
}
