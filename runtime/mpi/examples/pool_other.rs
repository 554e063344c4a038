//! Another program than `pool_check`, which the tests start in the same job.

fn main() -> offspring_mpi::Result<()> {
    offspring_mpi::MpiPool::new().map(drop)
}
