"""mpi4py's side of compare.py: `mpirun -n 2 python peer.py comm`, `mpirun -n 3 python -m mpi4py.futures peer.py pool`."""
import json
import statistics
import sys
import time


class Object:
    def __init__(self, length):
        self.number, self.name, self.bytes = 7, "an object", bytes(length)


def tell(what, unit, value):
    print(json.dumps({"what": what, "unit": unit, "value": value}), flush=True)


def median(rounds, call):
    times = []
    for _ in range(rounds):
        begun = time.perf_counter()
        call()
        times.append((time.perf_counter() - begun) * 1e6)
    return statistics.median(times)


def comm():
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    rank = world.Get_rank()
    other = 1 - min(rank, 1)
    for length, name, rounds in [(64, "64 B", 20_000), (1 << 20, "1 MiB", 400)]:
        # A tuple: what mpi4py sends fastest of what has three fields.
        value = (7, "an object", bytes(length))

        def objects():
            if rank == 0:
                world.send(value, other)
                world.recv(source=other)
            else:
                world.send(world.recv(source=other), other)

        buffer = bytearray(length)

        def buffers():
            if rank == 0:
                world.Send(buffer, other)
                world.Recv(buffer, source=other)
            else:
                world.Recv(buffer, source=other)
                world.Send(buffer, other)

        times = median(rounds, objects) / 2, median(rounds, buffers) / 2
        if rank == 0:
            tell(f"ping-pong {name}, objects", "us", times[0])
            tell(f"ping-pong {name}, buffers", "us", times[1])
    value = (7, "an object", bytes(16 << 20)) if rank == 0 else None
    buffer = bytearray(16 << 20)

    def objects():
        world.Barrier()
        world.bcast(value, root=0)
        world.Barrier()

    def buffers():
        world.Barrier()
        world.Bcast(buffer, root=0)
        world.Barrier()

    times = median(20, objects), median(20, buffers)
    if rank == 0:
        tell("bcast 16 MiB, objects", "us", times[0])
        tell("bcast 16 MiB, buffers", "us", times[1])


def tiny(x):
    return x + 1


def ten_micros(x):
    end = time.perf_counter() + 10e-6
    while time.perf_counter() < end:
        pass
    return x


def pool():
    from mpi4py.futures import MPIPoolExecutor

    with MPIPoolExecutor() as executor:
        for what, task, items, chunk in [
            ("tiny tasks", tiny, 10_000, 1),
            ("tiny tasks", tiny, 200_000, 100),
            ("10 us tasks", ten_micros, 10_000, 1),
            ("10 us tasks", ten_micros, 20_000, 10),
            ("10 us tasks", ten_micros, 50_000, 100),
        ]:
            list(executor.map(task, range(items // 10), chunksize=chunk))
            begun = time.perf_counter()
            list(executor.map(task, range(items), chunksize=chunk))
            tell(f"pool of {what}, chunk {chunk}", "tasks/s", items / (time.perf_counter() - begun))


if __name__ == "__main__":
    {"comm": comm, "pool": pool}[sys.argv[1]]()
