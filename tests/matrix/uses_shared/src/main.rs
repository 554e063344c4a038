use shared::offspring;

#[offspring::task(crate = shared::offspring)]
fn square(x: u64) -> u64 {
    x * x
}

fn main() {
    let refused = std::env::args().nth(1).as_deref() == Some("refused");
    if !refused {
        offspring::init();
    }
    println!("main");
    match offspring::spawn(square, 3) {
        Ok(child) => println!("{}", child.join().unwrap()),
        Err(error) => println!("{error}"),
    }
}
