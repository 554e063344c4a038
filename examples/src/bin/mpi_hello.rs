//! Every rank says which one it is: `mpirun -n 4 mpi_hello`. (mpi4py: `COMM_WORLD.Get_rank()`, `Get_size()`.)

use offspring_mpi::Comm;

fn main() -> offspring_mpi::Result<()> {
    let comm = Comm::world()?;
    println!("hello from rank {} of {} on {}", comm.rank(), comm.size(), comm.host());
    Ok(())
}
