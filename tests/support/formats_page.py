"""The requests of ``docs/reference/formats.md``, and what comes back.

    python -m tests.support.formats_page

starts the service, makes each request and writes it and its answer into the page anew.
"""

import json
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.support import service as services
from tests.support.readme import shortened

PAGE = services.ROOT / "docs" / "reference" / "formats.md"
DOCUMENTED = "http://127.0.0.1:8000"
LONGEST = 60
"""Characters of a text in a documented answer."""
CUT = "..."


@dataclass(frozen=True)
class Example:
    """A request for the astronaut."""

    query: str
    shown: Callable[[Mapping[str, Any]], Any] | None = None
    """The part of a JSON answer that the page shows; None for a file."""
    accept: str = ""
    file: str = ""

    @property
    def command(self) -> str:
        """As the shell has it."""
        words = ["curl -s --data-binary @docs/astronaut.jpg -H 'Content-Type: image/jpeg'"]
        if self.accept:
            words.append(f"-H 'Accept: {self.accept}' -o {self.file}")
        return " ".join([*words, f"'{DOCUMENTED}/v1/parse?{self.query}'"])


EXAMPLES = {
    "polygons": Example("output=polygons&tolerance=1&classes=l_eye", lambda a: {"polygons": a["polygons"]}),
    "alpha": Example("output=alpha&groups=brows", lambda a: {"faces": [{"alpha": a["faces"][0]["alpha"]}]}),
    "matte": Example("output=alpha&groups=head", None, "image/png", "matte.png"),
    "redact": Example("output=redact&redact=blur", lambda a: {"redact": a["redact"]}),
    "abstain": Example("abstain=0.9&classes=u_lip", lambda a: {"mask": a["mask"]}),
    "crop": Example("frame=crop&classes=nose", lambda a: {"faces": [_of_crop(a["faces"][0])]}),
    "order": Example("taxonomy=bisenet&groups=brows", lambda a: {"taxonomy": a["taxonomy"], "mask": a["mask"]}),
    "npz": Example("groups=hair%2Bhat", None, "application/x-npz", "astronaut.npz"),
}


def _of_crop(face: Mapping[str, Any]) -> dict[str, Any]:
    return {name: face[name] for name in ("box", "crop", "parts", "mask")}


def ask(example: Example, url: str, folder: str = ".") -> Any:
    """Makes a request of the page; the part of its answer that is shown, or the bytes of its file."""
    command = example.command.replace(DOCUMENTED, url)
    if example.file:
        command = command.replace(f"-o {example.file}", f"-o {folder}/{example.file}")
    done = subprocess.run(["bash", "-c", command], cwd=services.ROOT, capture_output=True, check=True, timeout=60)
    return example.shown(json.loads(done.stdout)) if example.shown else done.stdout


def cut(value: Any) -> Any:
    """An answer with its long texts cut short."""
    if isinstance(value, dict):
        return {name: cut(each) for name, each in value.items()}
    if isinstance(value, list):
        return [cut(each) for each in value]
    return value[:LONGEST] + CUT if isinstance(value, str) and len(value) > LONGEST else value


def marks(name: str) -> tuple[str, str]:
    """What stands before and after an example."""
    return f"<!-- begin: {name} -->", f"<!-- end: {name} -->"


def block(name: str) -> str:
    """The example as the page has it."""
    begin, end = marks(name)
    return PAGE.read_text().split(begin)[1].split(end)[0].strip("\n")


def documented_answer(name: str) -> Any:
    """What the page says that comes back; None for a file."""
    text = block(name)
    return json.loads(text.split("```json\n")[1].split("```")[0]) if "```json" in text else None


def main() -> None:
    """Writes all examples."""
    page = PAGE.read_text()
    with services.running() as service:
        for name, example in EXAMPLES.items():
            text = f"    {example.command}"
            if example.shown:
                text += f"\n\n```json\n{shortened(cut(ask(example, service.url)))}\n```"
            begin, end = marks(name)
            before, rest = page.split(begin)
            page = f"{before}{begin}\n{text}\n{end}{rest.split(end)[1]}"
    PAGE.write_text(page)


if __name__ == "__main__":
    main()
