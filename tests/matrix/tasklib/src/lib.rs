//! A library that has tasks.
use offspring::task;

#[task]
pub fn double(x: u64) -> u64 {
    2 * x
}

/// Never named by the program: only by [`double_all`].
#[task]
fn double_and_count(values: Vec<u64>) -> (Vec<u64>, usize) {
    let count = values.len();
    (values.into_iter().map(|x| 2 * x).collect(), count)
}

pub fn double_all(values: &[u64]) -> Vec<u64> {
    let (doubled, count) = offspring::spawn(double_and_count, values).unwrap().join().unwrap();
    assert_eq!(count, values.len());
    doubled
}
