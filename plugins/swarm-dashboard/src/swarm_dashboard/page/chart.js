// One chart: a canvas by uPlot, a legend with the values at the pointer, and the same as a table.

import uPlot from "./uplot/uPlot.esm.js";
import { colour, keyed, make, rem, setText } from "./elements.js";

const TABLE_ROWS = 20;

export class Chart {
  // `unit` writes a value; `bars` draws the series as bars on top of one another.
  constructor(place, { unit, bars = false }) {
    this.unit = unit;
    this.bars = bars;
    this.legend = make("div", { class: "legend" });
    this.plot = make("div", { class: "plot", role: "img" });
    this.table = make("table");
    const region = make("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "The last rounds as a table" }, this.table);
    this.details = make("details", {}, make("summary", {}, "As a table"), region);
    this.details.addEventListener("toggle", () => this.#fillTable());
    place.append(this.legend, this.plot, this.details);
    this.made = null;
    this.shape = "";
    this.rounds = [];
    this.series = [];
    new ResizeObserver(() => this.#resize()).observe(this.plot);
  }

  // `series`: [{ name, values, colour, width, dash, quiet }], where those that are quiet have no place in the legend.
  show(rounds, series, title) {
    this.rounds = rounds;
    this.series = series;
    this.title = title;
    const shape = JSON.stringify([series.map((each) => [each.name, each.colour, each.width, each.dash]), colour("grid"), rem(1)]);
    const data = [rounds, ...this.#drawn()];
    if (!this.made || shape !== this.shape) {
      this.made?.destroy();
      this.shape = shape;
      this.made = new uPlot(this.#options(), data, this.plot);
    } else {
      this.made.setData(data);
    }
    this.#showLegend(rounds.length - 1);
    this.#describe();
    if (this.details.open) this.#fillTable();
  }

  // Bars stand on one another: the first series is drawn first, as high as all together.
  #drawn() {
    if (!this.bars) return this.series.map((each) => each.values);
    return this.series.map((_, first) =>
      this.rounds.map((__, at) => {
        const parts = this.series.slice(first).map((each) => each.values[at]);
        return parts.every((part) => part === null) ? null : parts.reduce((sum, part) => sum + (part ?? 0), 0);
      }),
    );
  }

  #options() {
    const axis = { stroke: colour("quiet"), grid: { stroke: colour("grid"), width: 1 }, ticks: { stroke: colour("grid"), width: 1, size: 4 }, font: `${rem(0.75)}px system-ui, sans-serif`, size: rem(2), gap: rem(0.3) };
    const paths = this.bars ? uPlot.paths.bars({ size: [0.7, 40] }) : undefined;
    return {
      width: Math.max(this.plot.clientWidth, 50),
      height: Math.max(this.plot.clientHeight, 50),
      legend: { show: false },
      cursor: { drag: { x: false, y: false }, points: { size: 7 }, y: false },
      scales: { x: { time: false, range: (_, low, high) => (this.bars ? [low - 0.6, high + 0.6] : low === high ? [low - 1, high + 1] : [low, high]) }, y: { range: this.bars ? (_, __, high) => [0, (high || 1) * 1.08] : (_, low, high) => this.#range(low, high) } },
      axes: [
        { ...axis, values: (_, splits) => splits.map((each) => (Number.isInteger(each) ? String(each) : "")), incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000] },
        { ...axis, size: rem(4), values: (_, splits) => splits.map((each) => this.unit(each)) },
      ],
      series: [
        {},
        ...this.series.map((each) => ({
          label: each.name,
          stroke: each.colour,
          fill: this.bars ? each.colour : undefined,
          width: this.bars ? 0 : rem(each.width / 16),
          dash: each.dash,
          spanGaps: true,
          paths,
          points: { show: !this.bars && this.rounds.length < 2 },
        })),
      ],
      hooks: { setCursor: [(made) => this.#showLegend(made.cursor.idx ?? this.rounds.length - 1)] },
    };
  }

  #range(low, high) {
    if (low === null || high === null) return [0, 1];
    const margin = (high - low) * 0.08 || Math.abs(high) * 0.1 || 1;
    return [low >= 0 ? Math.max(0, low - margin) : low - margin, high + margin];
  }

  #resize() {
    const [width, height] = [this.plot.clientWidth, this.plot.clientHeight];
    if (this.made && width && (width !== this.made.width || height !== this.made.height)) this.made.setSize({ width, height });
  }

  #named() {
    return this.series.filter((each) => !each.quiet);
  }

  #showLegend(at) {
    const round = this.rounds[at];
    const entries = [{ name: "Round", value: round === undefined ? "" : String(round) }, ...this.#named().map((each) => ({ name: each.name, colour: each.colour, value: this.unit(each.values[at]) }))];
    keyed(
      this.legend,
      this.rounds.length ? entries : [],
      (entry) => entry.name,
      (entry) => {
        const mark = entry.colour ? make("i") : null;
        return make("span", {}, mark, make("span"), make("b"));
      },
      (element, entry) => {
        const mark = element.querySelector("i");
        if (mark) mark.style.background = entry.colour;
        setText(element.querySelector("span"), entry.name);
        setText(element.querySelector("b"), entry.value);
      },
    );
  }

  #describe() {
    const at = this.rounds.length - 1;
    const now = this.#named().map((each) => `${each.name} ${this.unit(each.values[at])}`).join(", ");
    this.plot.setAttribute("aria-label", at < 0 ? `${this.title}: no round yet` : `${this.title}, ${this.rounds.length} rounds; in round ${this.rounds[at]}: ${now}`);
  }

  #fillTable() {
    if (!this.details.open) return;
    const named = this.#named();
    const head = make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "Round"), ...named.map((each) => make("th", { scope: "col" }, each.name))));
    const rows = this.rounds.map((round, at) => make("tr", {}, make("th", { scope: "row" }, String(round)), ...named.map((each) => make("td", {}, this.unit(each.values[at])))));
    this.table.replaceChildren(head, make("tbody", {}, ...rows.slice(-TABLE_ROWS).reverse()));
  }
}
