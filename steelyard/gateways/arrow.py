"""Whether pyarrow is there: the light installation leaves its 150 MB out."""

try:
    from pyarrow import ArrowException
except ModuleNotFoundError:
    ARROW_ERRORS: tuple[type[Exception], ...] = ()
else:
    ARROW_ERRORS = (ArrowException,)
"""What pyarrow raises beside errors of Python's own; empty without it."""

HAS_ARROW = bool(ARROW_ERRORS)
