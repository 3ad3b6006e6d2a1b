// Who took part in which rounds: a row for each site, a column for each round.

import { colour, get, make, rem } from "./elements.js";
import { names, plural } from "./format.js";

const MOST = 120;

export class TookPart {
  constructor() {
    this.place = get("took-part");
    this.canvas = make("canvas", { role: "img" });
    this.place.append(this.canvas);
    get("took-part-note").append(...["contributed", "took part", "left out", "absent"].map((name) => make("span", { class: "key" }, make("i", { "data-key-of": name }), name)));
  }

  show(session) {
    const order = session.sites.map((peer) => peer.name);
    const records = session.records.filter((record) => record.kind !== "founding").slice(-MOST);
    const colours = { contributed: colour("exchanging"), "took part": `${colour("exchanging")}66`, "left out": colour("waiting"), absent: colour("missing") };
    for (const mark of document.querySelectorAll("[data-key-of]")) mark.style.background = colours[mark.dataset.keyOf];
    const context = this.canvas.getContext("2d");
    const [CELL, GAP, LINE] = [Math.round(rem(0.82)), Math.round(rem(0.2)), Math.round(rem(1.1))];
    const font = `${rem(0.78)}px system-ui, sans-serif`;
    context.font = font;
    const label = Math.min(Math.max(0, ...order.map((name) => context.measureText(name).width)) + rem(0.8), rem(9));
    const room = Math.max(8, Math.floor((this.place.clientWidth - rem(2.2) - label) / (CELL + GAP)));
    const shown = records.slice(-room);
    const [width, height] = [label + shown.length * (CELL + GAP), order.length * (CELL + GAP) + LINE];
    const ratio = window.devicePixelRatio || 1;
    Object.assign(this.canvas, { width: Math.max(width, 1) * ratio, height: height * ratio });
    Object.assign(this.canvas.style, { width: `${width}px`, height: `${height}px` });
    context.scale(ratio, ratio);
    context.font = font;
    context.textBaseline = "middle";
    order.forEach((name, row) => {
      const y = row * (CELL + GAP);
      context.fillStyle = colour("text");
      context.fillText(name, 0, y + CELL / 2, label - rem(0.5));
      shown.forEach((record, column) => {
        context.fillStyle = colours[part(record, name)];
        context.beginPath();
        context.roundRect(label + column * (CELL + GAP), y, CELL, CELL, 2.5);
        context.fill();
      });
    });
    context.fillStyle = colour("quiet");
    let free = 0;
    shown.forEach((record, column) => {
      const x = label + column * (CELL + GAP);
      if (x >= free && (column === 0 || record.round % 5 === 0)) {
        context.fillText(String(record.round), x, height - LINE / 2);
        free = x + context.measureText(String(record.round)).width + rem(0.9);
      }
    });
    const absent = order.filter((name) => shown.some((record) => part(record, name) === "absent"));
    this.canvas.setAttribute("aria-label", shown.length ? `${plural(shown.length, "round")}, ${plural(order.length, "site")}; ${absent.length ? `absent from some: ${names(absent, 8)}` : "all sites took part in all of them"}` : "no round yet");
  }
}

function part(record, name) {
  if (record.refused.some((each) => each.peer === name)) return "left out";
  if (name in record.contributors) return "contributed";
  return record.group.includes(name) ? "took part" : "absent";
}
