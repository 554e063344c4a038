//! Rank 0 sends a map of values to rank 1, waiting until that is done or not, with tags: `mpirun -n 2 mpi_send_recv`.
//! (mpi4py: `send`, `recv`, `isend`, `irecv`.)

use std::collections::BTreeMap;

use offspring_mpi::{Comm, Source, Tag};

const BLOCKING: u32 = 11;
const NON_BLOCKING: u32 = 12;

fn values() -> BTreeMap<String, f64> {
    [("a", 7.0), ("b", 2.5)].map(|(name, value)| (name.to_owned(), value)).into()
}

fn main() -> offspring_mpi::Result<()> {
    let comm = Comm::world()?;
    if comm.size() < 2 {
        println!("this needs two ranks: mpirun -n 2 mpi_send_recv");
        return Ok(());
    }
    match comm.rank() {
        0 => {
            comm.send(&values(), 1, BLOCKING)?;
            let mut sending = comm.isend(&values(), 1, NON_BLOCKING)?;
            // Here it could do something else.
            sending.wait()?;
        }
        1 => {
            let (received, status) = comm.recv::<BTreeMap<String, f64>>(0, BLOCKING)?;
            println!("rank 1 received {received:?} with tag {}: equal {}", status.tag, received == values());
            // Of any rank, with any tag.
            let request = comm.irecv::<BTreeMap<String, f64>>(Source::Any, Tag::Any)?;
            let (received, status) = request.wait()?;
            println!("rank 1 received {received:?} with tag {}: equal {}", status.tag, received == values());
        }
        _ => {}
    }
    Ok(())
}
