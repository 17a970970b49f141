"""Work in other processes: here, or on the machines of a Dask cluster.

What is done is the same everywhere: a function of one item, mapped over many, with the results in
the order of the items. A worker that dies costs a retry. Work inside of work stays where it is.
"""

import hashlib
import pickle
import platform
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from contextvars import ContextVar, copy_context
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from multiprocessing import get_context
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field, model_validator

from steelyard.errors import FixConfiguration, RestoreService, needing
from steelyard.progress import progress_to, report_progress, set_sink
from steelyard.values import FrozenModel, Item, OrderedMap, Result

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from distributed import Client

CONNECT_SECONDS = 10.0
"""How long a scheduler may take to answer, and its first worker to be there."""
IDLE_SECONDS = 30.0
"""How long a result is waited for before the cluster is asked whether it has workers left."""
MOST_DEATHS = 3
"""Deaths of local workers without a result in between; Dask allows a piece of work as many."""
LIBRARIES = (
    *("numpy", "scipy", "pandas", "numba", "TA-Lib", "scikit-learn", "optuna", "lightgbm"),
    "xgboost" if platform.system() == "Darwin" else "xgboost-cpu",
)
"""Libraries whose version can change a result."""
_at_work: ContextVar[bool] = ContextVar("at_work", default=False)


class ScaleSettings(FrozenModel):
    """Where work is done that can be done in parts (``conf/scale.yaml``)."""

    processes: Annotated[int, Field(ge=1, le=1024)] = 1
    dask: Annotated[str, Field(pattern=r"^(tcp|tls)://[^\s/]+:\d+$")] | None = None

    @property
    def is_alone(self) -> bool:
        """Whether this process does all work itself."""
        return self.processes == 1 and self.dask is None

    @model_validator(mode="after")
    def _require_one_place(self) -> Self:
        if self.dask and self.processes > 1:
            raise ValueError("processes and dask are both set; keep one of them")
        return self


@contextmanager
def open_workers(settings: ScaleSettings) -> Iterator[OrderedMap | None]:
    """Yield the ordered map of the configured workers; None where this process works alone.

    Args:
        settings: Local processes, or the address of a Dask cluster.

    Raises:
        FixConfiguration: If Dask is not installed.
        RestoreService: If the cluster does not answer or has no worker.
    """
    if _at_work.get() or settings.is_alone:
        yield None
    elif settings.dask is not None:
        with dask_cluster(settings.dask) as apply:
            yield apply
    else:
        with local_processes(settings.processes) as apply:
            yield apply


@contextmanager
def local_processes(count: int) -> Iterator[OrderedMap]:
    """Yield the ordered map of new processes on this machine, whose progress is shown here.

    If this process dies, their next report of progress fails, and their work ends.

    Args:
        count: Number of processes.
    """
    reports, sender = get_context("spawn").Pipe(duplex=False)
    shown = Thread(target=copy_context().run, args=(_show, reports))
    shown.start()
    processes = _Processes(count, sender)
    try:
        yield processes.apply
    finally:
        processes.stop()
        sender.close()
        shown.join()


class _Processes:
    """Processes that are started again after one of them died."""

    def __init__(self, count: int, sender: "Connection[Any, Any]") -> None:
        self._new = partial(
            ProcessPoolExecutor, count, get_context("spawn"), _send_progress, (sender,)
        )
        self._pool = self._new()

    def apply(
        self, function: Callable[[Item], Result], items: Iterable[Item], /
    ) -> Iterator[Result]:
        """Yield the results in the order of the items.

        Args:
            function: What is done with one item; known by a name in a module.
            items: The items.

        Raises:
            RestoreService: If processes die again and again.
        """
        work = deque((item, self._submit(function, item)) for item in items)
        deaths = 0
        try:
            while work:
                try:
                    result = work[0][1].result()
                except BrokenProcessPool as error:
                    deaths += 1
                    if deaths == MOST_DEATHS:
                        raise RestoreService(
                            f"processes of conf/scale.yaml died {deaths} times over the same work; "
                            "look for the end of the memory, or set fewer processes"
                        ) from error
                    work = deque((item, self._again(function, item, old)) for item, old in work)
                    continue
                work.popleft()
                deaths = 0
                yield result
        finally:
            for _, future in work:
                future.cancel()

    def _submit(self, function: Callable[[Item], Result], item: Item) -> Future[Result]:
        try:
            return self._pool.submit(function, item)
        except BrokenProcessPool:
            self.stop()
            self._pool = self._new()
            return self._pool.submit(function, item)

    def _again(
        self, function: Callable[[Item], Result], item: Item, old: Future[Result]
    ) -> Future[Result]:
        """Return work that was lost with a process as new work, and what was done as it is."""
        if old.done() and not isinstance(old.exception(), BrokenProcessPool):
            return old
        return self._submit(function, item)

    def stop(self) -> None:
        """Let the processes end the work they are at, and leave the rest."""
        self._pool.shutdown(cancel_futures=True)


def _show(reports: "Connection[Any, Any]") -> None:
    """Show what is reported until nobody can report any more."""
    with suppress(EOFError):
        while True:
            report_progress(*reports.recv())


def _send_progress(sender: "Connection[Any, Any]") -> None:
    """Send the progress of this process, a worker from now on, to the one that started it.

    Reports are short, so that the pipe keeps those of several processes apart.
    """
    _at_work.set(True)
    set_sink(lambda *report: sender.send(report))


@contextmanager
def dask_cluster(address: str) -> Iterator[OrderedMap]:
    """Yield the ordered map of a Dask cluster, whose progress is shown here.

    Args:
        address: Address of its scheduler, for example ``tcp://10.0.0.5:8786``.

    Raises:
        FixConfiguration: If Dask is not installed.
        RestoreService: If the scheduler does not answer or has no worker.
    """
    with needing("conf/scale.yaml: dask"):
        from distributed import Client
    try:
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError) as error:
        raise RestoreService(
            f"conf/scale.yaml: no Dask scheduler answers at {address}; "
            "start it, or correct the address"
        ) from error
    with client:
        try:
            client.wait_for_workers(1, timeout=CONNECT_SECONDS)
        except TimeoutError as error:
            raise RestoreService(_no_worker(address)) from error
        topic, context = f"steelyard-{client.id}", copy_context()
        client.subscribe_topic(topic, lambda event: context.run(report_progress, *event[1]))
        yield partial(_apply_on, client, address, topic)


def _apply_on(
    client: "Client",
    address: str,
    topic: str,
    function: Callable[[Item], Result],
    items: Iterable[Item],
    /,
) -> Iterator[Result]:
    """Yield the results in the order of the items.

    Args:
        client: Connection to the scheduler.
        address: Address of the scheduler, for messages.
        topic: Topic of the workers' progress.
        function: What is done with one item; known by a name in a module.
        items: The items.

    Raises:
        FixConfiguration: If a worker has other code or libraries than this process.
        RestoreService: If the cluster is gone, or workers die again and again.
    """
    from distributed import KilledWorker

    call = partial(_call, installed(), topic)
    work = deque(client.map(call, [pickle.dumps((function, item)) for item in items], pure=False))
    try:
        while work:
            _wait_for(client, address, work[0])
            try:
                result = work[0].result()
            except KilledWorker as error:
                raise RestoreService(
                    f"workers of the Dask cluster at {address} died again and again over the same "
                    "work; look for the end of their memory"
                ) from error
            except CancelledError as error:
                raise RestoreService(
                    f"the Dask scheduler at {address} is gone; start it and its workers again"
                ) from error
            except ModuleNotFoundError as error:
                if (error.name or "").partition(".")[0] != "steelyard":
                    raise
                raise FixConfiguration(
                    f"a worker of the Dask cluster at {address} has no {error.name}; "
                    f"install Steelyard {version('steelyard')} there"
                ) from error
            work.popleft()
            yield result
    finally:
        client.cancel(list(work))


def _wait_for(client: "Client", address: str, future: Any) -> None:
    """Wait for a result as long as there is somebody to work on it."""
    from distributed import wait

    while True:
        with client.as_current(), suppress(TimeoutError):
            wait([future], timeout=IDLE_SECONDS)
            return
        if not client.nthreads():
            raise RestoreService(_no_worker(address))


def _no_worker(address: str) -> str:
    return f"the Dask cluster at {address} has no worker; start one: dask worker {address}"


def _call(asked: dict[str, str], topic: str, work: bytes) -> Any:
    """Do a piece of work on a worker, if it has what the process that asks for it has."""
    from distributed import get_worker

    worker, own = get_worker(), installed()
    for name, wanted in asked.items():
        if own[name] != wanted:
            raise FixConfiguration(
                f"the Dask worker at {worker.address} has {name} {own[name]}, this process "
                f"{wanted}; install the same on both, or the results differ"
            )
    function, item = pickle.loads(work)  # noqa: S301  # from the client, whose code runs here
    token = _at_work.set(True)
    try:
        with progress_to(lambda *report: worker.log_event(topic, report)):
            return function(item)
    finally:
        _at_work.reset(token)


@cache
def installed() -> dict[str, str]:
    """Return the versions that decide a result: Python, Steelyard's own code, libraries."""
    package = Path(__file__).parents[1]
    code = hashlib.sha256()
    for folder in (package, package / "tasks", package / "flows"):
        for file in sorted(folder.rglob("*.py")):
            code.update(file.read_bytes())
    own = {"Python": platform.python_version()}
    own["Steelyard"] = f"{_version_of('steelyard')} (code {code.hexdigest()[:8]})"
    return own | {name: _version_of(name) for name in LIBRARIES}


def _version_of(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"
