"""How the page of a report looks: light and dark, from 360 pixels on."""

from __future__ import annotations

STYLE = """
:root { --back: #fbfbfa; --card: #fff; --text: #1d2420; --dim: #5b6660; --line: #dfe3e0; --own: #9a5b00;
  --merged: #0b6e4f; --wait: #c8553d; --rest: #6c8fb3; --best: #5b3fa8; color-scheme: light dark; }
@media (prefers-color-scheme: dark) { :root { --back: #14181a; --card: #1c2225; --text: #e6ebe8; --dim: #9aa7a0;
  --line: #333c3f; --own: #e8b060; --merged: #5ed3a5; --wait: #f08a72; --rest: #8fb4da; --best: #b9a4f5; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--text); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 1.25rem; }
header p { margin: 0; color: var(--dim); overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 0 0 .75rem; }
section { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: 1rem 1.1rem;
  margin: 1rem 0; }
.gain { font-size: 1.1rem; border-left: .3rem solid var(--merged); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .75rem 1.25rem; margin: 0; }
section p { margin: 0; } section .note { margin-top: .6rem; }
.tiles div { display: flex; flex-direction: column; justify-content: space-between; }
.tiles dt { color: var(--dim); font-size: .85rem; }
.tiles dd { margin: 0; font-size: 1.2rem; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .75rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--dim); font-weight: 600; }
td.n, th.n { text-align: right; white-space: nowrap; }
td.long { overflow-wrap: anywhere; min-width: 9rem; }
code { font-size: .85em; overflow-wrap: anywhere; }
svg { width: 100%; height: auto; display: block; }
svg text { fill: var(--dim); font: 12px system-ui, sans-serif; }
svg .grid { stroke: var(--line); }
svg polyline { fill: none; stroke-width: 2; stroke-linejoin: round; }
polyline.own { stroke: var(--own); stroke-dasharray: 5 3; } polyline.merged { stroke: var(--merged); }
circle.own, rect.own { fill: var(--own); } circle.merged, rect.merged { fill: var(--merged); }
rect.wait { fill: var(--wait); } rect.rest { fill: var(--rest); }
.key { display: flex; flex-wrap: wrap; gap: .2rem 1.25rem; margin: .25rem 0 .75rem; padding: 0; list-style: none;
  color: var(--dim); font-size: .9rem; }
.key i { display: inline-block; width: 1.4rem; height: 0; border-top: .25rem solid; vertical-align: middle;
  margin-right: .4rem; }
.key .own { border-color: var(--own); border-top-style: dashed; } .key .merged { border-color: var(--merged); }
.key .wait { border-color: var(--wait); } .key .rest { border-color: var(--rest); }
details > summary { cursor: pointer; font-weight: 600; }
details[open] > summary { margin-bottom: .75rem; }
.note { color: var(--dim); font-size: .9rem; }
@media (max-width: 32rem) { main { padding: .75rem; } svg text { font-size: 20px; } }
@media print { section { break-inside: avoid; } }
"""
