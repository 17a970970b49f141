"""Pages outside ``docs`` on the site, and links that are right in the repository and on the site.

A page is written for the repository: its links are paths from where it lies. On the site ``docs``
is the top, and the pages of ``OUTSIDE`` stand below it at their own paths.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

OUTSIDE = (
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "examples/README.md",
    "examples/freqtrade/README.md",
)
DECISIONS = "decisions/README.md"
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)#:\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie outside ``docs``."""
    for path in OUTSIDE:
        text = _repository(config).joinpath(path).read_text(encoding="utf-8")
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn a page's links into those of the site; of a file that is not on it, the text stays."""
    on_site = page.file.src_uri
    written = on_site if on_site in OUTSIDE else f"docs/{on_site}"

    def link(found: re.Match[str]) -> str:
        text, path, anchor = found.groups(default="")
        target = posixpath.normpath(posixpath.join(posixpath.dirname(written), path))
        if not (_repository(config) / target).exists():
            return found[0]  # MkDocs complains about it
        to = target.removeprefix("docs/")
        if target not in OUTSIDE and (to == target or files.get_file_from_path(to) is None):
            return text
        return f"[{text}]({posixpath.relpath(to, posixpath.dirname(on_site) or '.')}{anchor})"

    return LINK.sub(link, markdown + _decisions(files) if on_site == DECISIONS else markdown)


def _decisions(files: Files) -> str:
    """Return the list of decisions, which a repository shows by itself."""
    records = [file for file in files.documentation_pages() if "decisions/0" in file.src_uri]
    lines = [
        f"- [{record.content_string.splitlines()[0].removeprefix('# ')}]({record.name}.md)"
        for record in records
    ]
    return "\n".join(["", "", *lines])


def _repository(config: MkDocsConfig) -> Path:
    return Path(config.config_file_path).parent
