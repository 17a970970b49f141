"""HTML pages from templates that need nothing from elsewhere and escape every value."""

from functools import cache
from typing import TYPE_CHECKING, Any

from steelyard.views.format import format_minutes, format_ratio

if TYPE_CHECKING:
    from jinja2 import Environment


@cache
def _templates() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("steelyard.views"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"duration": format_minutes, "ratio": format_ratio}
    return environment


def render_template(template: str, **content: Any) -> str:
    """Return a page or a piece of one as HTML.

    Args:
        template: Name of a file in ``templates/`` without its suffix.
        content: Values the template names; a missing one is an error.
    """
    return _templates().get_template(f"{template}.html.j2").render(content)
