// The states of a site in words, with a sign and a tone: none is told by colour alone.

import { duration, names } from "./format.js";

const TONES = [
  [/^(gone|not answering)$/, "bad", "✕"],
  [/^failed/, "bad", "✕"],
  [/^stopped$/, "warn", "■"],
  [/^left$/, "warn", "○"],
  [/^not asked$/, "quiet", "○"],
  [/^(ended|closed)$/, "good", "✓"],
  [/^finished/, "good", "✓"],
  [/^training/, "good", "●"],
  [/^waiting$/, "warn", "◔"],
  [/^(merging|voting)$/, "busy", "⇄"],
  [/^catching up$/, "busy", "↻"],
];

export function look(peer) {
  const [, tone, sign] = TONES.find(([form]) => form.test(peer.state)) ?? [null, "quiet", "○"];
  return { tone, sign };
}

export function detail(peer, now) {
  const since = duration(Math.max(now - peer.since, 0));
  if (/^(gone|not answering|left)$/.test(peer.state)) return `since ${since}`;
  if (peer.left_out) return "left out after failed attempts";
  if (peer.waits_for.length && /^(waiting|merging)$/.test(peer.state)) return `for ${names(peer.waits_for, 2)}`;
  return "";
}

// The headline: what happens now, in a sentence.
export function headline(session, run) {
  const { present, away, last } = session;
  const closing = session.records.find((record) => record.closing);
  const failed = session.sites.filter((peer) => /^failed/.test(peer.state));
  const said = session.sites.filter((peer) => peer.result.sentence);
  if (said.length === 1) return said[0].result.sentence;
  if (run.end || (session.sites.length && session.sites.every((peer) => peer.state === "ended"))) {
    if (failed.length) return `The run has ended; ${names(failed.map((peer) => peer.name))} failed.`;
    return closing || session.sites.some((peer) => peer.result.closing) ? `The run has ended: all sites share the closing model${last ? ` of round ${lastRound(session)}` : ""}.` : "The run has ended.";
  }
  const gone = away.filter((peer) => peer.state !== "not asked");
  const without = gone.length ? ` ${names(gone.map((peer) => peer.name))} ${gone.length === 1 ? "is" : "are"} away.` : "";
  if (!last) return present.length ? `${names(present.map((peer) => peer.name))} ${present.length === 1 ? "is" : "are"} here; the training has not started.` : waitingForTheFirst(run);
  const next = last.round + 1;
  const merging = present.filter((peer) => /^(merging|voting)$/.test(peer.state));
  if (merging.length === present.length && merging.length > 2) return `Round ${next}: all ${present.length} sites that are here merge now.${without}`;
  if (merging.length) return `Round ${next}: ${names(merging.map((peer) => peer.name))} ${merging.length === 1 ? "merges" : "merge"} now.${without}`;
  const awaited = new Set(present.filter((peer) => peer.state === "waiting").flatMap((peer) => peer.waits_for));
  const waiting = present.filter((peer) => peer.state === "waiting");
  if (waiting.length && awaited.size) return `Round ${next}: ${names(waiting.map((peer) => peer.name))} ${waiting.length === 1 ? "waits" : "wait"} for ${names([...awaited].sort())}.${without}`;
  const training = present.filter((peer) => /^training/.test(peer.state));
  if (training.length && training.length === session.sites.length) return `${training.length === 1 ? "The only site trains" : `All ${training.length} sites train`}; round ${next} is the next merge.`;
  if (training.length) return `${training.length} of ${session.sites.length} sites train; round ${next} is the next merge.${without}`;
  return `${present.length} of ${session.sites.length} sites are here, after round ${last.round}.${without}`;
}

// Nobody has told anything yet: why not, where somebody was asked.
export function waitingForTheFirst(run) {
  const [first] = run.unreachable;
  return first ? `Waiting for the first peer. ${names(run.unreachable.map((each) => each.address), 3)} ${run.unreachable.length === 1 ? "does" : "do"} not answer: ${first.reason}` : "Waiting for the first peer.";
}

export function lastRound(session) {
  return Math.max(session.last?.round ?? 0, ...session.sites.map((peer) => peer.result.round ?? 0));
}
