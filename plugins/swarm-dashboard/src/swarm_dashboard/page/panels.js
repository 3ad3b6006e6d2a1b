// Figures, refusals, log, ledger and settings.

import { get, keyed, make, setText } from "./elements.js";
import { DASH, bytes, clock, duration, figure, names, plural, whole } from "./format.js";
import { lastRound } from "./states.js";

const SHOWN = { events: 200, records: 50, refused: 50 };

export function showFigures(session) {
  const { sites, present } = session;
  const last = session.last;
  const round = session.merged.at(-1);
  const losses = (told, pick) => [...(told?.[1].values() ?? [])].map(pick).filter((each) => each !== null && each !== undefined);
  // The closing round has no batches, and a validation may still run.
  const newest = (pick) => session.merged.findLast((told) => losses(told, pick).length);
  const validated = newest((each) => each.loss);
  const mean = (values) => (values.length ? values.reduce((sum, each) => sum + each, 0) / values.length : null);
  const loss = mean(losses(validated, (each) => each.loss));
  const own = mean(losses(validated, (each) => each.own_loss));
  const batch = mean(losses(newest((each) => each.batch_loss), (each) => each.batch_loss));
  const sum = (pick) => sites.reduce((total, peer) => total + (pick(peer) ?? 0), 0);
  const left = Math.max(...sites.map((peer) => peer.seconds_left ?? -1));
  const epochs = sites.map((peer) => peer.epoch).filter((epoch) => epoch !== null);
  const least = epochs.length ? Math.min(...epochs) : null;
  const totals = sites.map((peer) => peer.total_epochs ?? 0);
  const waited = sum((peer) => peer.totals.waited);
  const stood = sum((peer) => peer.totals.seconds);
  const items = [
    ["Rounds merged", whole(lastRound(session)), last ? `${plural(last.group.length, "site")} in the last one` : "none yet"],
    ["Sites here", `${present.length} of ${sites.length}`, session.away.length ? `away: ${names(session.away.map((peer) => peer.name))}` : "nobody is missing"],
    loss !== null
      ? ["Loss, merged model", figure(loss), own !== null ? `own models before the merge: ${figure(own)}` : "mean of the sites' validation data"]
      : ["Loss, last batches", figure(batch), "mean of the sites; no validation data"],
    ["Epochs", totals.some(Boolean) ? `${whole(least)}/${Math.max(...totals)}` : whole(least), left > 0 ? `about ${duration(left)} left` : least === null ? "not told" : "of the site that is least far"],
    [sites.every((peer) => peer.bytes_sent !== null) ? "Sent by all sites" : "Sent by the sites that tell it", bytes(sum((peer) => peer.bytes_sent)), round ? `${bytes(mean(losses(round, (each) => each.bytes_sent)))} per site in the last round` : "nothing yet"],
    ["Time in rounds", duration(sites.length ? stood / sites.length : null), stood > 0 ? `per site, ${Math.round((100 * waited) / stood)} % of it waiting` : "per site"],
  ];
  keyed(
    get("figures"),
    items,
    ([name]) => name.split(/,| by /)[0],
    () => make("div", {}, make("dt"), make("dd"), make("dd")),
    (element, texts) => texts.forEach((text, at) => setText(element.children[at], text)),
  );
}

export function showRefused(session) {
  const place = get("refused");
  const refused = session.records.flatMap((record) => record.refused.map((each) => ({ ...each, round: record.round, key: `${record.record} ${each.peer}` }))).reverse().slice(0, SHOWN.refused);
  if (!refused.length) {
    if (!place.querySelector(".empty")) place.replaceChildren(make("p", { class: "empty" }, "None so far."));
    return;
  }
  let body = place.querySelector("tbody");
  if (!body) {
    const head = make("tr", {}, ...["Round", "Site", "Reason"].map((name) => make("th", { scope: "col", class: "left" }, name)));
    body = make("tbody");
    place.replaceChildren(make("table", { class: "refusals" }, make("thead", {}, head), body));
  }
  keyed(body, refused, (each) => each.key, (each) => make("tr", {}, make("td", {}, String(each.round)), make("td", {}, each.peer), make("td", {}, each.reason)), () => {});
}

export function showEvents(session) {
  const events = session.events.slice(-SHOWN.events).reverse();
  keyed(
    get("events"),
    events,
    (event) => `${event.time} ${event.peer} ${event.text}`,
    (event) => make("li", { "data-warning": event.warning }, make("time", { datetime: new Date(1000 * event.time).toISOString() }, clock(event.time)), make("span", {}, event.text)),
    () => {},
  );
}

export function showLedger(session) {
  const table = get("ledger");
  if (!table.tHead.rows.length) {
    const columns = ["Round", "Kind", "Contributed", "Model", "Record"];
    table.tHead.append(make("tr", {}, ...columns.map((name, at) => make("th", { scope: "col", class: at ? "left" : null }, name))));
  }
  keyed(
    table.tBodies[0],
    session.records.slice(-SHOWN.records).reverse(),
    (record) => record.record,
    (record) => {
      const who = Object.keys(record.contributors);
      const all = who.length === record.group.length;
      const told = all ? `all ${record.group.length}` : `${who.length} of ${record.group.length}`;
      return make(
        "tr",
        {},
        make("td", {}, String(record.round)),
        make("td", { class: "left" }, record.closing ? "closing" : record.kind),
        make("td", { class: "left", title: names(who, 64) }, told),
        make("td", { class: "left" }, make("code", { title: record.digest }, record.digest.slice(0, 12))),
        make("td", { class: "left" }, record.hash === "" ? DASH : make("code", { title: record.record }, record.record.slice(0, 12))),
      );
    },
    () => {},
  );
}

export function showSettings(session) {
  const table = get("settings");
  if (!table.tHead.rows.length) table.tHead.append(make("tr", {}, ...["Setting", "Value", "Where from"].map((name) => make("th", { scope: "col", class: "left" }, name))));
  const values = new Map();
  for (const peer of session.sites)
    for (const [name, value] of Object.entries(peer.settings)) {
      const row = values.get(name) ?? { name, value, origins: new Map() };
      const origin = peer.origins[name] ?? "not told";
      row.origins.set(origin, [...(row.origins.get(origin) ?? []), peer.name]);
      values.set(name, row);
    }
  keyed(
    table.tBodies[0],
    [...values.values()],
    (row) => row.name,
    (row) => make("tr", {}, make("td", {}, make("code", {}, row.name)), make("td", { class: "left" }), make("td", { class: "left" })),
    (element, row) => {
      setText(element.children[1], row.value);
      setText(element.children[2], [...row.origins].map(([origin, who]) => (row.origins.size === 1 ? origin : `${origin} (${names(who)})`)).join(", "));
    },
  );
}
