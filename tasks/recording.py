"""Whether a Prefect server can record or start a run: nothing waits for one that is away."""

import httpx
from prefect.settings import PREFECT_API_URL

ANSWER_SECONDS = 2.0


def server_answers() -> bool:
    """Whether the server of ``PREFECT_API_URL`` answers and reaches its database.

    One that does not know the question, as Prefect's cloud, is believed to.
    """
    try:
        answer = httpx.get(f"{PREFECT_API_URL.value()}/ready", timeout=ANSWER_SECONDS)
    except (httpx.HTTPError, httpx.InvalidURL):
        return False
    return not answer.is_server_error
