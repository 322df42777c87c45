"""Work over many small programs on all cores: HiGHS lets go of Python's lock while it runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Found = TypeVar("Found")


def workers(threads: int) -> int:
    """How many threads: as asked, or one for each core that this process may use (0)."""
    return (
        threads or len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else threads or os.cpu_count() or 1
    )


def in_threads(work: Callable[[Item], Found], items: Sequence[Item], threads: int) -> Iterator[Found]:
    """``work`` of each item, in order. Each item has an engine of its own and is one thread's at a time.

    Always in threads of the pool, also where there is one: HiGHS' scheduler of a thread keeps its first number of
    threads, and the main thread's is that of the large solves.
    """
    with ThreadPoolExecutor(workers(threads)) as pool:
        yield from pool.map(work, items)
