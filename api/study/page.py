"""The HTML around a report's figures: no script, no font and no picture from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from api.study.figures import Figure

_STYLE = """
:root{color-scheme:light}
body{font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;color:#222;background:#fff;margin:0}
main{max-width:820px;margin:0 auto;padding:32px 24px 64px}
h1{font-size:26px;margin:0 0 4px}h2{font-size:20px;margin:44px 0 8px;border-bottom:1px solid #d8dbe0}
h3{font-size:16px;margin:26px 0 6px}figure{margin:22px 0 30px;break-inside:avoid}
figcaption{color:#445;font-size:13px}figure h3{margin:0 0 4px}
svg{max-width:100%;height:auto;font-family:inherit}
.legend{margin:2px 0 4px;font-size:12px;line-height:1.7}.legend span{margin-right:14px;white-space:nowrap}
.legend svg{margin-right:4px;vertical-align:-1px}
nav a{margin-right:14px;font-size:14px;white-space:nowrap}a{color:#0b5cad}
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:12.5px;width:100%}
th,td{text-align:left;padding:3px 10px 3px 0;border-bottom:1px solid #e8eaee;vertical-align:top}
th{color:#556;font-weight:600}
"""


def page(title: str, summary: str, sections: Mapping[str, Sequence[Figure]], tables: str) -> str:
    """Return the document; sections without figures are left out."""
    present = {name: figures for name, figures in sections.items() if figures}
    links = "".join(f'<a href="#{_anchor(name)}">{escape(name)}</a>' for name in present)
    body = "".join(
        f'<h2 id="{_anchor(name)}">{escape(name)}</h2>' + "".join(map(_figure, figures))
        for name, figures in present.items()
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>"
        f"<h1>{escape(title)}</h1>{summary}<nav>{links}</nav>{body}{tables}</main></body></html>\n"
    )


def _anchor(name: str) -> str:
    return name.lower().replace(" ", "-")


def _figure(made: Figure) -> str:
    caption = f"<figcaption>{escape(made.caption)}</figcaption>"
    return f"<figure><h3>{escape(made.title)}</h3>{made.body}{caption}</figure>"


def table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; the cells are HTML already."""
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
