"""Processes that open heartbeats for the service, and a calmer garbage collector."""

import gc
import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor

YOUNG_OBJECTS = 20_000
"""Objects made before the collector looks at the youngest. Statements hold no cycles, so what it
finds is little; Python's 700 makes it look several times in every batch."""


def calm_collector() -> None:
    """Look for garbage seldom, and never among what was loaded until now."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 20)


def worker_pool(count: int) -> ProcessPoolExecutor:
    """A pool of ``count`` processes that check signatures."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(count, context, initializer=_prepare_worker)


def _prepare_worker() -> None:
    """A worker ends with its pool: not by the terminal's Ctrl-C, but when its parent is gone.

    A pool's workers hold both ends of their queue, so they would wait for ever on a parent that
    was killed.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    calm_collector()
