//! A parser with the faults that parsers of foreign files have. It stands for a C library that one has to use.
//!
//! A file is a list of records, one a line: a text, how often it counts, and the number of the record that comes next, -1 at the end. The
//! parser follows the records and trusts the numbers: one outside of the file makes it read what is not its own, a circle keeps it busy for
//! ever, and a large count takes all the memory there is.

use std::num::ParseIntError;

struct Record<'a> {
    text: &'a str,
    count: usize,
    next: isize,
}

/// All texts, in the order of the records.
pub fn parse(file: &str) -> Result<String, ParseIntError> {
    let records = file.lines().map(record).collect::<Result<Vec<_>, _>>()?;
    let mut all = String::new();
    let mut next = 0;
    while next >= 0 {
        let Record { text, count, next: after } = unchecked(&records, next);
        all.push_str(&text.repeat(*count));
        next = *after;
    }
    Ok(all)
}

fn record(line: &str) -> Result<Record<'_>, ParseIntError> {
    let mut fields = line.split(' ');
    let text = fields.next().unwrap_or_default();
    let mut number = || fields.next().unwrap_or_default().parse::<isize>();
    Ok(Record { text, count: number()?.unsigned_abs(), next: number()? })
}

#[allow(unsafe_code)]
fn unchecked<'a, 'b>(records: &'b [Record<'a>], index: isize) -> &'b Record<'a> {
    // SAFETY: none, which is the point: this is the fault of the parser that it stands for.
    unsafe { &*records.as_ptr().wrapping_offset(index) }
}
