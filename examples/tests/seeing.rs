//! The programs whose tasks write and log.

mod common;

use std::time::Duration;

use common::run::run;
use offspring_tests::watchdog;

/// The lines from the one that begins with this to the next that begins with `--`.
fn part<'l>(lines: &'l [String], heading: &str) -> &'l [String] {
    let from = lines.iter().position(|line| *line == format!("-- {heading}")).unwrap() + 1;
    let len = lines[from..].iter().position(|line| line.starts_with("-- ")).unwrap();
    &lines[from..from + len]
}

#[test]
fn task_output() {
    let _watch = watchdog(Duration::from_secs(60));
    let run = run!("task_output");
    let lines = run.lines();
    let kept: Vec<String> = [(0, 28), (1, 28), (2, 19), (3, 28)]
        .map(|(item, bytes)| format!("item Some({item}) wrote {bytes} bytes"))
        .into_iter()
        .chain(["Some(2) failed, and had written Some(\"opening broken.txt\\nthis looks \")".to_owned()])
        .collect();
    assert_eq!(part(&lines, "kept, and handed over with each result"), kept);
    // Whole lines, each with whose it is, in any order; all of them before the next batch begins.
    let mut tagged: Vec<&str> =
        part(&lines, "passed on at once").iter().map(|line| line.split_once(" check #").unwrap().1).collect();
    tagged.sort_unstable();
    let file = |item: usize, name: &str| [format!("{item}] {name} is fine"), format!("{item}] opening {name}")];
    let mut all = [file(0, "a.txt"), file(1, "b.txt"), file(3, "c.txt")].concat();
    all.insert(4, "2] opening broken.txt".to_owned());
    assert_eq!(tagged, all);
    let ordered = [
        "opening a.txt",
        "a.txt is fine",
        "opening b.txt",
        "b.txt is fine",
        "opening broken.txt",
        "opening c.txt",
        "c.txt is fine",
    ];
    assert_eq!(part(&lines, "passed on in order"), ordered);
    let errors = common::text(&run.output.stderr);
    assert!(
        errors.lines().any(|line| line.starts_with("[check-") && line.ends_with(" check #2] this looks ")),
        "{errors}"
    );
}

#[test]
fn task_logs() {
    let _watch = watchdog(Duration::from_secs(60));
    let lines = run!("task_logs").lines();
    let of_item = |item: usize| -> Vec<&str> {
        let task = format!("task=\"task_logs::parse\" item={item} tries=1}}:parsing{{");
        let of_item = lines.iter().filter(|line| line.contains(&task) && line.contains("task{worker="));
        of_item.map(|line| line.split_once("\"}: ").unwrap().1).collect()
    };
    let begun = |bytes: usize| format!("task_logs: begun bytes={bytes}");
    let closer = "task_logs: looking closer";
    assert_eq!(of_item(0), [&begun(2), closer]);
    assert_eq!(of_item(1), [&begun(1), closer, "task_logs: not a number error=invalid digit found in string"]);
    assert_eq!(of_item(2), [&begun(6), closer, "task_logs: this will not end well"]);
    assert_eq!(of_item(3), [&begun(1), closer]);
    // All of them had been handed on when the batch returned.
    assert_eq!(lines.last().unwrap().trim(), "INFO task_logs: done sum=19");
    assert_eq!(lines.len(), 11);
}
