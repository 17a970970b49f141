"""Steps that look after the model in service: what its predictions look like, and whether something fell silent."""

from datetime import datetime, timedelta

from steelyard.home import Home
from steelyard.monitoring.health import Figure, Silence, silences
from steelyard.queries.health import health_between, serving_version
from steelyard.queries.history import signals_between
from steelyard.tasks.step import step

CALENDAR = 1.6
"""Calendar days in which 48 daily bars of an exchange come, over 48; weekends and holidays included."""


@step()
def health_alerts(home: Home, as_of: datetime) -> tuple[Figure, ...]:
    """Return the figures of the champion that miss their target by more than chance explains; none without a champion.

    It is held to what was decided since it serves, in the last window and up to a day ago: what is younger may still be
    on its way.
    """
    state, _ = home.journal.verified()
    champion = serving_version(home, state) if state else None
    if champion is None:
        return ()
    end, since = as_of - timedelta(days=1), champion.serving_since or champion.as_of
    start = max(since, as_of - timedelta(days=home.settings.weight.window_days))
    figures = health_between(home, champion, start, end).figures if start < end else ()
    return tuple(figure for figure in figures if figure.alarming)


@step()
def silence_alerts(home: Home, as_of: datetime) -> tuple[Silence, ...]:
    """Return what should have been written by ``as_of`` and was not; without a lineage or bars nothing is expected."""
    state, _ = home.journal.verified()
    if state is None:
        return ()
    since = max(state.began, as_of - timedelta(days=home.settings.weight.window_max_days))
    proposed = signals_between(home, since, as_of)
    if proposed is None:
        return ()
    overdue = CALENDAR * home.settings.brackets.time_limit_bars * home.lake.bar_size
    recent = proposed[(proposed["decided_at"] > as_of - timedelta(days=1)).to_numpy(dtype=bool)]
    known = home.ledger.predictions(since, as_of)
    late = proposed.drop(recent.index)  # today's may still be on their way through settle
    found = silences(late, known, as_of - timedelta(days=1), overdue)
    return tuple(one for one in found if one.code != "quiet" or recent.empty)
