"""Runs blocks of points on an executor: threads here, processes here, or a cluster; results come back in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from models.case import Floats
from models.problems import CaseError, Problem
from optimizer.point_solving import Block, Job, Solver, solve_packed
from optimizer.points import Points

LONGEST = 256  # points in one block
WORTH = 20  # rebuilt points for each process that make starting it worth while
Say = Callable[[str], None]
Begin = Callable[[int, int], Callable[[int], None]]  # (points done, of how many) -> what counts further points


def silent(_: str) -> None:
    """Say nothing."""


def no_progress(done: int, total: int) -> Callable[[int], None]:
    """Show nothing."""
    return lambda count: None


@dataclass(frozen=True)
class Crew:
    """Who solves: an executor, what it is given for a block of points, and how many blocks run at once.

    ``block_seconds``: how long a block should take; a cluster is asked for longer ones, since each travels.
    """

    executor: Executor
    solve: Callable[[Floats], Block]
    workers: int
    block_seconds: float = 0.25
    where: str = "threads"


def cores(threads: int) -> int:
    """How many at once: as asked, or one for each core that this process may use (0)."""
    if threads:
        return threads
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def crew(job: Job, solver: Solver, points: int, cluster: str | None, threads: int) -> Iterator[Crew]:
    """Those who solve the points: a cluster where one is named, processes where every point is built anew in
    Python, else threads around warm engines, which HiGHS lets run side by side.
    """
    count = min(cores(threads), max(1, points))
    if cluster is not None:
        with _cluster(cluster) as (executor, workers):
            yield Crew(executor, partial(solve_packed, job.packed()), workers, 2.0, "cluster")
    elif solver.what_if.rebuilds and count > 1 and points >= WORTH * count:
        from multiprocessing import get_context

        with _stopping(ProcessPoolExecutor(count, mp_context=get_context("spawn"))) as executor:
            yield Crew(executor, partial(solve_packed, job.packed()), count, where="processes")
    else:
        with _stopping(ThreadPoolExecutor(count, thread_name_prefix="points")) as executor:
            yield Crew(executor, solver.solve, count)


@contextmanager
def _stopping(executor: Executor) -> Iterator[Executor]:
    """An executor whose waiting work is dropped where its user fails or stops."""
    try:
        yield executor
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _cluster(address: str) -> Iterator[tuple[Executor, int]]:
    """The executor of a Dask cluster and how many tasks it runs at once."""
    try:
        from distributed import Client
    except ImportError as error:
        message = "needs Dask: pip install 'oremix[cluster]'"
        raise CaseError([Problem("--cluster", message, value=address)]) from error
    try:
        client: Any = cast("Any", Client)(address, timeout=10, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        message = f"no Dask scheduler answers there ({error}): as in tcp://host:8786"
        raise CaseError([Problem("--cluster", message, value=address)]) from error
    try:
        workers = sum(client.nthreads().values())
        if not workers:
            raise CaseError([Problem("--cluster", "the scheduler has no workers yet", value=address)])
        yield client.get_executor(pure=False), workers
    finally:
        client.close()


def solve_points(points: Points, start: int, stop: int, crew: Crew, take: Callable[[int, Floats, Block], None]) -> None:
    """Solve points ``start`` to ``stop`` and hand each block over in their order: first number, values, results.

    At most four blocks for each worker are on their way, so that memory does not grow with the number of points.
    """
    waiting: deque[tuple[int, Floats, Future[Block]]] = deque()
    following, size = start, 1
    while waiting or following < stop:
        while following < stop and len(waiting) < 4 * crew.workers:
            # the last points are shared out, so that no worker is left alone with a long block
            fair = max(1, (stop - following) // (2 * crew.workers))
            until = min(stop, following + min(size, fair))
            values = points.rows(following, until)
            waiting.append((following, values, crew.executor.submit(crew.solve, values)))
            following = until
        number, values, future = waiting.popleft()
        block = future.result()
        take(number, values, block)
        each = block.seconds / max(1, len(values))
        size = max(1, min(LONGEST, int(crew.block_seconds / max(each, 1e-9))))
