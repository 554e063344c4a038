//! Calls that all ranks make together: `mpirun -n 4 mpi_collectives`. (mpi4py: `bcast`, `scatter`, `gather`, ...)

use offspring_mpi::Comm;

fn main() -> offspring_mpi::Result<()> {
    let comm = Comm::world()?;
    let (rank, size) = (comm.rank(), comm.size());
    let is_root = rank == 0;

    let text = comm.bcast(is_root.then(|| "from the root".to_owned()), 0)?;
    assert_eq!(text, "from the root");

    let mine = comm.scatter(is_root.then(|| (0..size).map(|rank| rank * rank).collect()), 0)?;
    assert_eq!(mine, rank * rank);

    let gathered = comm.gather(mine + 1, 0)?;
    if let Some(gathered) = gathered {
        println!("gathered: {gathered:?}");
    }

    let all = comm.allgather(format!("r{rank}"))?;
    assert_eq!(all, (0..size).map(|rank| format!("r{rank}")).collect::<Vec<_>>());

    let sum = comm.reduce(rank as u64 + 1, |a, b| a + b, 0)?;
    if let Some(sum) = sum {
        println!("sum of 1 to {size}: {sum}");
    }

    let largest = comm.allreduce(rank, |a, b| a.max(b))?;
    assert_eq!(largest, size - 1);

    comm.barrier()?;
    println!("rank {rank} passed the barrier");
    Ok(())
}
