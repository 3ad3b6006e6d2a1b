// A saved `swarm-report.json` as the news of a run: what one site has told, of itself and of the others.

import { FORMAT } from "./run.js";

export const isReport = (saved) => typeof saved?.swarm_report === "number";

export function newsOf(report) {
  if (report.swarm_report !== 1) throw new Error(`it is a report of form ${report.swarm_report}, and this page reads form 1`);
  const rounds = report.rounds.map((round) => roundOf(round, report.site));
  const names = new Set([report.site, ...Object.keys(report.sites), ...report.rounds.flatMap((round) => round.group)]);
  return {
    format: FORMAT,
    id: `report ${report.session}`,
    complete: false,
    version: 0,
    time: report.ended,
    end: { time: report.ended },
    sessions: [
      {
        name: report.session,
        peers: [...names].map((name) => peerOf(name, report)),
        rounds,
        records: report.rounds.filter((round) => round.outcome !== "skipped").map((round) => recordOf(round, report)),
        events: eventsOf(report),
      },
    ],
  };
}

const list = (value) => (Array.isArray(value) ? value : Object.keys(value ?? {}));

function roundOf(round, site) {
  return {
    ...round,
    peer: site,
    time: round.at,
    steps: round.steps[site] ?? null,
    waited_for: list(round.waited_for),
    exchanged: round.exchanged ?? null,
    loss: round.merged?.loss ?? null,
    metrics: round.merged?.metrics ?? {},
    own_loss: round.own?.loss ?? null,
    own_metrics: round.own?.metrics ?? {},
    batch_loss: round.batch_loss ?? null,
  };
}

function recordOf(round, report) {
  return {
    time: round.at,
    record: `${report.lineage} ${round.round} ${round.digest}`,
    hash: "", // a report has that of the last record only
    round: round.round,
    lineage: report.lineage,
    kind: round.outcome === "closed" ? "closing" : "round",
    closing: round.outcome === "closed",
    digest: round.digest,
    group: round.group,
    contributors: round.weights,
    refused: Object.entries(round.refused).map(([peer, reason]) => ({ peer, reason })),
    removed: [],
  };
}

// When and how a site has gone that was not back for the last round; undefined for the others.
function goneOf(name, report) {
  const last = report.rounds.findLast((round) => round.outcome !== "skipped");
  const told = report.happenings.findLast((each) => each.peer === name && each.what !== "failed");
  return ["left", "lost"].includes(told?.what) && !last?.group.includes(name) ? told : undefined;
}

function peerOf(name, report) {
  const own = name === report.site;
  const gone = own ? undefined : goneOf(name, report);
  const { totals } = report;
  const site = report.sites[name] ?? {};
  const settings = own ? report.settings : {};
  return {
    name,
    own,
    state: own ? "ended" : gone ? { left: "left", lost: "gone" }[gone.what] : "in the report",
    since: gone?.at ?? report.ended,
    left_out: false,
    waits_for: [],
    address: "",
    round: report.round,
    epoch: own ? report.epochs || null : null,
    total_epochs: null,
    seconds_left: null,
    weight: site.weight ?? null,
    by_samples: report.settings.node_weightage?.value === "samples",
    bytes_sent: own ? totals.bytes_sent : null,
    bytes_received: own ? totals.bytes_received : null,
    settings: Object.fromEntries(Object.entries(settings).map(([key, each]) => [key, String(each.value ?? "none")])),
    origins: Object.fromEntries(Object.entries(settings).map(([key, each]) => [key, String(each.origin)])),
    totals: { rounds: site.rounds ?? null, steps: site.steps ?? null, seconds: own ? totals.rounds : 0, waited: own ? totals.waited : null, exchanged: 0 },
    waited_for: own && !Array.isArray(totals.waited_for) ? totals.waited_for : {},
    result: own ? { closing: report.closing, round: report.round, digest: report.digest, file: report.file, sentence: report.sentence } : {},
  };
}

function eventsOf(report) {
  const said = { joined: "is there", returned: "is back", left: "has left", lost: "is gone" };
  const events = report.happenings.map((each) => ({
    time: each.at,
    peer: each.peer,
    text: said[each.what] ? `${each.peer} ${said[each.what]}` : `round ${each.round}: an attempt was aborted: ${each.reason}`,
    warning: each.what === "lost" || each.what === "failed",
  }));
  const skipped = report.rounds.filter((round) => round.outcome === "skipped").map((round) => ({ time: round.at, peer: report.site, text: `round ${round.round} skipped: ${round.reason}`, warning: true }));
  return [...events, ...skipped, { time: report.ended, peer: report.site, text: report.sentence, warning: false }];
}
