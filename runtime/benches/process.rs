//! Starting a process and joining it.

use criterion::{Criterion, criterion_group, criterion_main};
use offspring::{Process, StartMethod, task};

#[task]
fn add_one(x: u64) -> u64 {
    x + 1
}

fn start_and_join(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("start and join");
    for (name, method) in [("fork server", StartMethod::ForkServer), ("spawn", StartMethod::Spawn)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let child = Process::new(add_one, 7).start_method(method).spawn().expect("a child");
                child.join().expect("its value")
            });
        });
    }
    group.finish();
}

criterion_group!(benches, start_and_join);
criterion_main!(benches);
