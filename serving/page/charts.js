// Charts as SVG: lines over time, fading memories, an hour map, a place map, a vector. Units are in the labels.

import { svg } from "./dom.js";
import { DAYS } from "./say.js";

const STEPS = 40;
const text = (x, y, said, kind = "") => svg("text", { x, y, class: `tick ${kind}` }, said);
const line = (x1, y1, x2, y2, kind) => svg("line", { x1, y1, x2, y2, class: kind });

/** A drawing of this size with a text for those who do not see it. */
export const drawing = (width, height, label, ...children) =>
  svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label, class: "chart" }, children);

export function scale(from, to, low, high) {
  const by = (high - low) / (to - from || 1);
  return (value) => low + (value - from) * by;
}

/** Round values between two, some five of them. */
export function ticks(low, high, about = 4) {
  const rough = (high - low) / about || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= rough);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-9; value += step) found.push(value);
  return { found, digits: Math.max(0, -Math.floor(Math.log10(step))) };
}

/**
 * Lines over a common x: series are {name, kind, points: [[x, y], ...]}, y of null is a gap.
 * `marks` are x of alarms, with what they say; `inX` says an x.
 */
export function lines(label, series, { unit = "", marks = [], inX = String, width = 520, height = 190 } = {}) {
  const points = series.flatMap((one) => one.points.filter(([, y]) => y !== null));
  if (!points.length) return null;
  const xs = points.map(([x]) => x);
  const ys = points.map(([, y]) => y);
  const [left, right, top, bottom] = [46, width - 8, 10, height - 22];
  const low = Math.min(...ys);
  const high = Math.max(...ys);
  const room = (high - low || Math.abs(high) || 1) * 0.08;
  const least = low >= 0 ? Math.max(0, low - room) : low - room;
  const toX = scale(Math.min(...xs), Math.max(...xs), left, right);
  const toY = scale(least, high + room, bottom, top);
  const { found, digits } = ticks(least, high + room);
  const grid = found.map((y) => [line(left, toY(y), right, toY(y), "grid"), text(left - 6, toY(y) + 4, `${y.toFixed(digits)}${unit}`, "end")]);
  const ends = [text(left, height - 6, inX(Math.min(...xs))), text(right, height - 6, inX(Math.max(...xs)), "end")];
  const flags = marks.map(({ x, said, kind }) => svg("g", { class: `mark ${kind}` }, svg("title", {}, said), line(toX(x), top, toX(x), bottom, ""), svg("circle", { cx: toX(x), cy: top, r: 3.5 })));
  const drawn = series.map((one) => svg("path", { d: path(one.points, toX, toY), class: `line ${one.kind}` }, svg("title", {}, one.name)));
  return drawing(width, height, label, grid, ends, flags, drawn);
}

function path(points, toX, toY) {
  let pen = "M";
  return points
    .map(([x, y]) => {
      if (y === null) {
        pen = "M";
        return "";
      }
      const step = `${pen}${toX(x).toFixed(1)} ${toY(y).toFixed(1)}`;
      pen = "L";
      return step;
    })
    .join("");
}

/** What is left of each memory, [{lastMs, strengthS, said}], from a time until another, and what will be until a third. */
export function fading(label, memories, [fromMs, atMs, untilMs], inX) {
  const [width, height, left, right, top, bottom] = [520, 190, 46, 512, 10, 168];
  const toX = scale(fromMs, untilMs, left, right);
  const toY = scale(0, 1, bottom, top);
  const grid = [0, 0.5, 1].map((y) => [line(left, toY(y), right, toY(y), "grid"), text(left - 6, toY(y) + 4, `${100 * y} %`, "end")]);
  const curves = memories.map(({ lastMs, strengthS, said }) => {
    const left = (ms) => Math.exp(-(ms - lastMs) / 1000 / strengthS);
    const curve = (from, until, kind) => {
      const points = Array.from({ length: STEPS + 1 }, (_, step) => from + ((until - from) * step) / STEPS);
      return svg("path", { d: path(points.map((ms) => [ms, left(ms)]), toX, toY), class: `fade ${kind}` });
    };
    const now = svg("circle", { cx: toX(atMs), cy: toY(left(atMs)), r: 3.2 });
    return svg("g", { class: "memory" }, svg("title", {}, said), curve(lastMs, atMs, ""), curve(atMs, untilMs, "ahead"), now);
  });
  return drawing(width, height, label, grid, text(left, height - 6, inX(fromMs)), text(right, height - 6, inX(untilMs), "end"), line(toX(atMs), top, toX(atMs), bottom, "now"), curves);
}

/** Weights by weekday and hour (168 of them, Monday first); `at` is the cell that is asked for. */
export function hours(label, weights, at, chosen) {
  const [cell, left, top] = [20, 34, 16];
  const most = Math.max(...weights, 1e-9);
  const cells = weights.map((weight, place) => {
    const [day, hour] = [Math.floor(place / 24), place % 24];
    const box = { x: left + hour * cell, y: top + day * cell, width: cell - 2, height: cell - 2, rx: 3 };
    const said = `${DAYS[day]} ${hour}:00, ${weight.toFixed(2)} of a memory`;
    return svg(
      "g",
      { class: "hour", onclick: () => chosen(day, hour) },
      svg("title", {}, said),
      svg("rect", { ...box, class: "floor" }),
      weight > 0 && svg("rect", { ...box, class: "heat", "fill-opacity": (0.15 + 0.85 * Math.sqrt(weight / most)).toFixed(2) }),
      place === at && svg("rect", { ...box, class: "asked" }),
    );
  });
  const days = DAYS.map((day, number) => text(left - 6, top + number * cell + 14, day.slice(0, 3), "end"));
  const clock = [0, 6, 12, 18].map((hour) => text(left + hour * cell, 11, `${hour}:00`));
  return drawing(left + 24 * cell, top + 7 * cell, label, days, clock, cells);
}

/** Places as dots on a plane: [{lat, lon, weight, said, here}]. */
export function places(label, found, chosen) {
  const [width, height, edge] = [520, 220, 22];
  const middle = Math.cos((found.reduce((sum, one) => sum + one.lat, 0) / found.length) * (Math.PI / 180)) || 1;
  const xs = found.map((one) => one.lon * middle);
  const ys = found.map((one) => one.lat);
  const span = Math.max((Math.max(...xs) - Math.min(...xs)) / (width - 2 * edge), (Math.max(...ys) - Math.min(...ys)) / (height - 2 * edge), 1e-6);
  const [midX, midY] = [(Math.max(...xs) + Math.min(...xs)) / 2, (Math.max(...ys) + Math.min(...ys)) / 2];
  const most = Math.max(...found.map((one) => one.weight), 1e-9);
  const dots = found.map((one, place) =>
    svg(
      "circle",
      {
        cx: width / 2 + (xs[place] - midX) / span,
        cy: height / 2 - (ys[place] - midY) / span,
        r: 4 + 12 * Math.sqrt(one.weight / most),
        class: one.here ? "spot here" : "spot",
        onclick: () => chosen(place),
      },
      svg("title", {}, one.said),
    ),
  );
  const km = span * 100 * 111.2;
  const rule = [line(12, height - 14, 112, height - 14, "axis"), text(12, height - 19, km >= 1 ? `${km.toPrecision(2)} km` : `${Math.round(km * 1000)} m`)];
  return drawing(width, height, label, dots, rule);
}

/** The numbers of a vector as a strip of cells, above zero and below it in two colours. */
export function strip(label, vector) {
  const most = Math.max(...vector.map(Math.abs), 1e-9);
  const wide = 520 / vector.length;
  const cells = vector.map((value, place) =>
    svg("rect", { x: place * wide, y: 0, width: Math.max(wide - 0.6, 0.6), height: 14, class: value < 0 ? "below" : "above", "fill-opacity": Math.abs(value / most).toFixed(2) }, svg("title", {}, `${place + 1}: ${value.toFixed(3)}`)),
  );
  return drawing(520, 14, label, cells);
}
