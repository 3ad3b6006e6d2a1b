"""Makes the pages of the site from the repository: those of ``docs/``, and what they link to outside of it.

The pages are written to be read in the repository, where links lead from file to file. Here ``docs/`` is the root of
the site, the start page is the README of the repository, and a file or page elsewhere keeps its path.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote

from mkdocs.structure.files import File, Files

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[2]
START = "README.md"
MOVED = {START: "index.md", "docs/README.md": "pages.md"}
"""Where a page of the repository is on the site, unless its path says it."""
LINK = re.compile(r"\]\((?P<target>[^)#\s:]+)(?P<anchor>#[^)\s]*)?\)")
"""A link to a file; those with a scheme have a colon."""
CODE = re.compile(r"^(```.*?^```)$", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is linked to from pages of the site, and from pages that are added."""
    files.remove(files.src_uris["README.md"])
    waiting = [START, *(f"docs/{uri}" for uri in files.src_uris if uri.endswith(".md")), "docs/README.md"]
    known = set(waiting)
    while waiting:
        page = waiting.pop()
        for target in _targets(page):
            if target not in known and (ROOT / target).is_file() and not target.startswith("docs/"):
                known.add(target)
                if target.endswith(".md"):
                    waiting.append(target)
    for path in sorted(known):
        if path in MOVED or not path.startswith("docs/"):
            files.append(File.generated(config, _place(path), abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 - MkDocs passes all
    """Let links lead to where their targets are on the site."""
    here = PurePosixPath(page.file.src_uri)
    source = next((path for path, place in MOVED.items() if place == str(here)), None)
    source = source or (f"docs/{here}" if (ROOT / "docs" / here).is_file() else str(here))

    def moved(link: re.Match[str]) -> str:
        target = _resolved(source, link["target"])
        place = os.path.relpath(_place(target), here.parent)
        return f"]({place}{link['anchor'] or ''})"

    return "".join(part if part.startswith("```") else LINK.sub(moved, part) for part in CODE.split(markdown))


def _targets(page: str) -> list[str]:
    text = CODE.sub("", (ROOT / page).read_text(encoding="utf-8"))
    return [_resolved(page, link["target"]) for link in LINK.finditer(text)]


def _resolved(page: str, target: str) -> str:
    """The path in the repository of what a page links to; of a directory, that of the README there or above it."""
    path = PurePosixPath(os.path.normpath(PurePosixPath(page).parent / unquote(target)))
    if not (ROOT / path).is_dir():
        return str(path)
    return str(next(each / START for each in (path, *path.parents) if (ROOT / each / START).is_file()))


def _place(path: str) -> str:
    return MOVED.get(path) or path.removeprefix("docs/")
