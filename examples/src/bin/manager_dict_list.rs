//! Ten children write into one dictionary, each at its pid, and append to one list: no manager is needed.
use offspring::shared::{Dict, List};
use offspring::{Failure, Process, task};

#[task]
fn note(dict: Dict<u32, u32>, list: List<u32>, i: u32) -> Result<(), Failure> {
    let pid = std::process::id();
    dict.insert(&pid, &pid)?;
    list.push(&i)?;
    Ok(())
}

fn main() -> offspring::Result<()> {
    let (dict, list) = (Dict::new()?, List::new()?);
    let children =
        (0..10).map(|i| Process::new(note, (dict.clone(), list.clone(), i)).spawn()).collect::<Result<Vec<_>, _>>()?;
    for child in children {
        child.join()??;
    }
    list.sort()?;
    println!("dict: {} entries, each its own pid: {}", dict.len(), dict.to_map()?.iter().all(|(key, pid)| key == pid));
    println!("list: {:?}", list.to_vec()?);
    Ok(())
}
