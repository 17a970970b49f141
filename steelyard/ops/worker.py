"""The only worker of the pool: closes what the one before it left behind, then becomes Prefect's worker.

Run as ``python -m steelyard.ops.worker`` with the arguments of ``prefect worker start``.
"""

import os
import sys

from steelyard.ops.deployments import close_abandoned


def main() -> None:
    """Close abandoned runs, which frees their concurrency slots, and start the worker in this process's place."""
    close_abandoned()
    os.execv(
        sys.executable, [sys.executable, "-P", "-m", "prefect", "worker", "start", *sys.argv[1:]]
    )


if __name__ == "__main__":
    main()
