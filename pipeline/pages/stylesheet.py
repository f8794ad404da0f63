"""How the pages look that commands make: by day and by night, on a phone, on a desk and on paper."""

from __future__ import annotations

from typing import Final

STYLE: Final = """
:root {
  color-scheme: light dark;
  --paper: #ffffff; --panel: #f5f6f8; --ink: #1c2127; --muted: #5b6570; --line: #dcdfe4;
  --accent: #1f66ad; --good: #1b7f5a; --warn: #9a5b00; --bad: #b3312a;
  --series-1: #2a6fb0; --series-2: #d9812e; --series-3: #2f9a76; --series-4: #8d63b8; --series-5: #c0504d;
  --series-6: #7a8591;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14181d; --panel: #1d2329; --ink: #e8ebee; --muted: #a3adb8; --line: #333b44;
    --accent: #7ab8f5; --good: #62cda2; --warn: #edb45c; --bad: #f28b82;
    --series-1: #6fb1ec; --series-2: #f0a860; --series-3: #62cda2; --series-4: #c3a0ea; --series-5: #f08a85;
    --series-6: #a3adb8;
  }
}
@media print {
  :root {
    --paper: #ffffff; --panel: #f5f6f8; --ink: #000000; --muted: #444444; --line: #bbbbbb;
    --accent: #1f66ad; --good: #1b7f5a; --warn: #9a5b00; --bad: #b3312a;
    --series-1: #2a6fb0; --series-2: #d9812e; --series-3: #2f9a76; --series-4: #8d63b8; --series-5: #c0504d;
    --series-6: #7a8591;
  }
}
* { box-sizing: border-box; }
html { background: var(--paper); -webkit-text-size-adjust: 100%; }
body {
  margin: 0 auto; padding: 1.5rem 1.25rem 4rem; max-width: 54rem;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif;
  color: var(--ink); background: var(--paper);
}
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; margin: 3rem 0 .5rem; padding-top: 1rem; border-top: 1px solid var(--line); }
h3 { font-size: 1.05rem; margin: 1.75rem 0 .1rem; }
p { margin: .25rem 0 .75rem; max-width: 44rem; }
a { color: var(--accent); }
.note, .lead { color: var(--muted); }
.lead { max-width: none; }
.lead, .note, h3 { overflow-wrap: anywhere; }
nav { display: flex; flex-wrap: wrap; gap: .25rem 1rem; margin: 1rem 0 0; }
figure { margin: 0; break-inside: avoid; }
svg { display: block; max-width: 100%; height: auto; }
.chart.narrow { display: none; }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); gap: .75rem; margin: 1.25rem 0; }
.tile { background: var(--panel); border-radius: .5rem; padding: .6rem .8rem; break-inside: avoid; }
.tile b { display: block; font-size: 1.3rem; line-height: 1.4; white-space: nowrap; }
.tile span { color: var(--muted); font-size: .85rem; line-height: 1.35; display: block; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; margin: .5rem 0 1rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .9rem .3rem 0; border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--muted); white-space: nowrap; }
td { overflow-wrap: anywhere; min-width: 8.6rem; }
td.long { min-width: 12rem; }
td.number, td.time, td.word, td:empty { min-width: 0; }
td.word { white-space: nowrap; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.time { white-space: nowrap; font-variant-numeric: tabular-nums; }
td.share {
  background: color-mix(in srgb, var(--series-1) calc(var(--share) * 70%), transparent);
  padding-right: .6rem; padding-left: .6rem;
}
details { margin: .25rem 0 .5rem; }
summary { color: var(--muted); font-size: .9rem; cursor: pointer; }
pre {
  background: var(--panel); border-radius: .4rem; padding: .6rem .8rem; margin: .25rem 0 1rem; font-size: .8rem;
  line-height: 1.45; white-space: pre-wrap; overflow-wrap: anywhere;
}
.good { color: var(--good); } .warn { color: var(--warn); } .bad { color: var(--bad); }
footer { margin-top: 3rem; color: var(--muted); font-size: .85rem; }
.wide { max-width: 76rem; }
.wide td.time { white-space: normal; min-width: 6.4rem; }
.graph { max-width: none; }
.graph text { font: 12px/1 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: var(--ink); }
.graph .edge { fill: none; stroke-width: 1.6; }
.graph .edge.merged, .badge.merged circle { stroke: var(--good); }
.graph .edge.relabelled, .badge.relabelled circle { stroke: var(--accent); }
.graph .edge.ignored, .badge.ignored circle { stroke: var(--warn); }
.graph .edge.ignored { stroke-dasharray: 4 3; }
.graph marker path { fill: context-stroke; }
.graph .id > circle { fill: var(--good); }
.graph .label > circle { fill: var(--ink); }
.graph .label > text { font-weight: 700; }
.graph .asked > text { text-decoration: underline; }
.graph .outside > circle { fill: none; stroke: var(--muted); stroke-width: 1.5; }
.graph .outside > text { fill: var(--muted); }
.graph .badge circle { fill: var(--paper); stroke-width: 1.4; }
.graph .badge text { font-size: 9.5px; text-anchor: middle; }
.key { font-weight: 600; }
.key.merged { color: var(--good); } .key.relabelled { color: var(--accent); } .key.ignored { color: var(--warn); }
@media (max-width: 52rem) {
  .chart.wide { display: none; }
  .chart.narrow { display: block; }
  body { padding: 1rem .9rem 3rem; }
}
@media print {
  @page { margin: 15mm; }
  body { max-width: none; padding: 0; font-size: 10.5pt; }
  nav, details { display: none; }
  .scroll { overflow: visible; }
  .graph { max-width: 100%; }
  .chart.wide { display: block; }
  .chart.narrow { display: none; }
  h2, h3 { break-after: avoid; }
  tr, pre, .short { break-inside: avoid; }
  td.time, .wide td.time { white-space: normal; min-width: 4.5rem; }
  table { font-size: 8pt; }
  th { white-space: normal; }
  th, td { padding-right: .5rem; }
  td { min-width: 5rem; }
  td.long { min-width: 7rem; }
  td.number, td.word, td:empty { min-width: 0; }
  td.share, .tile, pre { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""
