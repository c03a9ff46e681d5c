// Training curves, the numbers by epoch and augmented training crops.

const PANELS = [
  ["Loss", 220, [["train_loss", "train", "blue"], ["val_loss", "val", "orange"]]],
  ["Validation scores", 220, [["val_miou", "mIoU", "blue"], ["val_pixel_accuracy", "pixel accuracy", "grey"]], 1],
  ["Learning rate", 120, [["learning_rate", "", "blue"]]],
  ["Training images per second", 120, [["images_per_second", "", "blue"]]],
];
const MOST_DOTS = 30; // more would only thicken the line

function ticks(highest, most) {
  const rough = highest / most, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= rough) * power;
  return Array.from({ length: Math.floor(highest / step + 1e-9) + 1 }, (_, index) => index * step);
}

function showTraining() {
  const { history } = data;
  if (!history) {
    find("training-note").textContent = data.history_note;
    find("history").remove();
    return;
  }
  const best = history.find((row) => row.epoch === metrics.checkpoint_epoch);
  const last = history.at(-1).epoch;
  const isBest = history.every((row) => row.val_miou === null || row.val_miou <= best.val_miou);
  find("training-note").textContent =
    `${isBest ? "Best validation" : "Validation"} mIoU ${score(best.val_miou)} in epoch ${best.epoch} of ${last}; ` +
    "this is the model scored here.";
  for (const panel of PANELS) find("curves").append(curvePanel(panel, history, best, isBest ? "best" : "model"));

  const columns = Object.keys(history[0]);
  const head = make("tr", {}, ...columns.map((name) => make("th", { scope: "col" }, name.replaceAll("_", " "))));
  const rows = history.map((row) => make("tr", {}, ...columns.map((name) => make("td", {}, cell(row[name])))));
  const body = make("tbody");
  body.append(...rows);
  find("history").querySelector("div").append(make("table", {}, make("thead", {}, head), body));
}

const cell = (value) => (typeof value === "boolean" ? (value ? "yes" : "") : short(value));

function curvePanel([title, height, series, top], history, best, name) {
  const caption = make("figcaption", {}, make("h3", {}, title));
  const values = series.map(([key, name, colour]) => {
    const label = make("span", { class: "series", style: `--colour:var(--${colour})` });
    caption.append(label);
    return { label, name, points: history.filter((row) => row[key] !== null).map((row) => [row.epoch, row[key]]) };
  });
  const epochLabel = make("span", { class: "epoch" });
  caption.append(epochLabel);
  const figure = make("figure", {}, caption);
  const say = (epoch) => {
    epochLabel.textContent = `epoch ${epoch}`;
    for (const { label, name, points } of values) {
      const point = points.findLast(([at]) => at <= epoch);
      label.textContent = `${name} ${point ? short(point[1]) : "–"}`.trim();
    }
  };
  const first = history[0].epoch, last = history.at(-1).epoch;
  const highest = top ?? (1.08 * Math.max(0, ...values.flatMap(({ points }) => points.map(([, value]) => value))) || 1);

  const plot = () => {
    const width = figure.clientWidth, left = 46, right = 10, above = 10, below = 24;
    const margin = Math.max(0.5, 0.03 * (last - first));
    const x = (epoch) => left + ((epoch - first + margin) / (last - first + 2 * margin)) * (width - left - right);
    const y = (value) => height - below - (value / highest) * (height - above - below);
    const box = `0 0 ${width} ${height}`;
    const svg = draw("svg", { viewBox: box, height, role: "img", "aria-label": `${title} by epoch` });
    for (const tick of ticks(highest, height > 150 ? 5 : 2)) {
      svg.append(draw("line", { class: "grid", x1: left, x2: width - right, y1: y(tick), y2: y(tick) }),
        draw("text", { x: left - 8, y: y(tick) + 4, "text-anchor": "end" }, short(tick)));
    }
    for (const tick of ticks(last, 8)) {
      if (Number.isInteger(tick) && tick >= first)
        svg.append(draw("text", { x: x(tick), y: height - 6, "text-anchor": "middle" }, String(tick)));
    }
    const cursor = draw("line", { class: "cursor", y1: above, y2: height - below, visibility: "hidden" });
    svg.append(cursor);
    for (const [index, { points }] of values.entries()) {
      const group = draw("g", { style: `--colour:var(--${series[index][2]})` });
      const line = points.map(([at, value]) => `${x(at)},${y(value)}`).join(" ");
      group.append(draw("polyline", { class: "curve", points: line }));
      if (points.length <= MOST_DOTS)
        for (const [at, value] of points) group.append(draw("circle", { class: "dot", cx: x(at), cy: y(value), r: 3 }));
      svg.append(group);
    }
    if (series[0][0] === "val_miou") {
      const side = best.epoch > (first + last) / 2 ? "end" : "start";
      svg.append(draw("circle", { class: "best", cx: x(best.epoch), cy: y(best.val_miou), r: 6.5 }),
        draw("text", { class: "best-label", x: x(best.epoch) + (side === "end" ? -2 : 2),
          y: y(best.val_miou) + (best.val_miou < 0.8 ? -13 : 22), "text-anchor": side },
        `${name} ${score(best.val_miou)}, epoch ${best.epoch}`));
    }
    svg.addEventListener("pointermove", (event) => {
      const at = (event.offsetX - left) / (width - left - right) * (last - first + 2 * margin) - margin + first;
      const epoch = Math.min(last, Math.max(first, Math.round(at)));
      for (const name of ["x1", "x2"]) cursor.setAttribute(name, x(epoch));
      cursor.setAttribute("visibility", "visible");
      say(epoch);
    });
    svg.addEventListener("pointerleave", () => {
      cursor.setAttribute("visibility", "hidden");
      say(last);
    });
    return svg;
  };
  say(last);
  keepDrawn(figure, plot);
  return figure;
}

function showCrops() {
  if (!data.crops.length) {
    find("crops").remove();
    return;
  }
  for (const { id, image } of data.crops)
    find("crops").querySelector("div").append(make("img", { src: image, alt: `Crop of ${id}`, title: id }));
}

showTraining();
showCrops();
