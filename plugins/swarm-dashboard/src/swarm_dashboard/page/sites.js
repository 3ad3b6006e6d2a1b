// The table of sites.

import { keyed, make, setText } from "./elements.js";
import { DASH, bytes, duration, figure, plural, whole } from "./format.js";
import { detail, look } from "./states.js";

const COLUMNS = [
  ["Site", "name left"],
  ["State", "state left"],
  ["Epochs", "left"],
  ["Loss merged", ""],
  ["Loss own", ""],
  ["Rounds", ""],
  ["Batches merged", ""],
  ["Waited", ""],
  ["Others waited for it", ""],
  ["Sent / received", ""],
];

const OWN = 4;

export class Sites {
  // `choose(name)` is called with the site that was chosen, or null.
  constructor(table, choose) {
    this.body = table.tBodies[0];
    this.choose = choose;
    const cells = COLUMNS.map(([name, kind]) => make("th", { scope: "col", role: "columnheader", class: kind.includes("left") ? "left" : null }, name));
    table.tHead.replaceChildren(make("tr", { role: "row" }, ...cells));
  }

  show(session, now, chosen) {
    const waitedFor = {};
    for (const peer of session.sites)
      for (const [name, seconds] of Object.entries(peer.waited_for)) waitedFor[name] = Math.max(waitedFor[name] ?? 0, seconds);
    const ownKnown = [...session.rounds.values()].some((rounds) => last(rounds, "own_loss") !== null);
    this.own = ownKnown ? "Loss own" : "Loss last batch";
    setText(this.body.parentElement.tHead.rows[0].cells[OWN], this.own);
    keyed(
      this.body,
      session.sites,
      (peer) => peer.name,
      (peer) => this.#row(peer),
      (row, peer) => this.#fill(row, peer, session, now, chosen, waitedFor[peer.name]),
    );
  }

  #row(peer) {
    const name = make("button", { type: "button", "aria-pressed": "false" }, peer.name);
    name.addEventListener("click", () => this.choose(name.getAttribute("aria-pressed") === "true" ? null : peer.name));
    const pill = make("span", { class: "pill" });
    const state = make("td", { role: "cell", class: "state left" }, pill, make("span", { class: "detail" }));
    const progress = make("td", { role: "cell", class: "left", "data-label": "Epochs" }, make("progress", { max: "1", "aria-label": `Progress of ${peer.name}` }), make("span"));
    const others = COLUMNS.slice(3).map(([label]) => make("td", { role: "cell", "data-label": label }));
    return make("tr", { role: "row" }, make("th", { scope: "row", role: "rowheader", class: "name left" }, name), state, progress, ...others);
  }

  #fill(row, peer, session, now, chosen, waitedFor) {
    const [head, state, progress, ...cells] = row.children;
    head.firstElementChild.setAttribute("aria-pressed", String(chosen === peer.name));
    const [pill, more] = state.children;
    const { tone, sign } = look(peer);
    pill.dataset.tone = tone;
    pill.dataset.sign = sign;
    setText(pill, peer.state);
    setText(more, detail(peer, now));
    this.#progress(progress, peer);
    const rounds = session.rounds.get(peer.name) ?? [];
    const { totals } = peer;
    const values = [
      figure(last(rounds, "loss")),
      figure(last(rounds, this.own === "Loss own" ? "own_loss" : "batch_loss")),
      peer.status || totals.rounds ? whole(totals.rounds) : DASH,
      peer.status || totals.rounds ? batches(peer) : DASH,
      share(totals.waited, totals.seconds),
      waitedFor ? duration(waitedFor) : DASH,
      `${bytes(peer.bytes_sent)} / ${bytes(peer.bytes_received)}`,
    ];
    cells.forEach((cell, at) => setText(cell, values[at]));
    cells[OWN - 3].dataset.label = this.own;
  }

  #progress(cell, peer) {
    const [bar, text] = cell.children;
    const known = peer.total_epochs !== null && peer.total_epochs > 0;
    bar.hidden = !known;
    if (known) bar.value = Math.min(peer.epoch / peer.total_epochs, 1);
    cell.title = peer.seconds_left ? `about ${duration(peer.seconds_left)} left` : "";
    setText(text, known ? `${whole(peer.epoch)}/${whole(peer.total_epochs)}` : peer.epoch ? whole(peer.epoch) : DASH);
  }
}

// The last value that a site has told.
function last(rounds, name) {
  return rounds?.findLast((round) => (round[name] ?? null) !== null)?.[name] ?? null;
}

// What a batch holds nobody tells: the samples are those of the site, where they are its weight.
function batches(peer) {
  const samples = peer.by_samples && peer.weight ? `, from ${plural(peer.weight, "sample")}` : "";
  return `${whole(peer.totals.steps)}${samples}`;
}

function share(part, all) {
  return all > 0 && part !== null ? `${duration(part)} of ${duration(all)}` : DASH;
}
