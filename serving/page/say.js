// Numbers and times in words, with their units.

export const DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const MINUTE = 60_000;

export const percent = (share) => `${share >= 0.1 || share === 0 ? Math.round(100 * share) : (100 * share).toFixed(1)} %`;
export const count = (value) => Math.round(value).toLocaleString("en-US");
export const number = (value, digits = 3) => (value === null || value === undefined ? "–" : value.toFixed(digits));
export const many = (value, word) => `${count(value)} ${word}${value === 1 ? "" : "s"}`;

export function duration(ms) {
  const sizes = [
    [365.25 * 86_400_000, "years"],
    [86_400_000, "days"],
    [3_600_000, "h"],
    [MINUTE, "min"],
    [1000, "s"],
  ];
  const [size, unit] = sizes.find(([one]) => ms >= one) ?? [1, "ms"];
  const value = ms / size;
  return `${value < 10 ? value.toFixed(1).replace(/\.0$/, "") : Math.round(value)} ${unit}`;
}

/** A moment on the clock of somebody `offset` minutes ahead of UTC. */
export function clock(ms, offset) {
  const local = new Date(ms + offset * MINUTE);
  const [date, time] = local.toISOString().split("T");
  return { day: (local.getUTCDay() + 6) % 7, hour: local.getUTCHours(), date, time: time.slice(0, 5) };
}

export function moment(ms, offset = 0) {
  const { day, date, time } = clock(ms, offset);
  return `${DAYS[day].slice(0, 3)} ${date} ${time}`;
}

/** The first full hour of that weekday and hour at or after a moment, as epoch ms. */
export function next(ms, offset, day, hour) {
  const local = new Date(ms + offset * MINUTE);
  const midnight = Date.UTC(local.getUTCFullYear(), local.getUTCMonth(), local.getUTCDate());
  const days = (day - ((local.getUTCDay() + 6) % 7) + 7) % 7;
  const found = midnight + days * 86_400_000 + hour * 3_600_000 - offset * MINUTE;
  return found >= ms ? found : found + 7 * 86_400_000;
}
