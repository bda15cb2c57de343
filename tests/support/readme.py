"""The parts of the README and of other pages that are made from the running service and the model's card.

    python -m tests.support.readme

starts the service and writes them anew: the answer of the documented request, the table of classes, the figures, and
the example of the OpenAPI document.
"""

import json
import re
import subprocess
from typing import Any

from fpan.contract import ModelCard, ModelRepository

from tests.support import service as services

README = services.ROOT / "README.md"
EXAMPLE = services.ROOT / "service/fpan/serve/transports/http/openapi/examples/astronaut.json"
PAGES = {
    "request": README,
    "answer": README,
    "taxonomy": services.ROOT / "docs/reference/classes.md",
    "figures": services.ROOT / "docs/results/index.md",
}
"""Where each part stands."""
WIDTH = 118
"""Columns of a documented answer."""
_DOCUMENTED = "http://127.0.0.1:8000"


def block(name: str) -> str:
    """What stands between the marks ``begin: name`` and ``end: name``."""
    found = re.search(rf"<!-- begin: {name} -->\n(.*?)\n<!-- end: {name} -->", PAGES[name].read_text(), re.DOTALL)
    assert found is not None, f"{PAGES[name].name} has no part {name}"
    return found.group(1)


def documented_request() -> str:
    """The shell command."""
    return block("request").strip()


def documented_answer() -> dict[str, Any]:
    """What the README says that it answers."""
    return dict(json.loads(block("answer").removeprefix("```json").removesuffix("```")))


def ask(url: str) -> dict[str, Any]:
    """Runs the documented command against a service."""
    command = documented_request().replace(_DOCUMENTED, url)
    done = subprocess.run(["bash", "-c", command], cwd=services.ROOT, capture_output=True, check=True, timeout=60)
    return dict(json.loads(done.stdout))


def card() -> ModelCard:
    """Of the network that is served."""
    repository = ModelRepository(services.ROOT / "model_repository")
    return repository.card("segm", repository.current("segm"))


def taxonomy_table() -> str:
    """The classes."""
    taxonomy = card().taxonomy
    assert taxonomy is not None
    rows = ["| id | name | is | colour | other side | groups |", "|---|---|---|---|---|---|"]
    for c in taxonomy.classes:
        groups = ", ".join(g for g, names in taxonomy.groups.items() if c.name in names)
        partner = f"`{taxonomy.classes[c.partner].name}`" if c.partner != c.id else ""
        colour = "#{:02x}{:02x}{:02x}".format(*c.colour)
        rows.append(f"| {c.id} | `{c.name}` | {c.title} | `{colour}` | {partner} | {groups} |")
    return "\n".join(rows)


def figures_table() -> str:
    """The served network's figures on the validation pictures."""
    rows = ["| on | label maps at | mIoU, 19 classes | mean F1, 18 parts |", "|---|---|---|---|"]
    for e in card().evaluations:
        pairs = ((e.miou, e.miou_interval), (e.mean_f1, e.mean_f1_interval))
        miou, f1 = (f"{value:.3f} ({low:.3f} to {high:.3f})" for value, (low, high) in pairs)
        rows.append(f"| {e.data} ({e.pictures} pictures) | {e.size} x {e.size} | {miou} | {f1} |")
    return "\n".join(rows)


def shortened(value: Any, room: int = WIDTH, name: str = "") -> str:
    """JSON as people read it: one line for what fits.

    Args:
        value: an answer, or a part of it.
        room: columns of a line.
        name: what stands before it on its line.
    """
    line = name + json.dumps(value)
    if len(line) <= room or not isinstance(value, dict | list):
        return line
    begin, end = "{}" if isinstance(value, dict) else "[]"
    members = value.items() if isinstance(value, dict) else ((None, part) for part in value)
    inside = room - len("  ,")
    inner = [shortened(part, inside, "" if key is None else f"{json.dumps(key)}: ") for key, part in members]
    indented = ",\n".join(inner).replace("\n", "\n  ")
    return f"{name}{begin}\n  {indented}\n{end}"


def replace(name: str, text: str) -> None:
    """Writes a part anew."""
    begin, end = f"<!-- begin: {name} -->\n", f"\n<!-- end: {name} -->"
    page = PAGES[name]
    page.write_text(page.read_text().replace(begin + block(name) + end, begin + text + end))


def main() -> None:
    """Writes all parts."""
    with services.running() as service:
        answer = ask(service.url)
    replace("answer", f"```json\n{shortened(answer)}\n```")
    replace("taxonomy", taxonomy_table())
    replace("figures", figures_table())
    EXAMPLE.write_text(json.dumps(answer, indent=2) + "\n")


if __name__ == "__main__":
    main()
