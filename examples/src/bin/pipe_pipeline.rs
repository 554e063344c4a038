//! Numbers go down one pipe, their squares down another, until the first process closes its end.
use offspring::pipe::{self, Receiver, Sender};
use offspring::{Failure, task};

#[task]
fn numbers(out: Sender<u64>) -> Result<(), Failure> {
    for number in 0..10 {
        out.send(&number)?;
    }
    Ok(())
}

#[task]
fn squares(numbers: Receiver<u64>, out: Sender<u64>) -> Result<(), Failure> {
    for number in &numbers {
        let number = number?;
        out.send(&(number * number))?;
    }
    Ok(())
}

fn main() -> offspring::Result<()> {
    let (out, into) = pipe::channel()?;
    let (squares_out, results) = pipe::channel()?;
    let first = offspring::spawn(numbers, out)?;
    let second = offspring::spawn(squares, (into, squares_out))?;
    for result in &results {
        println!("{}", result?);
    }
    println!("End");
    first.join()??;
    second.join()??;
    Ok(())
}
