"""Build the documentation as a site with search: guides, decisions, cards, reports and the reference.

Usage: python scripts/site.py [--out site]     (make site)

README.md becomes the first page, the pages of docs/ keep their places, and the reference is written from the docstrings
of the public names. Every link is checked: a broken one fails the build.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from update_docs import PUBLIC_MODULES

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"(?<=\]\()([^)\s#]+)(#[^)\s]*)?(?=\))")
PLACES = {
    "README.md": "index.md",
    "docs/README.md": "overview.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "LICENSE": "LICENSE",
}
SECTIONS = {
    "Guides": "guides",
    "Evaluation": "evaluation.md",
    "Models": "models",
    "Notebooks": "notebooks",
    "Reports": "reports",
    "Reference": "reference",
    "Decisions": "decisions",
    "Glossary": "glossary.md",
    "Contributing": "contributing.md",
    "Changes": "changelog.md",
}
CONFIG = """\
site_name: mien
site_description: Facial expression recognition
docs_dir: {pages}
site_dir: {out}
use_directory_urls: false
theme:
  name: material
  font: false
  features: [navigation.tabs, navigation.top, search.suggest, content.code.copy]
  palette:
    - media: "(prefers-color-scheme: light)"
      scheme: default
      toggle: {{icon: material/weather-night, name: Dark}}
    - media: "(prefers-color-scheme: dark)"
      scheme: slate
      toggle: {{icon: material/weather-sunny, name: Light}}
plugins:
  - search
  - mkdocstrings:
      handlers:
        python:
          paths: [{source}]
          options:
            docstring_style: google
            docstring_options: {{warnings: false}}
            show_source: false
            show_root_heading: true
            show_root_full_path: false
            heading_level: 2
            merge_init_into_class: true
            separate_signature: true
            show_signature_annotations: true
            members_order: source
            filters: ["!^_"]
markdown_extensions:
  - tables
  - toc: {{permalink: true}}
  - pymdownx.highlight
  - pymdownx.superfences
validation:
  links: {{not_found: warn, anchors: warn, unrecognized_links: warn, absolute_links: warn}}
nav:
  - mien: index.md
  - Overview: overview.md
{nav}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "site", help="folder of the site; replaced")
    out = parser.parse_args().out.resolve()
    with tempfile.TemporaryDirectory(prefix="mien-site-") as folder:
        pages = Path(folder) / "pages"
        stage(pages)
        config = Path(folder) / "mkdocs.yml"
        config.write_text(
            CONFIG.format(pages=pages, out=out, source=ROOT / "src", nav="\n".join(navigation(pages))), encoding="utf-8"
        )
        command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", str(config)]
        failed = subprocess.run(command, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}).returncode
    if failed:
        sys.exit("the site was not built: mend the pages named above")
    print(f"site: {out / 'index.html'}; with search: {Path(sys.executable).name} -m http.server --directory {out}")


def stage(pages: Path) -> None:
    """Copy all pages and pictures into a folder, with links as they are there, and write the reference."""
    shutil.copytree(ROOT / "docs", pages)
    (pages / "README.md").unlink()  # it is overview.md here
    for name, place in PLACES.items():
        shutil.copy(ROOT / name, pages / place)
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        shutil.copy(notebook, pages / "notebooks")
    origins = {pages / place: ROOT / name for name, place in PLACES.items()}
    for page in sorted(pages.rglob("*.md")):
        origin = origins.get(page, ROOT / "docs" / page.relative_to(pages))
        page.write_text(relinked(page.read_text(encoding="utf-8"), page, origin, pages), encoding="utf-8")
    for package, names in public_names().items():
        (pages / "reference" / f"{package.replace('.', '-')}.md").write_text(
            reference(package, names), encoding="utf-8"
        )


def relinked(text: str, page: Path, origin: Path, pages: Path) -> str:
    """Return a page's text with its relative links leading from `page` where they led from `origin`."""

    def moved(link: re.Match[str]) -> str:
        if "://" in link[1] or link[1].startswith("mailto:"):
            return link[0]
        target = (origin.parent / link[1]).resolve()
        name = target.relative_to(ROOT).as_posix()
        if target.is_dir():
            name += "/README.md"
        place = PLACES.get(name, name.removeprefix("docs/"))  # of notebooks/ too, whose files are beside their pages
        if target.is_file() and not (pages / place).exists():
            (pages / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(target, pages / place)
        return os.path.relpath(pages / place, page.parent) + (link[2] or "")

    return LINK.sub(moved, text)


def public_names() -> dict[str, dict[str, str]]:
    """Return the public names of each package and public module, with the module that defines them."""
    stubs = sorted((ROOT / "src" / "mien").rglob("__init__.pyi"))
    packages = {".".join(stub.parent.relative_to(ROOT / "src").parts): stub for stub in stubs}
    modules = map(importlib.import_module, (f"mien.{name}" for name in PUBLIC_MODULES))
    names = {package: dict(exports(package, stub)) for package, stub in packages.items()}
    for module in modules:
        own = [name for name in module.__all__ if name not in names["mien"]]  # a name has one place
        names[module.__name__] = {name: f"{module.__name__}.{name}" for name in own}
    return names


def exports(package: str, stub: Path) -> Iterator[tuple[str, str]]:
    """Yield each name that a stub exports, and where it is defined."""
    for node in ast.parse(stub.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            module = f"{package}.{node.module}" if node.module else package
            yield from ((alias.name, f"{module}.{alias.name}") for alias in node.names)


def reference(package: str, names: dict[str, str]) -> str:
    """Return the page of a package or module: what it is for, then each public name with its docstring."""
    purpose = inspect.getdoc(importlib.import_module(package)) or ""
    blocks = (f"::: {path}" for _, path in sorted(names.items(), key=lambda item: item[0].lower()))
    return "\n\n".join([f"# {package}", purpose, *blocks]) + "\n"


def navigation(pages: Path) -> Iterator[str]:
    """Yield the lines of the menu: a section per folder, its README.md first."""
    for title, place in SECTIONS.items():
        if place.endswith(".md"):
            yield f"  - {title}: {place}"
            continue
        yield f"  - {title}:"
        overview = (pages / "overview.md").read_text(encoding="utf-8")
        found = sorted((pages / place).glob("*.md"), key=lambda path: _rank(path, overview))
        yield from (f"      - {path.relative_to(pages).as_posix()}" for path in found)


def _rank(page: Path, overview: str) -> tuple[bool, int, str]:
    """Return the place of a page in its section: README.md, then in the order of the overview, then by name."""
    place = overview.find(f"/{page.name})")
    return page.name != "README.md", place if place >= 0 else len(overview), page.name


if __name__ == "__main__":
    main()
