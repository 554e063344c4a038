//! Every call of [`Comm`] with values that can be told: run by the tests under `mpirun`. Prints `ok RANK` at the end of each rank.
#![allow(clippy::print_stdout, reason = "a program")]

use offspring::message;
use offspring_mpi::{Comm, ErrorKind, Op, Result, Source, Tag};

#[message(derive(Debug))]
#[derive(Debug, Clone, PartialEq)]
struct Page {
    url: String,
    links: Vec<String>,
}

fn page(number: usize) -> Page {
    Page { url: format!("https://host/{number}"), links: (0..number * 3).map(|link| format!("link {link}")).collect() }
}

fn main() -> Result<()> {
    let comm = Comm::world()?;
    let (rank, size) = (comm.rank(), comm.size());
    let (next, before) = ((rank + 1) % size, (rank + size - 1) % size);

    // Objects, round the ring.
    let (got, status) = comm.sendrecv::<Page, Page>(&page(rank), next, 7, before, 7)?;
    assert_eq!((got, status.source, status.tag), (page(before), before, 7));
    let mut sending = comm.isend(&page(rank), next, 8)?;
    let status = comm.probe(Source::Any, 8)?;
    assert_eq!(status.source, before);
    let (view, status) = comm.recv_view::<Page>(before, Tag::Any)?;
    assert_eq!((view.url.as_str(), status.tag), (page(before).url.as_str(), 8));
    drop(view);
    sending.wait()?;
    assert_eq!(comm.try_probe(Source::Any, Tag::Any)?, None);

    // A large one, and many small ones, by requests.
    let large = vec![rank as u64; 3_000_000];
    let mut sending = comm.isend(&large, next, 9)?;
    let mut request = comm.irecv::<Vec<u64>>(before, 9)?;
    let (got, _) = loop {
        if let Some(found) = request.test()? {
            break found;
        }
    };
    assert!(got.len() == 3_000_000 && got.iter().all(|value| *value == before as u64));
    sending.wait()?;
    let mut sendings = (0..100).map(|number| comm.isend(&(rank, number), next, 10)).collect::<Result<Vec<_>>>()?;
    for number in 0..100 {
        assert_eq!(comm.recv::<(usize, i32)>(before, 10)?.0, (before, number));
    }
    sendings.iter_mut().try_for_each(|sending| sending.wait())?;

    // What does not fit is an error, and what was sent is gone.
    let mut sending = comm.isend(&"text".to_string(), next, 11)?;
    assert_eq!(comm.recv::<Page>(before, 11).unwrap_err().kind(), ErrorKind::NotSendable);
    sending.wait()?;
    assert_eq!(comm.send(&1u8, size, 0).unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(comm.send(&1u8, 0, 1 << 20).unwrap_err().kind(), ErrorKind::InvalidInput);

    // Collective calls.
    for root in 0..size {
        assert_eq!(comm.bcast((rank == root).then(|| page(root)), root)?, page(root));
        let values = (rank == root).then(|| (0..size).map(page).collect());
        assert_eq!(comm.scatter(values, root)?, page(rank));
        let all: Vec<Page> = (0..size).map(page).collect();
        assert_eq!(comm.gather(page(rank), root)?, (rank == root).then(|| all.clone()));
        // In the order of ranks, as text does not commute.
        let text: String = (0..size).map(|rank| format!("{rank},")).collect();
        let joined = comm.reduce(format!("{rank},"), |left, right| left + &right, root)?;
        assert_eq!(joined, (rank == root).then(|| text.clone()));
        assert_eq!(comm.allreduce(format!("{rank},"), |left, right| left + &right)?, text);
        let sums = comm.reduce_slice(&[rank as f64, 1.0], Op::Sum, root)?;
        let expected = [(size * (size - 1) / 2) as f64, size as f64];
        assert_eq!(sums, (rank == root).then(|| expected.to_vec()));
        let mut shared = [if rank == root { 42i32 } else { 0 }; 1000];
        comm.bcast_slice(&mut shared, root)?;
        assert_eq!(shared, [42; 1000]);
    }
    assert_eq!(comm.allgather(page(rank))?, (0..size).map(page).collect::<Vec<_>>());
    let given = (0..size).map(|to| (rank, to)).collect();
    assert_eq!(comm.alltoall(given)?, (0..size).map(|from| (from, rank)).collect::<Vec<_>>());
    let prefix: String = (0..=rank).map(|rank| format!("{rank},")).collect();
    assert_eq!(comm.scan(format!("{rank},"), |left, right| left + &right)?, prefix);
    let mut most = [rank as u64, 5];
    comm.allreduce_slice(&mut most, Op::Max)?;
    assert_eq!(most, [size as u64 - 1, 5]);

    // Slices.
    let slice: Vec<f64> = (0..1000).map(|value| (value * (rank + 1)) as f64).collect();
    let mut room = vec![0.0; 2000];
    if rank % 2 == 0 && next != rank {
        comm.send_slice(&slice, next, 12)?;
    }
    if before % 2 == 0 && next != rank {
        let (len, status) = comm.recv_slice(&mut room, Source::Any, 12)?;
        assert_eq!((len, status.source, room[999]), (1000, before, (999 * (before + 1)) as f64));
    }

    // Parts of the ranks, whose messages do not mix.
    let part = comm.split(Some((rank % 2) as u32), -(rank as i32))?.expect("a color was given");
    assert_eq!(part.size(), (size + 1 - rank % 2) / 2);
    let sum = part.allreduce(rank, |left, right| left + right)?;
    assert_eq!(sum, (0..size).filter(|other| other % 2 == rank % 2).sum());
    assert!(comm.split(None, 0)?.is_none());
    let twin = comm.dup()?;
    let mut on_twin = twin.isend(&1u8, next, 1)?;
    let mut on_comm = comm.isend(&2u8, next, 1)?;
    assert_eq!((comm.recv::<u8>(before, 1)?.0, twin.recv::<u8>(before, 1)?.0), (2, 1));
    on_twin.wait()?;
    on_comm.wait()?;
    comm.barrier()?;
    println!("ok {rank}");
    Ok(())
}
