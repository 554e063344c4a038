use shared::offspring;

#[offspring::task(crate = shared::offspring)]
fn square(x: u64) -> u64 {
    x * x
}

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("refused") => {}
        // Called too late: not even a child may touch its environment now.
        Some("late") => {
            std::thread::spawn(|| std::thread::sleep(std::time::Duration::from_secs(60)));
            offspring::init();
        }
        _ => offspring::init(),
    }
    println!("main");
    match offspring::spawn(square, 3) {
        Ok(child) => println!("{}", child.join().unwrap()),
        Err(error) => println!("{error}"),
    }
}
