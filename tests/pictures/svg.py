"""What the drawn pictures share: colours for a light and a dark page, and a text as SVG has it."""

from __future__ import annotations

from html import escape

STYLE = """
  .card { fill: #ffffff; stroke: #d1d9e0; }
  .box { fill: #f6f8fa; stroke: #818b98; }
  .job { fill: #ddf4ff; stroke: #0969da; }
  .title, .term { fill: #1f2328; }
  .note { fill: #59636e; }
  .line { stroke: #59636e; fill: none; stroke-width: 1.5; }
  .head { fill: #59636e; }
  .bold { font-weight: 600; }
  @media (prefers-color-scheme: dark) {
    .card { fill: #0d1117; stroke: #3d444d; }
    .box { fill: #151b23; stroke: #656c76; }
    .job { fill: #121d2f; stroke: #4493f8; }
    .title, .term { fill: #f0f6fc; }
    .note { fill: #9198a1; }
    .line { stroke: #9198a1; }
    .head { fill: #9198a1; }
  }
"""
"""The card is opaque, so that the picture is read on any page, whichever of the two a browser takes."""


def document(width: float, height: float, title: str, body: str, font: str) -> str:
    """A whole picture on a card, with a title for who does not see it."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}" role="img" font-family="{font}">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n"
        f'<rect class="card" x="0.5" y="0.5" width="{width - 1:g}" height="{height - 1:g}" rx="10"/>\n{body}</svg>\n'
    )


def text(x: float, y: float, words: str, style: str, size: float, anchor: str = "start") -> str:
    return (
        f'<text class="{style}" x="{x:g}" y="{y:g}" font-size="{size:g}" text-anchor="{anchor}">'
        f"{escape(words, quote=False)}</text>\n"
    )
