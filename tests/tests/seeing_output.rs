//! What tasks write: kept for each, or passed on in whole lines, whoever writes it and however its worker ends.
#![allow(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is what is tested")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use offspring::{ErrorKind, Executor, OutputMode, Pool, RunOptions, TaskOutput, task};
use offspring_tests::{kill, leaks, watchdog};

const LIMIT: Duration = Duration::from_secs(120);

#[task]
fn says(item: u64) -> u64 {
    println!("out {item}");
    eprintln!("err {item}");
    item
}

#[task]
fn says_half(item: u64) -> u64 {
    if item.is_multiple_of(2) {
        print!("no end of the line in {item}");
    }
    item
}

#[task]
fn speaks_c(item: u64) -> u64 {
    // SAFETY: writes strings that end with zeros.
    unsafe {
        libc::puts(c"by puts".as_ptr());
        libc::printf(c"without an end".as_ptr());
        libc::write(2, c"by write".as_ptr().cast(), 8);
    }
    item
}

#[task]
fn runs_a_command(text: &str) {
    Command::new("sh").args(["-c", "echo \"$0\"; echo error >&2", text]).status().unwrap();
}

#[task]
fn writes_then(bytes: u64, how: &str) -> u64 {
    let line = [b'x'; 1 << 16];
    let mut out = std::io::stdout();
    out.write_all(b"the beginning\n").unwrap();
    let mut left = bytes;
    while left > 0 {
        let part = left.min(line.len() as u64);
        out.write_all(&line[..part as usize]).unwrap();
        left -= part;
    }
    out.write_all(b"\nthe end\n").unwrap();
    eprint!("in the middle of a li");
    match how {
        "dies" => {
            kill::sigkill(std::process::id() as i32).unwrap();
            std::thread::sleep(Duration::from_secs(600));
        }
        "aborts" => std::process::abort(),
        "exits" => std::process::exit(3),
        "panics" => panic!("as told"),
        "lasts" => std::thread::sleep(Duration::from_secs(600)),
        _ => {}
    }
    bytes
}

#[task]
fn closes_its_streams(item: u64) -> u64 {
    // SAFETY: closes descriptors that no handle owns.
    unsafe {
        libc::close(1);
        libc::close(2);
    }
    item
}

/// All that was told of a batch, by item.
#[derive(Default, Clone)]
struct Heard(Arc<Mutex<BTreeMap<Option<usize>, TaskOutput>>>);

impl Heard {
    fn by(&self) -> impl Fn(Option<usize>, &TaskOutput) + Send + Sync + 'static {
        let heard = self.0.clone();
        move |item, output| assert!(heard.lock().unwrap().insert(item, output.clone()).is_none(), "{item:?} twice")
    }

    fn take(&self) -> BTreeMap<Option<usize>, TaskOutput> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn capturing(workers: usize) -> Pool {
    Pool::builder().workers(workers).output(OutputMode::Capture).build().unwrap()
}

#[test]
fn each_item_of_a_batch_has_its_own_output() {
    let _watchdog = watchdog(LIMIT);
    let (pool, heard) = (capturing(3), Heard::default());
    for chunk in [1, 7, 1000] {
        let batch = pool.batch().chunk_size(chunk).on_output(heard.by());
        assert_eq!(batch.map(says, 0..300).unwrap().len(), 300);
        let heard = heard.take();
        assert_eq!(heard.len(), 300);
        for (item, output) in heard {
            let item = item.unwrap();
            assert_eq!(output.stdout_text(), format!("out {item}\n"));
            assert_eq!(output.stderr_text(), format!("err {item}\n"));
            assert_eq!(output.cut(), 0);
        }
    }
    let mut results = pool.batch().on_output(heard.by()).imap(says, 0..50);
    for item in 0..50 {
        assert_eq!(results.next(), Some(Ok(item)));
        assert_eq!(heard.take().keys().copied().collect::<Vec<_>>(), [Some(item as usize)]);
    }
    assert_eq!(pool.batch().on_output(heard.by()).imap_unordered(says, 0..50).count(), 50);
    assert_eq!(heard.take().len(), 50);
    assert_eq!(
        pool.with_options(&RunOptions::new().on_output(heard.by())).flow(0..50u64).map(says).count().unwrap(),
        50
    );
    assert_eq!(heard.take().len(), 50);
}

#[test]
fn a_line_without_an_end_is_its_item_s_and_silence_is_not_told() {
    let _watchdog = watchdog(LIMIT);
    let heard = Heard::default();
    capturing(2).batch().chunk_size(10).on_output(heard.by()).map(says_half, 0..100).unwrap();
    let heard = heard.take();
    assert_eq!(heard.len(), 50);
    for (item, output) in heard {
        assert_eq!(output.stdout_text(), format!("no end of the line in {}", item.unwrap()));
    }
}

#[test]
fn what_c_code_and_commands_write_counts_too() {
    let _watchdog = watchdog(LIMIT);
    let (pool, heard) = (capturing(2), Heard::default());
    pool.batch().chunk_size(3).on_output(heard.by()).map(speaks_c, 0..9).unwrap();
    let all = heard.take();
    assert_eq!(all.len(), 9);
    for output in all.values() {
        assert_eq!((&*output.stdout_text(), &*output.stderr_text()), ("by puts\nwithout an end", "by write"));
    }
    let texts = ["one", "two", "three"];
    pool.batch().chunk_size(3).on_output(heard.by()).map(runs_a_command, texts).unwrap();
    for (text, output) in texts.iter().zip(heard.take().values()) {
        assert_eq!((&*output.stdout_text(), &*output.stderr_text()), (&*format!("{text}\n"), "error\n"));
    }
}

#[test]
fn a_handle_has_the_output_of_its_call() {
    let _watchdog = watchdog(LIMIT);
    let pool = capturing(1);
    let mut handle = pool.submit(says, 7).unwrap();
    assert_eq!(handle.get_timeout(LIMIT), Ok(7));
    assert_eq!(handle.output().to_string(), "out 7\nerr 7\n");
    let heard = Heard::default();
    assert_eq!(pool.batch().on_output(heard.by()).call(says, 8), Ok(8));
    assert_eq!(heard.take()[&None].stdout_text(), "out 8\n");
}

#[test]
fn an_error_has_what_was_written_before_whatever_ended_the_task() {
    let _watchdog = watchdog(LIMIT);
    let pool = capturing(2);
    let hows = ["", "dies", "aborts", "exits", "panics", "lasts", "dies", ""];
    let batch = pool.batch().chunk_size(3).timeout(Duration::from_millis(900));
    let results = batch.try_map(writes_then, hows.map(|how| (100u64, how))).unwrap();
    for (result, how) in results.iter().zip(hows) {
        let Err(error) = result else {
            assert_eq!((result, how), (&Ok(100), ""));
            continue;
        };
        let output = error.output().unwrap_or_else(|| panic!("{how}: {error}"));
        assert_eq!(output.stdout_text(), format!("the beginning\n{}\nthe end\n", "x".repeat(100)), "{how}");
        assert!(output.stderr_text().starts_with("in the middle of a li"), "{how}: {output}");
    }
}

#[test]
fn a_flood_neither_blocks_nor_is_kept_and_is_counted() {
    let _watchdog = watchdog(LIMIT);
    const FLOOD: u64 = 300 << 20;
    let pool = Pool::builder().workers(1).output(OutputMode::Capture).output_limit(1000).build().unwrap();
    let mut handle = pool.submit(writes_then, (FLOOD, "")).unwrap();
    assert_eq!(handle.get_timeout(LIMIT), Ok(FLOOD));
    let output = handle.output();
    assert_eq!(output.stdout().len(), 1000);
    assert_eq!(output.cut(), FLOOD + 14 + 9 - 1000);
    let text = output.stdout_text();
    assert!(text.starts_with("the beginning\nxxx") && text.ends_with("xxx\nthe end\n"), "{text}");
    assert!(text.contains(&format!("[.. {} bytes left out ..]", output.cut())), "{text}");
    let error = pool.call(writes_then, (FLOOD / 10, "dies")).unwrap_err();
    assert!(error.output().unwrap().cut() > FLOOD / 20, "{error}");
}

#[test]
fn a_task_that_closes_its_streams_harms_nobody() {
    let _watchdog = watchdog(LIMIT);
    let pool = capturing(1);
    assert_eq!(pool.batch().chunk_size(3).map(closes_its_streams, 0..9).unwrap().len(), 9);
}

#[test]
fn a_batch_chooses_among_what_its_pool_s_workers_can() {
    let _watchdog = watchdog(LIMIT);
    let (plain, heard) = (Pool::builder().workers(1).build().unwrap(), Heard::default());
    let refused = plain.batch().output(OutputMode::Capture).map(says, 0..2).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidInput);
    assert!(plain.batch().output(OutputMode::Tagged).submit(says, 1).is_err());
    assert_eq!(plain.map(says_half, [1, 3]), Ok(vec![1, 3]));
    let pool = Pool::builder().workers(1).output(OutputMode::Tagged).build().unwrap();
    pool.batch().output(OutputMode::Capture).on_output(heard.by()).map(says, 0..2).unwrap();
    assert_eq!(heard.take().len(), 2);
    pool.batch().output(OutputMode::Inherit).on_output(heard.by()).map(says_half, 0..2).unwrap();
    assert_eq!(heard.take().len(), 0);
}

#[test]
fn workers_killed_all_the_time_leave_whole_items_and_no_strangers() {
    let _watchdog = watchdog(LIMIT);
    let (pool, heard) = (capturing(2), Heard::default());
    let items: Vec<(u64, &str)> = (0..60).map(|item| (item, if item % 3 == 0 { "dies" } else { "" })).collect();
    let results = pool.batch().chunk_size(4).on_output(heard.by()).try_map(writes_then, items.clone()).unwrap();
    let heard = heard.take();
    for (index, ((length, how), result)) in items.into_iter().zip(results).enumerate() {
        assert_eq!(result.is_err(), how == "dies");
        let expected = format!("the beginning\n{}\nthe end\n", "x".repeat(length as usize));
        assert_eq!(heard[&Some(index)].stdout_text(), expected, "{index}");
        assert_eq!(heard[&Some(index)].stderr_text(), "in the middle of a li", "{index}");
    }
}

#[test]
fn pools_with_pipes_leave_nothing() {
    let _watchdog = watchdog(LIMIT);
    let round = || {
        let pool = capturing(2);
        pool.try_map(writes_then, [(1, "dies"), (2, ""), (3, "aborts")]).unwrap();
        pool.close();
        pool.join().unwrap();
    };
    leaks::check(round, || (0..3).for_each(|_| round()));
}

/// Runs the program that prints.
fn root(mode: &str, what: &str) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_seeing_root")).args([mode, what]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    output
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn tagged_lines_are_whole_and_say_whose_they_are() {
    let _watchdog = watchdog(LIMIT);
    let output = root("tagged", "lines");
    let mut next = BTreeMap::new();
    for line in text(&output.stdout).lines() {
        let (tag, rest) = line.split_once("] ").unwrap_or_else(|| panic!("{line:?}"));
        let (worker, item) = tag.strip_prefix('[').and_then(|tag| tag.split_once(" lines #")).unwrap();
        assert!(worker.starts_with("w-"), "{line}");
        let line_of_item = next.entry(item.to_owned()).or_insert(0);
        assert_eq!(rest, format!("item {item} line {line_of_item}"));
        *line_of_item += 1;
    }
    assert_eq!((next.len(), next.values().all(|lines| *lines == 20)), (30, true));
    let errors = text(&output.stderr);
    assert_eq!(errors.lines().filter(|line| line.ends_with("says error") && line.starts_with("[w-")).count(), 30);
}

#[test]
fn what_a_batch_has_written_is_out_when_it_returns() {
    let _watchdog = watchdog(LIMIT);
    for mode in ["tagged", "ordered"] {
        let output = root(mode, "rounds");
        let lines: Vec<&str> = text(&output.stdout).lines().collect();
        let rounds: Vec<&[&str]> = lines.split_inclusive(|line| line.ends_with(" is over")).collect();
        assert_eq!(rounds.len(), 5, "{lines:#?}");
        for (number, round) in rounds.iter().enumerate() {
            let all = round.concat();
            assert!(all.ends_with(&format!("round {number} is over")), "{mode}: {round:#?}");
            assert_eq!(all.matches(" line ").count(), 120, "{mode}: {round:#?}");
            assert_eq!((all.matches("whole ").count(), all.matches("half ").count()), (3, 3), "{mode}: {round:#?}");
        }
    }
}

/// What stays on a terminal that is wide and high enough for all: no more of it is understood than bars use.
fn screen(written: &[u8]) -> Vec<String> {
    let (mut lines, mut row, mut column) = (vec![Vec::new()], 0usize, 0usize);
    let mut chars = String::from_utf8_lossy(written).into_owned().chars().collect::<Vec<_>>().into_iter().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\n' => row += 1,
            '\r' => column = 0,
            '\x1b' => {
                assert_eq!(chars.next(), Some('['));
                let mut number = String::new();
                let command = loop {
                    match chars.next() {
                        Some(digit) if digit.is_ascii_digit() || digit == ';' || digit == '?' => number.push(digit),
                        other => break other,
                    }
                };
                let count = number.parse().unwrap_or(1);
                match command {
                    Some('A') => row = row.saturating_sub(count),
                    Some('B') => row += count,
                    Some('K') if number == "2" => lines[row].clear(),
                    Some('K') => lines[row].truncate(column),
                    Some('J') => {
                        lines[row].truncate(column);
                        lines.truncate(row + 1);
                    }
                    // Colours, and whether the cursor is shown.
                    Some('m' | 'h' | 'l') => {}
                    other => panic!("what is {number}{other:?}?"),
                }
            }
            char => {
                // The terminal's width: what is written beyond is on the next line.
                if column == 200 {
                    (row, column) = (row + 1, 0);
                }
                lines.resize(lines.len().max(row + 1), Vec::new());
                let line = &mut lines[row];
                line.resize(line.len().max(column + 1), ' ');
                line[column] = char;
                column += 1;
            }
        }
        lines.resize(lines.len().max(row + 1), Vec::new());
    }
    lines.into_iter().map(|line| line.into_iter().collect::<String>().trim_end().to_owned()).collect()
}

#[test]
fn lines_of_tasks_stand_above_bars_and_never_in_them() {
    let _watchdog = watchdog(LIMIT);
    let size = nix::pty::Winsize { ws_row: 400, ws_col: 200, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = nix::pty::openpty(&size, None).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_seeing_root"))
        .args(["tagged", "bar"])
        .env("TERM", "xterm")
        .stdout(Stdio::from(pty.slave.try_clone().unwrap()))
        .stderr(Stdio::from(pty.slave))
        .spawn()
        .unwrap();
    let mut written = Vec::new();
    // Ends with an error when the last that has the other side is gone.
    let _ = std::fs::File::from(pty.master).read_to_end(&mut written);
    assert!(child.wait().unwrap().success());
    let screen = screen(&written);
    let is_tagged = |line: &&String| {
        let Some((tag, rest)) = line.split_once("] ") else { return false };
        tag.starts_with("[w-")
            && (rest.starts_with("item ") && (rest.contains(" line ") || rest.ends_with(" says error")))
    };
    let lines: Vec<&String> = screen.iter().filter(|line| !line.is_empty()).collect();
    assert_eq!(lines.iter().filter(|line| is_tagged(line)).count(), 60 * 21, "{lines:#?}");
    let mut others: Vec<&str> = lines.iter().filter(|line| !is_tagged(line)).map(|line| line.as_str()).collect();
    assert_eq!(others.pop(), Some("all over"), "{others:#?}");
    others.sort_unstable();
    // Two bars, as they were at the end; the one without a total has learnt it by then.
    let [reading, writing] = others[..] else { panic!("{others:#?}") };
    assert!(reading.starts_with("reading [") && reading.contains("] 40/40 "), "{reading}");
    assert!(writing.starts_with("writing [") && writing.contains("] 20/20 "), "{writing}");
    let written = String::from_utf8_lossy(&written);
    let is_spinner = |char: char| ('\u{2800}'..'\u{2900}').contains(&char);
    assert!(written.split("reading ").any(|rest| rest.starts_with(is_spinner)), "{written:?}");
}

#[test]
fn ordered_output_comes_in_the_order_of_the_results() {
    let _watchdog = watchdog(LIMIT);
    let lines = |item: usize| (0..20).map(move |line| format!("item {item} line {line}\n")).collect::<String>();
    let output = root("ordered", "lines");
    assert_eq!(text(&output.stdout), (0..30).map(lines).collect::<String>());
    assert_eq!(text(&output.stderr), (0..30).map(|item| format!("item {item} says error\n")).collect::<String>());
    let output = root("ordered", "imap");
    let expected: String = (0..12).map(|item| lines(item) + &format!("result {item}\n")).collect();
    assert_eq!(text(&output.stdout), expected);
}

#[test]
fn a_kill_in_the_middle_of_a_line_costs_no_other_line() {
    let _watchdog = watchdog(LIMIT);
    let output = root("ordered", "kill");
    assert_eq!(text(&output.stdout), "whole 0\nhalf 0whole 1\nhalf 1whole 2\nhalf 2");
    let output = root("tagged", "kill");
    let mut lines: Vec<&str> =
        text(&output.stdout).lines().filter_map(|line| line.split_once("] ")).map(|it| it.1).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["half 0", "half 1", "half 2", "whole 0", "whole 1", "whole 2"]);
}

#[test]
fn a_caller_that_holds_the_stream_does_not_stop_the_tasks() {
    let _watchdog = watchdog(LIMIT);
    assert_eq!(text(&root("tagged", "locked").stdout).lines().count(), 4000);
    assert_eq!(text(&root("ordered", "locked").stdout).lines().count(), 4000);
}
