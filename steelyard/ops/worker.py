"""The only worker of the pool: closes runs left by the previous one, then runs deployed flows.

Run as ``python -m steelyard.ops.worker``.
"""

import asyncio
import signal
import warnings
from contextlib import suppress
from typing import Any

from prefect.client.schemas.objects import FlowRun
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker
from rich.console import Console

from steelyard.errors import FixConfiguration
from steelyard.ops.deployments import ENGINE, close_abandoned
from steelyard.ops.up import POOL

RUNS_AT_ONCE = 2


class EngineOnly(ProcessJobConfiguration):
    """Job of a run: Prefect's engine, with the worker's environment and nothing else.

    The pool's template says the same; this holds if somebody changes the template on the server.
    """

    def prepare_for_flow_run(self, flow_run: FlowRun, *arguments: Any, **options: Any) -> None:
        """Prepare the job of a run.

        Args:
            flow_run: The run.
            *arguments: Passed on to Prefect.
            **options: Passed on to Prefect.

        Raises:
            FixConfiguration: If the run would start another command or change the environment.
        """
        if self.command != ENGINE or self.env or self.working_dir:
            raise FixConfiguration(
                f"run {flow_run.id} brings a command, an environment or a folder of its own; the "
                f"pool {POOL} runs deployed flows only: steelyard deploy restores it"
            )
        super().prepare_for_flow_run(flow_run, *arguments, **options)


with warnings.catch_warnings(action="ignore"):  # it takes the place of Prefect's process worker

    class Worker(ProcessWorker):
        """Prefect's process worker with jobs of one kind."""

        job_configuration = EngineOnly


def main() -> None:
    """Close abandoned runs, which frees their concurrency slots, and work until a signal comes."""
    close_abandoned()
    worker = Worker(POOL, name=POOL, limit=RUNS_AT_ONCE, create_pool_if_not_found=False)
    asyncio.run(_work(worker))


async def _work(worker: Worker) -> None:
    """Work until SIGTERM or SIGINT.

    Prefect's own handlers raise KeyboardInterrupt wherever the loop is, which now and then is
    swallowed there; the worker then goes on.
    """
    work = asyncio.create_task(worker.start(printer=_say))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, _cancel, work, number.name)
    with suppress(asyncio.CancelledError):
        await work


def _cancel(work: "asyncio.Task[None]", name: str) -> None:
    _say(f"Received {name}: the worker stops")
    work.cancel()


_say = Console(stderr=True).print


if __name__ == "__main__":
    main()
