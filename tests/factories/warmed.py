"""Loaded by the server that forks the children of tests; what it has compiled, they have, too."""

from factories.bars import small_history

small_history(months=2)
