"""The only worker of the pool: closes runs left by the previous one, then becomes Prefect's worker.

Run as ``python -m steelyard.ops.worker`` with the arguments of ``prefect worker start``.
"""

import os
import sys

from steelyard.ops.deployments import close_abandoned


def main() -> None:
    """Close abandoned runs, which frees their concurrency slots, and become the worker."""
    close_abandoned()
    os.execv(
        sys.executable, [sys.executable, "-P", "-m", "prefect", "worker", "start", *sys.argv[1:]]
    )


if __name__ == "__main__":
    main()
