//! A child adds 1 to a shared integer and 10 to an item of a shared array, and a callback gets their sum.
use offspring::shared::{Array, Value};
use offspring::{Failure, Process, task};

fn show(sum: i64) {
    println!("Result: {sum}");
}

#[task]
fn work(var: Value<i64>, array: Array<i64>) -> Result<(), Failure> {
    var.fetch_add(1)?;
    array.lock()?[0] += 10;
    show(var.get()? + array.get(0)?);
    Ok(())
}

fn main() -> offspring::Result<()> {
    let (var, array) = (Value::new(0i64)?, Array::from_slice(&[0i64, 1, 2])?);
    Process::new(work, (var.clone(), array.clone())).spawn()?.join()??;
    println!("Var: {}", var.get()?);
    println!("Array: {:?}", array.snapshot()?);
    Ok(())
}
