// What the charts show: numbers of all sites by round.

import { Chart } from "./chart.js";
import { colour, get, make } from "./elements.js";
import { bytes, duration, figure, whole } from "./format.js";

const LOSS = "Loss";
const TRAINING = "Training loss of the last batch";

export class Curves {
  constructor() {
    this.quality = new Chart(get("quality"), { unit: figure });
    this.seconds = new Chart(get("seconds"), { unit: duration, bars: true });
    this.bytes = new Chart(get("bytes"), { unit: bytes, bars: true });
    this.batches = new Chart(get("batches"), { unit: whole, bars: true });
    this.measure = get("measure");
    this.wanted = null;
    this.measure.addEventListener("change", () => {
      this.wanted = this.measure.value;
      this.again?.();
    });
  }

  show(session, chosen) {
    this.again = () => this.show(session, chosen);
    const merged = session.merged;
    const rounds = merged.map(([number]) => number);
    for (const scope of document.querySelectorAll("[data-scope]")) scope.textContent = chosen ?? "mean of the sites that tell it";
    this.#quality(session, merged, rounds, chosen);
    const mean = (pick) => merged.map(([, told]) => average(told, pick, chosen));
    const waited = mean((round) => round.waited);
    const exchanged = mean((round) => round.exchanged);
    const rest = mean((round) => (round.seconds === null ? null : Math.max(round.seconds - (round.waited ?? 0) - (round.exchanged ?? 0), 0)));
    this.seconds.show(rounds, [
      { name: "waiting for others", values: waited, colour: colour("waiting") },
      { name: "exchanging weights", values: exchanged, colour: colour("exchanging") },
      { name: "copying, loading, validating", values: rest, colour: colour("loading") },
    ], "Seconds per round");
    this.bytes.show(rounds, [
      { name: "sent", values: mean((round) => round.bytes_sent), colour: colour("exchanging") },
      { name: "received", values: mean((round) => round.bytes_received), colour: colour("loading") },
    ], "Bytes per round");
    this.batches.show(rounds, [{ name: "batches", values: mean((round) => round.steps), colour: colour("exchanging") }], "Batches merged per round");
  }

  #quality(session, merged, rounds, chosen) {
    const measures = this.#measures(merged);
    const options = measures.join("\n");
    if (options !== this.options) {
      this.options = options;
      this.measure.replaceChildren(...measures.map((name) => make("option", { value: name }, name)));
    }
    const measure = measures.includes(this.wanted) ? this.wanted : measures[0];
    this.measure.value = measure;
    const [ofMerged, ofOwn] = picks(measure);
    const many = session.sites.length > 1;
    const lines = many
      ? session.sites.map((peer) => ({
          name: peer.name,
          values: merged.map(([, told]) => value(told.get(peer.name), ofMerged)),
          colour: chosen === peer.name ? colour("site") : `${colour("third")}${session.sites.length > 8 ? "38" : "99"}`,
          width: chosen === peer.name ? 2.5 : 1,
          quiet: chosen !== peer.name,
        }))
      : [];
    lines.sort((a, b) => Number(b.quiet) - Number(a.quiet));
    const own = merged.map(([, told]) => average(told, ofOwn, chosen));
    const name = measure === TRAINING ? "mean of the sites" : chosen ? "mean of the merged model" : "merged model, mean of the sites";
    const series = [...lines, { name, values: merged.map(([, told]) => average(told, ofMerged, null)), colour: colour("accent"), width: chosen ? 1.5 : 2.5, dash: chosen ? [2, 3] : undefined }];
    if (own.some((each) => each !== null)) series.push({ name: chosen ? `own model of ${chosen}` : "own models before the merge, mean", values: own, colour: colour("second"), width: 2, dash: [7, 4] });
    this.quality.show(rounds, series, measure);
  }

  // Losses and metrics that any site tells.
  #measures(merged) {
    const found = new Set();
    let [loss, training] = [false, false];
    for (const [, told] of merged)
      for (const round of told.values()) {
        loss ||= round.loss !== null || round.own_loss !== null;
        training ||= round.batch_loss !== null;
        Object.keys(round.metrics).forEach((name) => found.add(name));
      }
    return [...(loss ? [LOSS] : []), ...[...found].sort(), ...(training ? [TRAINING] : []), ...(loss || training || found.size ? [] : [LOSS])];
  }
}

function picks(measure) {
  if (measure === LOSS) return [(round) => round.loss, (round) => round.own_loss];
  if (measure === TRAINING) return [(round) => round.batch_loss, () => null];
  return [(round) => round.metrics[measure] ?? null, (round) => round.own_metrics[measure] ?? null];
}

function value(round, pick) {
  return round ? (pick(round) ?? null) : null;
}

function average(told, pick, chosen) {
  if (chosen) return value(told.get(chosen), pick);
  const values = [...told.values()].map(pick).filter((each) => each !== null && each !== undefined);
  return values.length ? values.reduce((sum, each) => sum + each, 0) / values.length : null;
}
