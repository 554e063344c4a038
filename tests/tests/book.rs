//! The guide is complete: each error of the library has its entry, each name of Python its row, and whoever searches the API's pages for a
//! name of Python's finds ours.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap()
}

/// The text of all Rust files below.
fn sources(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().unwrap() != "target" {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(fs::read_to_string(path).unwrap());
        }
    }
    found
}

fn library() -> Vec<String> {
    ["macros/src", "runtime/src", "runtime/mpi/src", "runtime/nats/src"]
        .iter()
        .flat_map(|folder| sources(&repository().join(folder)))
        .collect()
}

/// The cells of a row of a Markdown table, without backticks and escapes; nothing for other lines.
fn cells(line: &str) -> Vec<String> {
    let Some(row) = line.strip_prefix("| ").and_then(|line| line.trim_end().strip_suffix('|')) else {
        return Vec::new();
    };
    row.replace("\\|", "\u{0}").split('|').map(|cell| cell.trim().replace('`', "").replace('\u{0}', "|")).collect()
}

/// Lines of a page below the heading that names this.
fn section<'a>(page: &'a str, name: &str) -> Option<Vec<&'a str>> {
    let heading = |line: &&str| line.starts_with("## ");
    let named = |line: &&str| heading(line) && line.contains(&format!("`{name}`"));
    page.lines()
        .any(|line| named(&line))
        .then(|| page.lines().skip_while(|line| !named(line)).skip(1).take_while(|line| !heading(line)).collect())
}

/// A public enum of errors: its variants, each with the literal of its `#[error(..)]`, if it has one.
fn variants(body: &str) -> Vec<(String, Option<String>)> {
    let (mut found, mut attributes) = (Vec::new(), String::new());
    for line in body.lines() {
        let text = line.trim_start();
        if line.starts_with("    ") && !line.starts_with("     ") && text.starts_with(char::is_uppercase) {
            let name: String = text.chars().take_while(char::is_ascii_alphanumeric).collect();
            let message = attributes.split_once("#[error(").and_then(|(_, rest)| literal(rest));
            found.push((name, message));
            attributes.clear();
        } else if !text.starts_with("//") {
            attributes.push_str(text);
            attributes.push('\n');
        }
    }
    found
}

/// The string literal that this text begins with, on one line.
fn literal(text: &str) -> Option<String> {
    let text = text.trim_start().strip_prefix('"')?;
    let (mut value, mut characters) = (String::new(), text.chars().peekable());
    loop {
        match characters.next()? {
            '"' => return Some(value),
            '\\' => match characters.next()? {
                '\n' => while characters.next_if(|c| c.is_whitespace()).is_some() {},
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
}

/// The longest part of a format string that is printed as it stands.
fn fixed_part(format: &str) -> String {
    let mut depth = 0;
    let parts = format.split(|c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == '{' || c == '}' || depth > 0
    });
    let part = parts.max_by_key(|part| part.len()).unwrap_or_default();
    part.replace('`', "").trim_matches(|c: char| c.is_whitespace() || ":;,()".contains(c)).to_owned()
}

#[test]
fn every_error_has_its_entry_with_cause_and_remedy() {
    let page = read("guide/src/errors.md");
    let (mut missing, mut enums, mut messages) = (Vec::new(), 0, 0);
    for source in library() {
        for (start, _) in source.match_indices("\npub enum ").chain(source.match_indices("\npub struct ")) {
            let item = &source[start + 1..];
            let name: String =
                item.split(' ').nth(2).unwrap().chars().take_while(char::is_ascii_alphanumeric).collect();
            let is_error = name == "ErrorKind" || name == "Failure" || name.ends_with("Error") && name != "OnError";
            // Those of the macros' own plumbing are no errors of a call.
            if !is_error || ["LookupError", "AnyError", "DebugError", "DisplayError", "NoError"].contains(&&*name) {
                continue;
            }
            let Some(lines) = section(&page, &name) else {
                missing.push(name);
                continue;
            };
            if item.starts_with("pub struct") {
                continue;
            }
            enums += 1;
            for (variant, message) in variants(item.split_once("\n}").unwrap().0) {
                let row = lines.iter().map(|line| cells(line)).find(|cells| cells.first() == Some(&variant));
                match row {
                    Some(cells) if cells.len() >= 3 && cells.iter().all(|cell| !cell.is_empty()) => {
                        let fixed = message.as_deref().map(fixed_part).unwrap_or_default();
                        if fixed.len() > 3 {
                            messages += 1;
                            if !cells[1].contains(&fixed) {
                                missing.push(format!("{name}::{variant}: the message `{fixed}`"));
                            }
                        }
                    }
                    _ => missing.push(format!("{name}::{variant}")),
                }
            }
        }
    }
    assert!(missing.is_empty(), "not in guide/src/errors.md, or with an empty cell: {missing:#?}");
    assert!(
        enums >= 13 && messages >= 50,
        "{enums} enums with {messages} messages: are they looked for in the right way?"
    );
}

/// `module: name ..`, without comments.
fn names(file: &str) -> BTreeMap<String, Vec<String>> {
    let lines = read(&format!("tests/tests/book/{file}"));
    let lines = lines.lines().filter(|line| !line.starts_with('#'));
    let modules = lines.map(|line| line.split_once(": ").unwrap());
    modules.map(|(module, names)| (module.to_owned(), names.split(' ').map(str::to_owned).collect())).collect()
}

/// Does the text have this as a word?
fn has_word(text: &str, word: &str) -> bool {
    let inside = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices(word)
        .any(|(at, _)| !text[..at].ends_with(inside) && !text[at + word.len()..].starts_with(inside))
}

/// How many names were looked for; each must be in the first column of some table of the page.
fn look_for(file: &str, page: &str) -> usize {
    let text = read(page);
    let rows: Vec<String> = text.lines().filter_map(|line| cells(line).into_iter().next()).collect();
    let (mut missing, mut count) = (Vec::new(), 0);
    for (module, names) in names(file) {
        for name in names {
            count += 1;
            if !rows.iter().any(|row| has_word(row, &name)) {
                missing.push(format!("{module}: {name}"));
            }
        }
    }
    assert!(missing.is_empty(), "not in the tables of {page}: {missing:#?}");
    count
}

#[test]
fn every_name_of_python_s_has_its_row() {
    assert!(look_for("python_names.txt", "guide/src/from-python.md") > 450);
}

#[test]
fn every_name_of_rayon_s_and_of_std_s_threads_has_its_row() {
    assert!(look_for("rust_names.txt", "guide/src/from-rayon.md") > 150);
}

/// Names without anything of ours to be found under: keyword arguments that are always on, and what other crates have.
const NOT_OURS: &[&str] = &[
    "BufferTooShort",
    "format",
    "InterpreterPoolExecutor",
    "ThreadPoolExecutor",
    "close_fds",
    "encoding",
    "errors",
    "process_group",
    "restore_signals",
    "start_new_session",
    "universal_newlines",
    "ITIMER_PROF",
    "ITIMER_REAL",
    "ITIMER_VIRTUAL",
    "ItimerError",
    "getitimer",
    "Wtick",
    "Wtime",
    "Bsend",
    "Ssend",
    "Mprobe",
    "Exscan",
    "Compare",
    "Create",
    "Create_from_group",
    "Dup_with_info",
    "Get_group",
    "Group",
    "Reduce_scatter",
    "Reduce_scatter_block",
    "Sendrecv_replace",
    "Call_errhandler",
    "Create_errhandler",
    "Get_errhandler",
    "Set_errhandler",
    "Exception",
    "testsome",
    "waitsome",
    "get_status",
    "LAND",
    "LOR",
    "BAND",
    "BOR",
    "MAXLOC",
    "MINLOC",
    "bootup",
    "compose",
];

#[test]
fn every_name_of_python_s_that_has_a_counterpart_finds_it_in_the_api_s_search() {
    let page = read("guide/src/from-python.md");
    let rows: Vec<Vec<String>> = page.lines().map(cells).filter(|cells| cells.len() > 1).collect();
    let mut known = BTreeSet::new();
    for source in library() {
        for rest in source.split("doc(alias = \"").skip(1) {
            let alias = rest.split('"').next().unwrap();
            known.insert(alias.to_owned());
            known.extend(alias.split('.').map(str::to_owned));
        }
        for line in source.lines() {
            let line = line.trim_start();
            let public = line.strip_prefix("pub ").map(|line| line.trim_start_matches("const "));
            // Variants of enums, and methods of traits, have no `pub`.
            let declared =
                public.or_else(|| line.starts_with(char::is_uppercase).then_some(line)).or(line.strip_prefix("fn "));
            let Some(declared) = declared else { continue };
            let words =
                declared.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty());
            known.extend(words.take(2).map(str::to_owned));
        }
    }
    let mut missing = Vec::new();
    for (module, names) in names("python_names.txt") {
        for name in names {
            let mut own = rows.iter().filter(|cells| has_word(&cells[0], &name)).peekable();
            let has_counterpart = own.peek().is_some() && own.all(|cells| !cells[1].starts_with('-'));
            if has_counterpart && !known.contains(&name) && !NOT_OURS.contains(&&*name) {
                missing.push(format!("{module}: {name}"));
            }
        }
    }
    assert!(missing.is_empty(), "no `#[doc(alias = ..)]` of that name, and nothing so called: {missing:#?}");
}

/// The files in which the public interface is, by path below `runtime/src`.
fn is_public(path: &str) -> bool {
    let folders = [
        "flow/", "journal/", "object/", "pipe/", "pool/", "process/", "queue/", "seeing/", "shared/", "sync/", "task/",
    ];
    let others = ["executor/", "error.rs", "status.rs", "view.rs"];
    let inner = ["test", "mutants", "/raw/"];
    folders.iter().chain(&others).any(|folder| path.starts_with(folder))
        && !inner.iter().any(|part| path.contains(part))
}

fn rust_files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Calls that nobody makes by name: generated code does.
const NOT_CALLED: &[&str] = &["task/program.rs: lookup", "task/state.rs: prepare"];

/// How it fails stands in its own documentation, or in that of its type for all calls; some example of its file calls it, or it is
/// told as a variant of another call.
#[test]
fn every_public_call_that_can_fail_says_how_and_is_in_an_example() {
    let root = repository().join("runtime/src");
    let (mut files, mut silent, mut unused, mut count) = (Vec::new(), Vec::new(), Vec::new(), 0);
    rust_files(&root, &mut files);
    for file in files {
        let path = file.strip_prefix(&root).unwrap().display().to_string();
        if !is_public(&path) {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        let examples = examples(&text);
        let (mut documentation, mut type_says, mut lines) = (String::new(), false, text.lines());
        while let Some(line) = lines.next() {
            let line = line.trim_start();
            if line.starts_with("///") || line.starts_with("#[") {
                documentation.push_str(line);
                documentation.push('\n');
                continue;
            }
            let says = documentation.contains("/// # Errors");
            if line.starts_with("pub struct ") {
                type_says |= says;
            } else if line.starts_with("pub fn ") && !documentation.contains("doc(hidden)") {
                let mut signature = line.to_owned();
                while !signature.contains('{') && !signature.contains(';') {
                    let Some(more) = lines.next() else { break };
                    signature.push(' ');
                    signature.push_str(more.trim());
                }
                let result = signature.split("-> ").last().unwrap_or_default();
                let can_fail = result.starts_with("Result<") || result.starts_with("crate::Result<");
                if signature.contains("-> ") && can_fail {
                    count += 1;
                    let name = line["pub fn ".len()..].split(['(', '<']).next().unwrap();
                    let call = format!("{path}: {name}");
                    if !says && !type_says {
                        silent.push(call.clone());
                    }
                    let called = [".", "::"].iter().any(|before| {
                        ["(", "::<"].iter().any(|after| examples.contains(&format!("{before}{name}{after}")))
                    });
                    let as_another = ["/// As ", "/// The same"].iter().any(|start| documentation.starts_with(start));
                    let own = documentation.contains("/// ```");
                    if !called && !as_another && !own && !NOT_CALLED.contains(&&*call) {
                        unused.push(call);
                    }
                }
            }
            documentation.clear();
        }
    }
    assert!(silent.is_empty(), "without `# Errors`: {silent:#?}");
    assert!(unused.is_empty(), "in no example of their file: {unused:#?}");
    assert!(count > 250, "{count}: are all read?");
}

/// What stands in code blocks of documentation.
fn examples(text: &str) -> String {
    let (mut found, mut inside) = (String::new(), false);
    for line in text.lines().filter_map(|line| line.trim_start().strip_prefix("///").or(line.strip_prefix("//!"))) {
        if line.trim_start().starts_with("```") {
            inside = !inside;
        } else if inside {
            found.push_str(line);
            found.push('\n');
        }
    }
    found
}
