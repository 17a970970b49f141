"""Run the command line as ``python -m steelyard``."""

import sys

from steelyard.cli import main

if not sys.flags.safe_path:
    del sys.path[0]  # the current folder, which may hold anything

main()
