// The page: follows the stream, or shows a saved file, and draws what is known.

import { Curves } from "./curves.js";
import { get, keyed, make, setText } from "./elements.js";
import { duration, names } from "./format.js";
import { showEvents, showFigures, showLedger, showRefused, showSettings } from "./panels.js";
import { isReport, newsOf } from "./report.js";
import { Run } from "./run.js";
import { Sites } from "./sites.js";
import { headline, waitingForTheFirst } from "./states.js";
import { TookPart } from "./took_part.js";

const OUTDATED = 20;
const run = new Run();
let [chosen, wanted, asked, stream] = [null, null, false, null];
let [heard, lastAsked, live] = [0, 0, "connecting"];

useTheme(localStorage.getItem("swarm-theme") ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));
const curves = new Curves();
const sites = new Sites(get("sites"), (name) => {
  chosen = name;
  draw();
});
const tookPart = new TookPart();

function draw() {
  asked = false;
  const session = shown();
  showSessions(session);
  if (!session) setText(get("now"), waitingForTheFirst(run));
  if (!session) return;
  if (chosen && !session.peers.has(chosen)) chosen = null;
  setText(get("now"), headline(session, run));
  showFigures(session);
  sites.show(session, now(), chosen);
  setText(get("sites-note"), chosen ? `${chosen} is highlighted in the charts` : "choose a site to highlight it in the charts");
  curves.show(session, chosen);
  tookPart.show(session);
  showRefused(session);
  showEvents(session);
  showLedger(session);
  showSettings(session);
}

function shown() {
  return run.sessions.get(wanted) ?? run.sessions.values().next().value;
}

function drawSoon() {
  if (!asked) requestAnimationFrame(draw);
  asked = true;
}

function showSessions(session) {
  const known = [...run.sessions.keys()].sort();
  get("session-choice").hidden = known.length < 2;
  get("session-name").hidden = known.length > 1;
  setText(get("session-name"), session?.name ?? "");
  keyed(get("session"), known, (name) => name, (name) => make("option", { value: name }, name), () => {});
  if (session) get("session").value = session.name;
  document.title = session ? `${session.name} – Swarm` : "Swarm";
}

function showLink() {
  const age = (Date.now() - heard) / 1000;
  const [text, tone, sign] = {
    connecting: ["connecting", "quiet", "○"],
    live: age > OUTDATED ? [`no news for ${duration(age)}`, "warn", "▲"] : ["live", "good", "●"],
    lost: ["the page's program does not answer", "bad", "✕"],
    ended: ["the run has ended", "quiet", "✓"],
    saved: ["a saved run", "quiet", "■"],
  }[live];
  const link = get("link");
  setText(link, text);
  link.dataset.tone = tone;
  link.dataset.sign = sign;
}

// Says aloud who has gone and who is back, and nothing of every round.
function say(news) {
  const told = news.sessions.flatMap((session) => session.events).filter((event) => / (is gone|is back|does not answer|failed)/.test(event.text));
  if (told.length && !news.complete) setText(get("said"), names(told.map((event) => event.text), 3));
}

// Peers were asked at `time`, on the clock of the page's program.
function hear(time) {
  if (time > lastAsked) heard = Date.now();
  lastAsked = time;
}

// That clock now; of a run that is over, when that was.
function now() {
  return live === "live" ? lastAsked + (Date.now() - heard) / 1000 : run.time;
}

function follow() {
  const stream = new EventSource("events");
  stream.addEventListener("message", (message) => {
    const news = JSON.parse(message.data);
    run.apply(news);
    hear(news.time);
    live = news.end ? "ended" : "live";
    if (news.end) stream.close();
    say(news);
    showLink();
    drawSoon();
  });
  stream.addEventListener("alive", (message) => hear(Number(message.data)));
  stream.addEventListener("error", () => {
    if (live !== "ended") live = "lost";
    showLink();
  });
  return stream;
}

// Shows saved runs: one that this page has saved, or the reports of one or more sites.
function showSaved(all, from) {
  run.clear();
  all.forEach((saved) => run.apply(isReport(saved) ? newsOf(saved) : { ...saved, complete: true }));
  stream?.close();
  live = "saved";
  setText(get("said"), `${from} is shown`);
  showLink();
  draw();
}

async function start() {
  const saved = await (await fetch("saved.json")).json();
  if (saved.length) showSaved(saved, "the saved run");
  else stream = follow();
}

function useTheme(theme) {
  document.documentElement.dataset.theme = theme;
  get("theme").setAttribute("aria-pressed", String(theme === "dark"));
}

get("theme").addEventListener("click", () => {
  const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  localStorage.setItem("swarm-theme", theme);
  useTheme(theme);
  draw();
});
get("session").addEventListener("change", (event) => {
  wanted = event.target.value;
  draw();
});
get("save").addEventListener("click", () => {
  const file = new Blob([JSON.stringify(run.document())], { type: "application/json" });
  const link = make("a", { href: URL.createObjectURL(file), download: "swarm-run.json" });
  link.click();
  URL.revokeObjectURL(link.href);
});
get("open").addEventListener("change", async (event) => {
  const files = [...event.target.files];
  const from = names(files.map((file) => file.name), 5);
  try {
    showSaved(await Promise.all(files.map(async (file) => JSON.parse(await file.text()))), from);
  } catch (error) {
    setText(get("now"), `${from} cannot be shown: ${error.message}`);
  }
  event.target.value = "";
});
new ResizeObserver(drawSoon).observe(get("took-part"));
setInterval(() => {
  showLink();
  const session = shown();
  if (session && live === "live") sites.show(session, now(), chosen);
}, 1000);
start();
