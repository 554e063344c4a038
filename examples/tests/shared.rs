//! The programs about shared data, run as processes: what they print, and what they leave in files.

mod common;

use std::process::Command;
use std::time::Duration;

use common::run::run;
use offspring_tests::watchdog;

#[test]
fn shared_value_array() {
    let _watch = watchdog(Duration::from_secs(60));
    assert_eq!(run!("shared_value_array").lines(), ["Result: 11", "Var: 1", "Array: [10, 1, 2]"]);
}

#[test]
fn manager_dict_list() {
    let _watch = watchdog(Duration::from_secs(60));
    let expected = ["dict: 10 entries, each its own pid: true", "list: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]"];
    assert_eq!(run!("manager_dict_list").lines(), expected);
}

#[test]
fn manager_all() {
    let _watch = watchdog(Duration::from_secs(60));
    let expected = [
        "List: [0, 1]",
        "Dict: {0: 0, 1: 1}",
        "Namespace: x = 2",
        "Lock: 2",
        "RLock: 4",
        "Semaphore: 2",
        "BoundedSemaphore: one release too many is refused",
        "Condition: 2 met",
        "Event: 2 saw it",
        "Barrier: 1 leader",
        "Queue: [0, 1]",
        "Value: 2",
        "Array: [10, 11]",
    ];
    assert_eq!(run!("manager_all").lines(), expected);
}

/// The picture is symmetric about the real axis, black inside the set and light far away, and is the same whoever draws it.
#[test]
fn mandelbrot_is_drawn_by_several_workers_into_one_array() {
    let _watch = watchdog(Duration::from_secs(120));
    let dir = tempfile::tempdir().unwrap();
    let draw = |workers: &str| {
        let path = dir.path().join(format!("{workers}.png"));
        let output = Command::new(env!("CARGO_BIN_EXE_mandelbrot"))
            .args(["--width", "300", "--workers", workers, "--output"])
            .arg(&path)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let mut reader =
            png::Decoder::new(std::io::BufReader::new(std::fs::File::open(path).unwrap())).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((info.width, info.height), (300, 200));
        (String::from_utf8(output.stdout).unwrap(), pixels)
    };
    let (said, pixels) = draw("3");
    assert_eq!((said.clone(), pixels.clone()), draw("1"));
    let pixel = |column: usize, row: usize| pixels[row * 300 + column];
    assert_eq!((pixel(220, 100), pixel(0, 0) > 200), (0, true));
    assert!((0..300).all(|column| pixel(column, 60) == pixel(column, 140)));
    let inside = pixels.iter().filter(|pixel| **pixel == 0).count();
    assert_eq!(said, format!("{inside} of 60000 pixels are in the set\n"));
}
