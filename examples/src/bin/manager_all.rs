//! Each type that Python's manager offers, used by two children: here they are plain values, and there is no manager.
use std::time::Duration;

use offspring::shared::{Array, Dict, List, Namespace, Value};
use offspring::sync::{Barrier, BoundedSemaphore, Condvar, Event, Mutex, ReentrantMutex, Semaphore};
use offspring::{Failure, Process, Queue, message, task};

#[message]
#[derive(Clone)]
struct All {
    list: List<u64>,
    dict: Dict<u64, u64>,
    namespace: Namespace,
    lock: Mutex<u64>,
    rlock: ReentrantMutex,
    locked: Value<u64>,
    semaphore: Semaphore,
    admitted: Value<u64>,
    bounded: BoundedSemaphore,
    met: Mutex<u64>,
    condition: Condvar,
    event: Event,
    saw: Value<u64>,
    barrier: Barrier,
    leaders: Value<u64>,
    queue: Queue<u64>,
    value: Value<u64>,
    array: Array<u64>,
}

impl All {
    fn new() -> offspring::Result<All> {
        Ok(All {
            list: List::new()?,
            dict: Dict::new()?,
            namespace: Namespace::new()?,
            lock: Mutex::new(0)?,
            rlock: ReentrantMutex::new()?,
            locked: Value::new(0)?,
            semaphore: Semaphore::new(1)?,
            admitted: Value::new(0)?,
            bounded: BoundedSemaphore::new(1)?,
            met: Mutex::new(0)?,
            condition: Condvar::new()?,
            event: Event::new()?,
            saw: Value::new(0)?,
            barrier: Barrier::new(2)?,
            leaders: Value::new(0)?,
            queue: Queue::bounded(2)?,
            value: Value::new(0)?,
            array: Array::zeroed(2)?,
        })
    }
}

#[task]
fn work(all: All, i: u64) -> Result<(), Failure> {
    all.list.push(&i)?;
    all.dict.insert(&i, &i)?;
    all.namespace.update("x", |x: u64| x + 1)?;
    *all.lock.lock()? += 1;
    {
        let _outer = all.rlock.lock()?;
        let _inner = all.rlock.lock()?;
        // Nobody else is between these two.
        let before = all.locked.get()?;
        all.locked.set(&(before + 2))?;
    }
    {
        let _permit = all.semaphore.acquire()?;
        all.admitted.fetch_add(1)?;
    }
    drop(all.bounded.acquire()?);
    {
        let mut met = all.met.lock()?;
        *met += 1;
        all.condition.notify_all()?;
        drop(all.condition.wait_while(met, |met| *met < 2)?);
    }
    if all.event.wait_timeout(Duration::from_secs(30))? {
        all.saw.fetch_add(1)?;
    }
    if all.barrier.wait()?.is_leader() {
        all.leaders.fetch_add(1)?;
    }
    all.queue.put(&i)?;
    all.value.fetch_add(1)?;
    all.array.set(i as usize, &(10 + i))?;
    Ok(())
}

fn main() -> offspring::Result<()> {
    let all = All::new()?;
    all.namespace.set("x", &0u64)?;
    let children = (0..2).map(|i| Process::new(work, (all.clone(), i)).spawn()).collect::<Result<Vec<_>, _>>()?;
    all.event.set()?;
    for child in children {
        child.join()??;
    }
    all.list.sort()?;
    println!("List: {:?}", all.list.to_vec()?);
    let mut pairs: Vec<(u64, u64)> = all.dict.iter().collect::<Result<_, _>>()?;
    pairs.sort();
    println!("Dict: {:?}", pairs.into_iter().collect::<std::collections::BTreeMap<_, _>>());
    println!("Namespace: x = {}", all.namespace.get::<u64>("x")?.unwrap_or_default());
    println!("Lock: {}", *all.lock.lock()?);
    println!("RLock: {}", all.locked.get()?);
    println!("Semaphore: {}", all.admitted.get()?);
    let refused = all.bounded.release(1).is_err();
    println!("BoundedSemaphore: one release too many is {}", if refused { "refused" } else { "allowed" });
    println!("Condition: {} met", *all.met.lock()?);
    println!("Event: {} saw it", all.saw.get()?);
    println!("Barrier: {} leader", all.leaders.get()?);
    let mut items = [all.queue.get()?, all.queue.get()?];
    items.sort_unstable();
    println!("Queue: {items:?}");
    println!("Value: {}", all.value.get()?);
    println!("Array: {:?}", all.array.snapshot()?);
    Ok(())
}
