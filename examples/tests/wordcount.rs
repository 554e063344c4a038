//! `wordcount` against GNU `tr`, `sort` and `uniq`.

mod common;

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use common::{Tree, shell_reading, text};
use offspring_tests::kill::Random;
use offspring_tests::watchdog;

const EXPECTED: &str = r"tr -cs '[:alpha:]' '\n' | tr '[:upper:]' '[:lower:]' | grep . | sort | uniq -c |
    sort -k1,1nr -k2,2 | head -n 20";

fn wordcount(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wordcount")).args(arguments).current_dir(dir).output().unwrap()
}

/// The pipeline over these texts, each of which ends its last word.
fn expected(texts: &[&[u8]]) -> String {
    text(&shell_reading(Path::new("."), EXPECTED, &texts.join(&b'\n')).stdout)
}

/// About `bytes` of words, some much more frequent than others, with upper case, digits and characters of all lengths.
fn prose(random: &mut Random, bytes: usize) -> String {
    let between = [" ", "\n", ", ", "-", "é", " 日本 ", "😀", "7", "\t"];
    let endings = ["", "ing", "ED", "Tion"];
    let mut text = String::new();
    while text.len() < bytes {
        let bound = random.below(300) + 1;
        let rank = random.below(bound) as usize;
        let letter = char::from(b'a' + (rank % 26) as u8);
        text.extend([letter].repeat(1 + rank / 104));
        text.push_str(endings[rank / 26 % 4]);
        text.push_str(between[random.below(between.len() as u64) as usize]);
    }
    text
}

#[test]
fn counts_what_the_pipeline_counts() {
    let _watch = watchdog(Duration::from_secs(60));
    let mut random = Random::from_env();
    let tree = Tree::new();
    let mut texts = Vec::new();
    for i in 0..300 {
        let text = prose(&mut random, i * 20);
        tree.add(format!("{}/{i}", i % 5), &text);
        texts.push(text);
    }
    tree.add("binary", b"the the the the \xff the the");
    tree.add("latin1", b"stra\xdfe stra\xdfe");
    tree.add("empty", "");
    let texts: Vec<&[u8]> = texts.iter().map(String::as_bytes).collect();
    let ours = wordcount(tree.path(), &["."]);
    assert_eq!(text(&ours.stdout), expected(&texts));
    assert!(ours.status.success() && ours.stderr.is_empty(), "{}", text(&ours.stderr));
}

#[test]
fn a_large_file_is_counted_like_a_small_one() {
    let _watch = watchdog(Duration::from_secs(120));
    let mut random = Random::from_env();
    let tree = Tree::new();
    // Words and characters that lie across every border between pieces of whole MiB.
    let mut large = String::new();
    for mib in 1..=17 {
        let rest = (mib << 20) - large.len() - 12;
        large += &prose(&mut random, rest);
        let excess = large.len() - ((mib << 20) - 12);
        let keep = (0..=large.len() - excess).rev().find(|&at| large.is_char_boundary(at)).unwrap();
        large.truncate(keep);
        large += if mib % 2 == 0 { " over-the-border-crossing " } else { "and 日本日本日本日本" };
    }
    tree.add("large", &large);
    tree.add("small", "One small file");
    let mut invalid = large.clone().into_bytes();
    let end = invalid.len();
    invalid[end - 1] = 0xe9;
    tree.add("invalid at its end", invalid);
    let ours = wordcount(tree.path(), &["."]);
    assert_eq!(text(&ours.stdout), expected(&[large.as_bytes(), b"One small file"]));
    assert!(ours.status.success(), "{}", text(&ours.stderr));
}

#[test]
fn odd_names_are_read_and_links_are_not() {
    let _watch = watchdog(Duration::from_secs(60));
    let tree = Tree::new();
    tree.add_oddities();
    let ours = wordcount(tree.path(), &[".", "--workers", "3"]);
    // Of 17 files, 16 say hello twice.
    assert!(text(&ours.stdout).starts_with("     32 hello\n     16 end\n"), "{}", text(&ours.stdout));
    assert!(ours.status.success(), "{}", text(&ours.stderr));
}

#[test]
fn unreadable_files_are_told_at_the_end_and_all_others_counted() {
    let _watch = watchdog(Duration::from_secs(60));
    let tree = Tree::new();
    tree.add("file", "some words, some not");
    let ours = wordcount(tree.path(), &["/proc/self/mem", "missing", "file"]);
    assert_eq!(text(&ours.stdout), "      2 some\n      1 not\n      1 words\n");
    assert_eq!(ours.status.code(), Some(1));
    let told = text(&ours.stderr);
    assert!(told.contains("wordcount: missing: ") && told.contains("wordcount: /proc/self/mem: "), "{told}");
}

#[test]
fn nothing_to_count_prints_nothing() {
    let _watch = watchdog(Duration::from_secs(20));
    let tree = Tree::new();
    tree.add("numbers", "1 2 3");
    let ours = wordcount(tree.path(), &["."]);
    assert!(ours.status.success() && ours.stdout.is_empty());
}
