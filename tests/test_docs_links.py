"""Every page is found from the README, and every relative link leads to a file and a heading."""

import re
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(["README.md", *(p.relative_to(ROOT).as_posix() for p in ROOT.glob("docs/**/*.md"))])
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"\]\(<?([^)>\s]+)>?(?: \"[^\"]*\")?\)")
HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)


def links(text: str) -> list[str]:
    """Targets of a page's links that lead to files of the repository; none of those in code."""
    found = set(LINK.findall(CODE.sub("", FENCED.sub("", text))))
    return sorted(target for target in found if not re.match(r"[a-z][a-z0-9+.-]*:", target))


def anchors(text: str) -> set[str]:
    """Names of a page's headings, as forges make them."""
    headings = HEADING.findall(FENCED.sub("", text))
    return {re.sub(r"[^\w -]", "", words.lower()).strip().replace(" ", "-") for words in headings}


def broken(root: Path, page: str) -> list[str]:
    """Links of a page that lead nowhere."""
    found = []
    for target in links((root / page).read_text(encoding="utf-8")):
        name, _, anchor = target.partition("#")
        path = (root / page).parent / unquote(name) if name else root / page
        inside = path.resolve().is_relative_to(root.resolve())
        if not inside or not path.exists() or (anchor and not _has(path, anchor)):
            found.append(target)
    return found


def _has(path: Path, anchor: str) -> bool:
    return path.suffix != ".md" or anchor in anchors(path.read_text(encoding="utf-8"))


def linked_pages(root: Path, page: str) -> set[str]:
    """Pages that a page links to; a folder stands for its README."""
    found = set()
    for target in links((root / page).read_text(encoding="utf-8")):
        path = (root / page).parent / unquote(target.partition("#")[0])
        path = path / "README.md" if path.is_dir() else path
        if path.suffix == ".md" and path.is_file():
            found.add(PurePosixPath(path.resolve().relative_to(root.resolve())).as_posix())
    return found


@pytest.mark.parametrize("page", PAGES)
def test_links_of_a_page_lead_somewhere(page: str) -> None:
    assert not broken(ROOT, page), f"{page}: {broken(ROOT, page)} lead nowhere"


def test_every_page_is_linked_from_the_readme_or_from_a_page_linked_there() -> None:
    near = linked_pages(ROOT, "README.md")
    found = near.union(*(linked_pages(ROOT, page) for page in near), {"README.md"})
    assert not set(PAGES) - found, f"nobody finds {sorted(set(PAGES) - found)} from README.md"


@pytest.mark.parametrize(
    ("link", "found"),
    [
        ("[a](there.md)", []),
        ("[a](there.md#two-words)", []),
        ("[`a`](there.md#the-code-x)", []),
        ("[a](#here)", []),
        ("[a](.)", []),
        ("[a](https://gone.example/x.md)", []),
        ("`[a](gone.md)`", []),
        ("```\n[a](gone.md)\n```", []),
        ("[a](gone.md)", ["gone.md"]),
        ("[`a`](gone.md)", ["gone.md"]),
        ('[a](gone.md "title")', ["gone.md"]),
        ("[a](there.md#gone)", ["there.md#gone"]),
        ("[a](#gone)", ["#gone"]),
        ("[a](../../outside.md)", ["../../outside.md"]),
    ],
)
def test_link_that_leads_nowhere_is_found(tmp_path: Path, link: str, found: list[str]) -> None:
    (tmp_path / "outside.md").write_text("")
    root = tmp_path / "root"
    (root / "docs").mkdir(parents=True)
    (root / "docs" / "there.md").write_text("# Two words\n\n## The code `x`\n")
    (root / "docs" / "page.md").write_text(f"# Here\n\n{link}\n")
    assert broken(root, "docs/page.md") == found
