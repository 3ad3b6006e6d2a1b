"""Links within the repository lead somewhere, and every page can be found."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).parents[2]


def targets(page):
    """File and anchor of each link into the repository."""
    for link in page.links():
        parts = urlsplit(link)
        if not parts.scheme:
            path = (page.path.parent / unquote(parts.path)).resolve() if parts.path else page.path
            yield link, path, parts.fragment


def test_links_lead_somewhere(page) -> None:
    broken = []
    for link, path, anchor in targets(page):
        if not path.exists() or (anchor and anchor not in type(page)(path).anchors()):
            broken.append(link)
    assert broken == []


def test_the_index_leads_to_every_page(doc) -> None:
    index = doc("README.md")
    linked = {path for _, path, _ in targets(index)} | {index.path}
    assert sorted({*ROOT.glob("docs/**/*.md")} - linked) == []


def test_the_site_has_every_page_but_decisions_in_its_menu() -> None:
    menu = re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    pages = {path.name for path in ROOT.glob("docs/*.md")} - {"README.md"}
    plugins = {str(path.relative_to(ROOT)) for path in ROOT.glob("plugins/*/README.md")}
    assert sorted((pages | plugins) - {*menu}) == []
    assert len(menu) == len({*menu})
