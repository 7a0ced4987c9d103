"""Pages of one file: templates, and what fills them."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined, Template


def template(name: str) -> Template:
    """A template of this folder; what is put into it is taken for text, not for HTML."""
    environment = Environment(
        loader=PackageLoader("devias.reporting", "html"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)
