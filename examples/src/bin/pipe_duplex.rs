//! A pipe with two ways: a child sends a list of mixed values, the parent answers.
use offspring::{Failure, message, pipe, task};

#[message]
#[derive(Debug)]
enum Value {
    Number(i64),
    Text(String),
    Real(f64),
    Nothing,
}

#[task]
fn ask(parent: pipe::End<Vec<Value>, String>) -> Result<(), Failure> {
    parent.send(&vec![Value::Number(42), Value::Nothing, Value::Text("hello".to_owned()), Value::Real(0.5)])?;
    println!("child: {}", parent.recv()?);
    Ok(())
}

fn main() -> offspring::Result<()> {
    let (end, other) = pipe::duplex::<Vec<Value>, String>()?;
    let child = offspring::spawn(ask, end)?;
    let values = other.recv()?;
    println!("parent: {values:?}");
    other.send(&format!("thank you for {} values", values.len()))?;
    child.join()??;
    Ok(())
}
