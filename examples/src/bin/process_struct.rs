//! A type of our own with data and a `run` method, started as a process.
use offspring::{Process, message, process, task};

#[message]
struct Greeter {
    greeting: String,
}

#[task]
impl Greeter {
    fn run(self) {
        println!("{}, this is {}", self.greeting, process::current().name());
    }
}

fn main() -> offspring::Result<()> {
    let greeter = Greeter { greeting: "Hello".to_owned() };
    Process::new(Greeter::run, greeter).name("greeter").spawn()?.join()?;
    Ok(())
}
