"""What holds of all pages: links, tables, first sentences, the index, and how commands are called and installed."""

import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest
import yaml

from tests.support.service import ROOT

DOCS = ROOT / "docs"
TOP = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")]
PROSE = ".prose.md"
"""What people write of a page that a command makes; no page itself."""
PAGES = sorted([*TOP, *(page for page in DOCS.rglob("*.md") if not page.name.endswith(PROSE))])
ROOMS = ("tutorials", "how-to", "reference", "explanation", "training")
TOLD_AT_ITS_INDEX = ("results", "explanation/decisions")
"""Folders with an index of their own."""
DISTRIBUTIONS = ("mask-fpan-serve", "mask-fpan-training", "mask_fpan_serve", "mask_fpan_training")


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^(```|~~~).*?^\1", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Of its headings, as GitHub makes them."""
    found: Counter[str] = Counter()
    made = set()
    for heading in re.findall(r"^#{1,6} (.*)$", prose(page), re.MULTILINE):
        shown = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
        slug = re.sub(r"[^\w\- ]", "", shown).replace(" ", "-")
        made.add(f"{slug}-{found[slug]}" if found[slug] else slug)
        found[slug] += 1
    return made


def links(page: Path) -> list[str]:
    return [each for each in re.findall(r"\]\(([^)\s]+)\)", prose(page)) if not re.match(r"[a-z]+:", each)]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_and_anchors_are_there(page):
    broken = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_no_table_is_cut_in_two(page):
    """After an empty line the rows of a table are text."""
    text = page.read_text()
    for cut in re.finditer(r"^\|.*\n\n(?=\|)", text, re.MULTILINE):
        head, rule = text[cut.end() :].splitlines()[:2]
        assert re.fullmatch(r"[|: -]+", rule), head


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.parent == ROOT or page.relative_to(DOCS).parts[0] in ROOMS], ids=named
)
def test_a_page_begins_with_a_title_and_a_sentence(page):
    lines = (line for line in page.read_text().splitlines() if line.strip() and not line.startswith("<!-- Made by"))
    title, first, *_ = lines
    assert title.startswith("# ")
    assert re.match(r"[A-Z`\[]", first), "the first line after the title says what the page is for"


def test_every_page_is_in_the_index():
    listed = {(DOCS / link.partition("#")[0]).resolve() for link in links(DOCS / "index.md")}
    pages = {page for page in PAGES if page.is_relative_to(DOCS) and page != DOCS / "index.md"}
    inner = {page for page in pages if named(page.parent).removeprefix("docs/").startswith(TOLD_AT_ITS_INDEX)}
    assert sorted(map(named, pages - inner - listed)) == []
    assert {DOCS / folder / "index.md" for folder in TOLD_AT_ITS_INDEX} <= listed


@pytest.mark.parametrize("folder", TOLD_AT_ITS_INDEX)
def test_every_page_of_a_folder_is_in_its_index(folder):
    index = DOCS / folder / "index.md"
    listed = {(index.parent / link.partition("#")[0]).resolve() for link in links(index)}
    pages = {page for page in index.parent.glob("*.md") if page != index and not page.name.endswith(PROSE)}
    assert sorted(map(named, pages - listed)) == []


@pytest.mark.parametrize("page", [page for page in PAGES if "results" not in page.parts], ids=named)
def test_a_page_that_calls_fpan_says_where_it_is(page):
    """`make serve` and `make test` leave the commands in environments, not on the PATH."""
    text = page.read_text()
    if re.search(r"^(?: {4,}|\$ )?(?:\$ |\w+=\S+ )*fpan(?:-train)? \w", text, re.MULTILINE):
        assert "install.md" in text


def tracked(*patterns: str) -> list[Path]:
    command = ["git", "ls-files", "-co", "--exclude-standard", *patterns]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    return [ROOT / name for name in found if (ROOT / name).is_file()]


def test_nobody_is_told_to_install_what_is_on_no_index():
    """Anybody could take these names there."""
    named_there = re.compile(rf"install\b[^\n]*[\s'\"](?:{'|'.join(DISTRIBUTIONS)})(?![\w.-]*\.whl)\b")
    files = tracked("*.md", "*.py", "*.yml", "*.yaml", "Makefile", "*Dockerfile", "*.html", "*.js")
    wrong = [
        f"{named(file)}: {found[0]}" for file in files for found in [named_there.search(file.read_text())] if found
    ]
    assert wrong == []


def test_the_architecture_names_what_there_is():
    page = DOCS / "explanation/architecture.md"
    below = ROOT / "service/fpan/serve"
    rows = re.findall(r"^\| [^|]+ \| `([^`]+\.py)` \| `([\w.]+)` \|$", page.read_text(), re.MULTILINE)
    assert len(rows) > 8
    for path, name in rows:
        text = (below / path).read_text()
        for part in name.split("."):
            assert re.search(rf"^\s*(?:class|def|async def) {part}\b", text, re.MULTILINE), (path, name)
    for path in re.findall(r"`([a-z_]+(?:/[a-z_]+)*(?:\.py|/))`", page.read_text()):
        assert (below / path).exists() or (ROOT / path).exists() or (below.parent / path).exists(), path


def test_the_hooks_call_tools_of_the_test_environment():
    hooks = [
        hook
        for repo in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
        for hook in repo["hooks"]
    ]
    pinned = (ROOT / "tests/requirements.in").read_text().split()
    for hook in hooks:
        assert hook["language"] == "system"
        folder, _, program = hook["entry"].split()[0].rpartition("/")
        assert folder == ".venv-test/bin"
        assert program == "ruff" or program.endswith("-fixer")
    assert {"ruff", "pre-commit-hooks"} <= {*pinned}


def test_the_changelog_keeps_its_form():
    text = (ROOT / "CHANGELOG.md").read_text()
    assert re.findall(r"^## (.*)$", text, re.MULTILINE)[0] == "[Unreleased]"
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert {*re.findall(r"^### (.*)$", text, re.MULTILINE)} <= kinds
