"""Run independent jobs: on the cores of this machine, or on a Dask cluster.

Jobs are calls of functions at the top level of a module, with arguments and results that can be
pickled. Results come in the order of the jobs, so no output depends on who ran what when.
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import multiprocessing
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import (
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    as_completed,
)
from contextlib import AbstractContextManager, contextmanager, nullcontext
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from .errors import Failure

__all__ = ["OPTIONS", "ExecutorError", "add_executor_options", "executor", "run_jobs"]

#: What `add_executor_options` adds: no result depends on it.
OPTIONS = ("--jobs", "--scheduler")

T = TypeVar("T")
_PATIENCE = "10s"  # for a scheduler to answer


class ExecutorError(Failure):
    """The cluster cannot be reached, or a process that ran jobs has died. The text is one line."""


def _jobs(text: str) -> int:
    if not re.fullmatch(r"0*[1-9]\d{0,3}", text):
        raise argparse.ArgumentTypeError(f"must be an integer from 1 to 9999, not {text!r}")
    return int(text)


def _scheduler(text: str) -> str:
    if not re.fullmatch(r"tcp://[^\s/]+:\d{1,5}", text):
        raise argparse.ArgumentTypeError(f"must be like tcp://HOST:PORT, not {text!r}")
    if importlib.util.find_spec("distributed") is None:
        raise argparse.ArgumentTypeError("needs distributed: pip install -e '.[cluster]'")
    return text


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def add_executor_options(parser: argparse.ArgumentParser) -> None:
    """Add --jobs and --scheduler; `executor` takes their values."""
    group = parser.add_argument_group("jobs", "results do not depend on these")
    where = group.add_mutually_exclusive_group()
    where.add_argument(
        "--jobs", type=_jobs, metavar="N", default=argparse.SUPPRESS,
        help="processes at a time (default: as many as there are cores)",
    )  # fmt: skip
    where.add_argument(
        "--scheduler", type=_scheduler, metavar="tcp://HOST:PORT", default=argparse.SUPPRESS,
        help="run the jobs on this Dask cluster instead (pip install -e '.[cluster]'); its workers "
        "need the same version of this project with the same extras, and leave logs in their own "
        "working folders",
    )  # fmt: skip


@contextmanager
def executor(arguments: argparse.Namespace | None = None) -> Iterator[Executor]:
    """Give an executor that runs jobs where the options of `add_executor_options` say.

    One job at a time needs no other process: it runs in this one, when it is submitted.

    If its block ends by an exception, Ctrl-C among them, all jobs are cancelled. Those that run in
    a process of this machine are interrupted: a `KeyboardInterrupt` is raised in them, so that they
    stop their tools and remove what is unfinished. Jobs that a cluster runs already go on there.

    Parameters
    ----------
    arguments : Namespace, optional
        May have `jobs` and `scheduler`; without them there is a process for every core.

    Yields
    ------
    Executor

    Raises
    ------
    ExecutorError
        If the scheduler does not answer.
    """
    scheduler = getattr(arguments, "scheduler", None)
    jobs = getattr(arguments, "jobs", None) or _cores()
    where: AbstractContextManager[Executor]
    if scheduler:
        where = _cluster(scheduler)
    else:
        where = _processes(jobs) if jobs > 1 else nullcontext(_Here())
    with where as pool:
        yield pool


def run_jobs(
    pool: Executor,
    function: Callable[..., T],
    jobs: Sequence[tuple[Any, ...]],
    names: Sequence[str],
) -> list[T]:
    """Return ``[function(*job) for job in jobs]``; a terminal shows a progress bar on stderr.

    Parameters
    ----------
    pool : Executor
        What `executor` gives.
    function : callable
        At the top level of a module.
    jobs : sequence of tuple
        Arguments of the calls.
    names : sequence of str
        A few words for each job.

    Raises
    ------
    ExecutorError
        If a process that runs jobs dies.
    Exception
        Of the first call that fails; the others are cancelled.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
        TimeElapsedColumn(),
    )  # fmt: skip
    futures: list[Future[T]] = []
    try:
        with Progress(
            *columns, console=console, transient=True, disable=not console.is_terminal
        ) as bar:
            task = bar.add_task("", total=len(jobs))
            for job, name in zip(jobs, names, strict=True):
                if not any(future.running() for future in futures):
                    bar.update(task, description=name)
                future = pool.submit(function, *job)
                futures.append(future)
                future.add_done_callback(lambda _: bar.advance(task))
                if future.done():  # the next may take long
                    future.result()
            for future in as_completed(futures):
                future.result()
                waiting = (n for f, n in zip(futures, names, strict=True) if not f.done())
                bar.update(task, description=next(waiting, ""))
        return [future.result() for future in futures]
    except BrokenExecutor:
        raise ExecutorError(
            "a process that ran jobs has died; a smaller --jobs takes less memory"
        ) from None
    except CancelledError:
        raise ExecutorError("the cluster has dropped a job: its scheduler is lost") from None
    finally:
        for future in futures:
            future.cancel()


class _Here(Executor):
    def submit(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        future: Future[T] = Future()
        try:
            future.set_result(function(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


# --- Processes of this machine -----------------------------------------------------------------
#
# Workers are spawned, not forked: a fork copies the locks of other threads in whatever state they
# are. All hold the reading end of a pipe that nobody writes to; when its writing end closes,
# because this process wants them to stop or is dead, they interrupt their job and end.


class _Pool(ProcessPoolExecutor):
    def submit(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        # This starts workers. Until they are settled, Ctrl-C in a terminal is none of theirs.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return super().submit(_interruptible, function, *args, **kwargs)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _processes(jobs: int) -> Iterator[Executor]:
    context = multiprocessing.get_context("spawn")
    reader, writer = context.Pipe(duplex=False)
    pool = _Pool(jobs, mp_context=context, initializer=_settle, initargs=(reader,))
    try:
        yield pool
    except BaseException:
        writer.close()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        writer.close()
        reader.close()


_busy = False


def _settle(reader: Connection) -> None:
    """Prepare a worker: only the process that started it interrupts it."""
    # A terminal sends Ctrl-C here, too. It is not ignored by SIG_IGN, which tools would inherit.
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    signal.signal(signal.SIGTERM, _interrupt)
    threading.Thread(target=_watch, args=(reader,), daemon=True).start()


def _watch(reader: Connection) -> None:
    try:
        reader.recv_bytes()
    except (EOFError, OSError):
        os.kill(os.getpid(), signal.SIGTERM)


def _interrupt(number: int, frame: object) -> None:
    if not _busy:
        os._exit(128 + number)
    # Whoever is told twice cleans up already.
    if not isinstance(sys.exception(), KeyboardInterrupt):
        raise KeyboardInterrupt


def _interruptible(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    global _busy
    _busy = True
    try:
        return function(*args, **kwargs)
    except KeyboardInterrupt:
        os._exit(130)  # or the next job would start
    finally:
        _busy = False


# --- A Dask cluster ----------------------------------------------------------------------------


@contextmanager
def _cluster(scheduler: str) -> Iterator[Executor]:
    import dask  # optional
    import distributed

    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # errors are raised, too
    try:
        client = distributed.Client(scheduler, timeout=_PATIENCE, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise ExecutorError(f"no Dask scheduler answers at {scheduler}: {error}") from None
    large = {"distributed.admin.large-graph-warning-threshold": "1GiB"}  # a cell library is large
    with client, dask.config.set(large):
        pool = client.get_executor(pure=False)
        try:
            yield pool
        except distributed.KilledWorker:
            raise ExecutorError(f"a job has killed its workers at {scheduler}") from None
        finally:
            pool.shutdown(wait=False)  # of all jobs that are left
