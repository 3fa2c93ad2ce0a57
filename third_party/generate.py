"""Writes LICENSES.md and sbom.json from the pinned requirements and the metadata of what is installed.

    .venv/bin/python third_party/generate.py

The same pins give the same bytes: nothing of the machine or the day is written down.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

HERE = Path(__file__).parent
FILES = {"requirements.txt": "required", "requirements-dev.txt": "excluded"}  # CycloneDX's words
PIN = re.compile(r"^([a-z0-9.-]+)==(\S+)( ; .*)? \\$")
VIA = re.compile(r"^    # +(?:via )?(?:relayjax )?(\([a-z.:]+\)|[a-z0-9.-]+)$")

SPDX = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
}
SPDX |= {text: text for text in (*SPDX.values(), "CC0-1.0 OR Apache-2.0", "MIT OR AFL-2.1")}
"""What packages call a licence where they do not state an SPDX expression."""

READ = {
    **dict.fromkeys(("contourpy", "cycler", "jinja2", "kiwisolver", "nodeenv", "scipy"), "BSD-3-Clause"),
    "atheris": "Apache-2.0",
    "iroh": "MIT OR Apache-2.0",
    "numba": "BSD-2-Clause",
    "pyrage": "MIT",
    "sigstore-models": "MIT",
}
"""Packages whose metadata names none, or only a family; read in the licence file that they ship."""


@dataclass
class Package:
    """A pinned package: where it is needed, and by whom."""

    name: str
    version: str
    scope: str
    licence: str
    needed_by: list[str]


def licence(name: str) -> str:
    """The licence of an installed package, as an SPDX expression."""
    stated = metadata(name)
    classifiers = [text.split(" :: ")[-1] for text in stated.get_all("Classifier", [])]
    named = [SPDX[text] for text in (stated["License"], *classifiers) if text in SPDX]
    known = [text for text in (READ.get(name), stated["License-Expression"], *named) if text]
    if not known:
        raise SystemExit(f"{name} states no licence known here: read its licence file, then add it to READ")
    return known[0]


def packages() -> list[Package]:
    """Every pinned package that is installed here, each once, by name."""
    found: dict[str, Package] = {}
    for file, scope in FILES.items():
        current: Package | None = None
        for line in (HERE / file).read_text("utf-8").splitlines():
            if pin := PIN.match(line):
                name, version, condition = pin.groups()
                try:
                    current = found.setdefault(name, Package(name, version, scope, licence(name), []))
                except PackageNotFoundError:
                    if not condition:
                        raise
                    current = None  # for another platform only
            elif (via := VIA.match(line)) and current and via[1] != "via":
                current.needed_by.append("RelayJAX" if via[1].startswith("(") else via[1])
    return [found[name] for name in sorted(found)]


def table(found: list[Package]) -> str:
    """LICENSES.md."""
    lines = [
        "# Licences of what RelayJAX is pinned to",
        "",
        "Written by `generate.py` from the packages' own metadata. What RelayJAX itself needs, and why:",
        "[docs/dependencies.md](../docs/dependencies.md).",
        "",
        "| package | version | licence | for | needed by |",
        "|---|---|---|---|---|",
    ]
    for package in found:
        use = "running" if package.scope == "required" else "developing"
        needed_by = ", ".join(dict.fromkeys(package.needed_by))
        lines.append(f"| {package.name} | {package.version} | {package.licence} | {use} | {needed_by} |")
    return "\n".join(lines) + "\n"


def bill(found: list[Package]) -> str:
    """sbom.json: a CycloneDX 1.6 bill of materials."""
    components = [
        {
            "type": "library",
            "bom-ref": f"pkg:pypi/{package.name}@{package.version}",
            "name": package.name,
            "version": package.version,
            "scope": package.scope,
            "licenses": [{"expression": package.licence}],
            "purl": f"pkg:pypi/{package.name}@{package.version}",
        }
        for package in found
    ]
    top = {"type": "application", "name": "relayjax", "licenses": [{"expression": "Apache-2.0"}]}
    whole = {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "metadata": {"component": top}}
    return json.dumps(whole | {"components": components}, indent=1) + "\n"


if __name__ == "__main__":
    pinned = packages()
    (HERE / "LICENSES.md").write_text(table(pinned), "utf-8")
    (HERE / "sbom.json").write_text(bill(pinned), "utf-8")
