"""The pages that users read, taken apart."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import pytest
from markdown_it import MarkdownIt

if TYPE_CHECKING:
    from markdown_it.token import Token

ROOT = Path(__file__).parents[2]
PAGES = tuple(
    sorted(
        [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md"), *ROOT.glob("plugins/*/*.md")]
    )
)
_PARSER = MarkdownIt("commonmark").enable("table")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    language: str
    source: str
    line: int


class Page:
    """One Markdown file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = str(path.relative_to(ROOT))
        self.text = path.read_text(encoding="utf-8")
        self._tokens = _PARSER.parse(self.text)

    def blocks(self, *languages: str) -> list[Block]:
        """The fenced blocks, all or those of some languages."""
        fences = [token for token in self._tokens if token.type == "fence"]
        found = [Block(token.info.strip(), token.content, (token.map or [0])[0] + 1) for token in fences]
        return [block for block in found if not languages or block.language in languages]

    def links(self) -> list[str]:
        """Targets of links and pictures."""
        return [str(token.attrs.get("href") or token.attrs.get("src")) for token in self._inline() if token.attrs]

    def anchors(self) -> set[str]:
        """What GitHub calls its headings."""
        titles = [
            self._tokens[index + 1].children or []
            for index, token in enumerate(self._tokens)
            if token.type == "heading_open"
        ]
        return {_slug("".join(child.content for child in title)) for title in titles}

    def tables(self) -> list[list[tuple[str, ...]]]:
        """Rows of each table, header first, cells as plain text without backticks."""
        tables: list[list[tuple[str, ...]]] = []
        row: list[str] = []
        for index, token in enumerate(self._tokens):
            if token.type == "table_open":
                tables.append([])
            elif token.type == "tr_open":
                row = []
            elif token.type in {"th_open", "td_open"}:
                row.append("".join(child.content for child in self._tokens[index + 1].children or []))
            elif token.type == "tr_close":
                tables[-1].append(tuple(row))
        return tables

    def table(self, *header: str) -> list[tuple[str, ...]]:
        """The rows of all tables with this header."""
        return [row for table in self.tables() if table[0] == header for row in table[1:]]

    def _inline(self) -> Iterator[Token]:
        for token in self._tokens:
            yield from token.children or []


def _slug(title: str) -> str:
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _id(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.fixture(params=PAGES, ids=_id)
def page(request: pytest.FixtureRequest) -> Page:
    """Each page in turn."""
    return Page(request.param)


@pytest.fixture(params=[path for path in PAGES if Page(path).blocks("python", "diff")], ids=_id)
def page_with_code(request: pytest.FixtureRequest) -> Page:
    """Each page that shows Python."""
    return Page(request.param)


@pytest.fixture
def doc():
    """A page by its name below ``docs/``."""
    return lambda name: Page(ROOT / "docs" / name)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mapping[str, str]]:
    """An empty working directory, and an environment that is put back; alone, for there is no swarm."""
    monkeypatch.chdir(tmp_path)
    with patch.dict(os.environ, {"SWARM_LOOPBACK": "true"}):
        yield os.environ
