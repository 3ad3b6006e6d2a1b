// Numbers and times as the page writes them.

export const DASH = "–";

export function figure(value, digits = 4) {
  if (value === null || value === undefined) return DASH;
  if (value === 0) return "0";
  return Math.abs(value) >= 1e-3 && Math.abs(value) < 1e6 ? String(Number(value.toPrecision(digits))) : value.toExponential(2);
}

export function whole(value) {
  return value === null || value === undefined ? DASH : Math.round(value).toLocaleString("en");
}

export function bytes(value) {
  if (value === null || value === undefined) return DASH;
  for (const unit of ["B", "kB", "MB", "GB"]) {
    if (value < 1000) return `${unit === "B" ? value.toFixed(0) : value.toFixed(1)} ${unit}`;
    value /= 1000;
  }
  return `${value.toFixed(1)} TB`;
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return DASH;
  if (seconds < 0.1) return `${(1000 * seconds).toFixed(0)} ms`;
  if (seconds < 1) return `${Number(seconds.toPrecision(2))} s`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 90) return `${seconds.toFixed(0)} s`;
  if (seconds < 5400) return `${(seconds / 60).toFixed(0)} min`;
  return `${Math.floor(seconds / 3600)} h ${String(Math.round((seconds % 3600) / 60)).padStart(2, "0")} min`;
}

export function clock(time) {
  return new Date(1000 * time).toLocaleTimeString("en-GB");
}

export function names(list, most = 3) {
  if (list.length > most + 1) return `${list.slice(0, most).join(", ")} and ${list.length - most} more`;
  if (list.length < 2) return list.join("");
  return `${list.slice(0, -1).join(", ")} and ${list[list.length - 1]}`;
}

export function plural(count, one, many = `${one}s`) {
  return `${whole(count)} ${count === 1 ? one : many}`;
}
