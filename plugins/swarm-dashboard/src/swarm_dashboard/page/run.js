// The run as the page knows it: what the stream, or a saved file, has told so far.

export const FORMAT = "swarm-dashboard/1";
const MOST_ROUNDS = 1200;
const AWAY = new Set(["gone", "not answering", "left", "not asked"]);

export class Session {
  constructor(name) {
    this.name = name;
    this.peers = new Map();
    this.rounds = new Map();
    this.records = [];
    this.events = [];
  }

  apply(news) {
    for (const peer of news.peers) this.#take(peer);
    for (const round of news.rounds) {
      const all = this.rounds.get(round.peer) ?? [];
      all.push(round);
      if (all.length > MOST_ROUNDS) all.splice(0, all.length - MOST_ROUNDS);
      this.rounds.set(round.peer, all);
    }
    const known = new Set(this.records.map((each) => each.record));
    this.records = [...this.records, ...news.records.filter((each) => !known.has(each.record))].slice(-2000);
    this.events = [...this.events, ...news.events].sort((a, b) => a.time - b.time).slice(-500);
  }

  // What a site tells itself is better than what the report of another one says.
  #take(peer) {
    if (peer.own !== false || !this.peers.has(peer.name)) this.peers.set(peer.name, peer);
  }

  get sites() {
    const order = new Intl.Collator("en", { numeric: true });
    return [...this.peers.values()].sort((a, b) => order.compare(a.name, b.name));
  }

  get present() {
    return this.sites.filter((peer) => !AWAY.has(peer.state));
  }

  get away() {
    return this.sites.filter((peer) => AWAY.has(peer.state));
  }

  // The record of the last round; that of the longest lineage after a fork.
  get last() {
    return this.records.reduce((last, each) => (last && last.round > each.round ? last : each), null);
  }

  // Merged rounds by number, each with what the sites told of it, the oldest first.
  get merged() {
    const found = new Map();
    for (const [peer, all] of this.rounds) {
      for (const round of all) {
        if (round.outcome === "skipped") continue;
        if (!found.has(round.round)) found.set(round.round, new Map());
        found.get(round.round).set(peer, round);
      }
    }
    return [...found].sort((a, b) => a[0] - b[0]);
  }
}

export class Run {
  constructor() {
    this.clear();
  }

  clear() {
    this.sessions = new Map();
    this.id = null;
    this.time = 0;
    this.end = null;
    this.unreachable = [];
  }

  apply(news) {
    if (news.format !== FORMAT) throw new Error(`This page reads ${FORMAT}, and that is ${news.format ?? "something else"}.`);
    if (news.complete || news.id !== this.id) this.clear();
    this.id = news.id;
    this.time = news.time;
    this.end = news.end;
    this.unreachable = news.unreachable ?? [];
    for (const each of news.sessions) {
      if (!this.sessions.has(each.name)) this.sessions.set(each.name, new Session(each.name));
      this.sessions.get(each.name).apply(each);
    }
  }

  // As one document that `apply` takes.
  document() {
    return {
      format: FORMAT,
      id: this.id,
      complete: true,
      version: 0,
      time: this.time,
      end: this.end,
      sessions: [...this.sessions.values()].map((session) => ({
        name: session.name,
        peers: [...session.peers.values()],
        rounds: [...session.rounds.values()].flat(),
        records: session.records,
        events: session.events,
      })),
    };
  }
}
