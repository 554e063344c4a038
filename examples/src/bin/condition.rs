//! Three processes wait for tickets: a notification of one, then of all. A wait with a timeout comes back without.
use std::thread::sleep;
use std::time::Duration;

use offspring::sync::{Condvar, Mutex};
use offspring::{Failure, task};

#[task]
fn take_a_ticket(tickets: Mutex<u32>, more: Condvar) -> Result<(), Failure> {
    let mut tickets = more.wait_while(tickets.lock()?, |tickets| *tickets == 0)?;
    *tickets -= 1;
    println!("a ticket is taken");
    Ok(())
}

fn main() -> offspring::Result<()> {
    let (tickets, more) = (Mutex::new(0u32)?, Condvar::new()?);
    let children = [0; 3].map(|_| offspring::spawn(take_a_ticket, (&tickets, &more)));
    sleep(Duration::from_millis(200));

    println!("one ticket");
    *tickets.lock()? += 1;
    more.notify_one()?;
    sleep(Duration::from_millis(200));

    println!("two tickets");
    *tickets.lock()? += 2;
    more.notify_all()?;
    for child in children {
        child?.join()??;
    }

    let timeout = Duration::from_millis(100);
    let (_, result) = more.wait_timeout_while(tickets.lock()?, timeout, |tickets| *tickets == 0)?;
    println!("another ticket in time: {}", !result.timed_out());
    Ok(())
}
