"use strict";

// All data enters the page as text nodes and attributes, so no name or id can become markup.
const data = JSON.parse(document.getElementById("data").textContent);
const { metrics, baseline, classes } = data;
const find = (id) => document.getElementById(id);

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function draw(tag, attributes = {}, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return element;
}

const score = (value) => (value === null ? "absent" : value.toFixed(3));
const percent = (value) => (value === null ? "–" : (100 * value).toFixed(1));
const whole = (value) => value.toLocaleString("en");
const short = (value) => (value === null ? "–" : String(Number(value.toPrecision(4))));
const plural = (count, word) => `${whole(count)} ${word}${count === 1 ? "" : "s"}`;

function track(value, marks) {
  const bar = make("div", { class: "track", "aria-hidden": "true" });
  if (value !== null) bar.append(make("i", { style: `width:${100 * value}%` }));
  for (const mark of marks) if (mark !== null) bar.append(make("b", { style: `left:${100 * mark}%` }));
  return bar;
}

function swatch(colour) {
  return make("span", { class: "swatch", style: `background:${colour}`, "aria-hidden": "true" });
}

/* ---- Scores and settings ---- */

function showScores() {
  document.title = `${data.title}: mIoU ${score(metrics.miou)}`;
  find("lead").textContent =
    `${data.title}. Scored on ${plural(metrics.images, "image")} of ${metrics.split}, ` +
    (metrics.longer_side ? `reduced to a longer side of ${metrics.longer_side} pixels. ` : "each at its own size. ") +
    `The mIoU is the mean over ${metrics.classes_present} of ${classes.length} classes` +
    (data.at_baseline ? "; it is no better than predicting background everywhere." : ".") +
    (metrics.trained_longer_side === undefined ? "" :
      ` The model was trained at data.longer_side=${metrics.trained_longer_side}: these images reached it at another ` +
      "scale, so the score is not comparable with that of the training.");
  const names = [
    ["miou", "mIoU"], ["pixel_accuracy", "Pixel accuracy"], ["mean_class_accuracy", "Mean class accuracy"],
    ["frequency_weighted_iou", "Frequency-weighted IoU"],
  ];
  for (const [key, name] of names) {
    find("score-list").append(
      make("div", { class: "score", id: `score-${key}` }, make("span", { class: "name" }, name),
        make("strong", { class: "value" }, score(metrics[key])), track(metrics[key], [baseline[key]]),
        make("span", { class: "baseline" }, `all background ${score(baseline[key])}`)));
  }
}

function showSettings() {
  for (const [title, values] of data.settings) {
    const list = make("dl");
    for (const [name, value] of values) list.append(make("dt", {}, name), make("dd", {}, value));
    find("setting-list").append(make("section", {}, make("h3", {}, title), list));
  }
  document.querySelector("#settings details").open = innerWidth > 600;
}

/* ---- Training curves ---- */

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
  find("training-note").textContent =
    `Best validation mIoU ${score(best.val_miou)} in epoch ${best.epoch} of ${last}; this is the model scored here.`;
  for (const panel of PANELS) find("curves").append(curvePanel(panel, history, best));

  const columns = Object.keys(history[0]);
  const head = make("tr", {}, ...columns.map((name) => make("th", { scope: "col" }, name.replaceAll("_", " "))));
  const rows = history.map((row) => make("tr", {}, ...columns.map((name) => make("td", {}, cell(row[name])))));
  const body = make("tbody");
  body.append(...rows);
  find("history").querySelector("div").append(make("table", {}, make("thead", {}, head), body));
}

const cell = (value) => (typeof value === "boolean" ? (value ? "yes" : "") : short(value));

function curvePanel([title, height, series, top], history, best) {
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
        `best ${score(best.val_miou)}, epoch ${best.epoch}`));
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
    figure.querySelector("svg")?.remove();
    figure.append(svg);
  };
  say(last);
  let drawn = 0;
  new ResizeObserver(() => {
    if (figure.clientWidth !== drawn) {
      drawn = figure.clientWidth;
      plot();
    }
  }).observe(figure);
  return figure;
}

/* ---- Classes ---- */

function showClasses() {
  const pixels = data.class_scores.reduce((sum, row) => sum + row.true_pixels, 0) || 1;
  const absent = data.class_scores.filter((row) => row.iou === null).length;
  find("classes-note").textContent =
    "From best to worst. The orange mark is the mIoU, the mean over the classes that occur " +
    `(${metrics.classes_present} of ${classes.length}). ` +
    `${absent ? "Absent classes are neither true nor predicted anywhere. " : ""}Click a name to see its images.`;
  const heads = ["class", "", "IoU %", "prec %", "recall %", "true %"];
  find("class-table").append(make("thead", {}, make("tr", {}, ...heads.map((name, index) =>
    make("th", index === 1 ? { class: "bars" } : { scope: "col" }, name)))));
  const body = make("tbody");
  const rows = data.class_scores.map((row, index) => ({ ...row, index })).sort((a, b) => (b.iou ?? -1) - (a.iou ?? -1));
  for (const row of rows) {
    const { name, colour } = classes[row.index];
    const link = make("a", { href: "#gallery" }, swatch(colour), name);
    link.addEventListener("click", () => {
      find("class-filter").value = row.index;
      arrange();
    });
    const gone = row.iou === null;
    const bar = make("td", { class: "bars" }, gone ? "" : track(row.iou, [metrics.miou]));
    const shares = [row.precision, row.recall, row.true_pixels / pixels].map(percent);
    const cells = [gone ? "absent" : percent(row.iou), ...shares]
      .map((text) => make("td", text === "absent" ? { class: "absent" } : {}, text));
    const head = make("th", { scope: "row" }, gone ? make("span", {}, swatch(colour), name) : link);
    body.append(make("tr", {}, head, bar, ...cells));
  }
  find("class-table").append(body);
}

/* ---- Confusion matrix ---- */

function showConfusion() {
  const totals = data.confusion.map((row) => row.reduce((sum, count) => sum + count, 0));
  const head = make("tr", {}, make("td", { style: "background:none" }));
  for (const { name } of classes) head.append(make("th", { scope: "col", title: name }, make("span", {}, name)));
  const body = make("tbody");
  const pairs = [];
  for (const [row, counts] of data.confusion.entries()) {
    const line = make("tr", {}, make("th", { scope: "row", title: classes[row].name }, classes[row].name));
    if (!totals[row]) {
      line.append(make("td", { class: "never", colspan: classes.length }, make("span", {}, "never true")));
    } else {
      for (const [column, count] of counts.entries()) {
        const share = count / totals[row];
        const text = share >= 0.01 ? String(Math.round(100 * share)) : "";
        const shown = make("td", { "data-row": row, "data-column": column }, text);
        // A square-root scale, or the interesting confusions of a few per cent would look white.
        if (share > 0) shown.style.setProperty("--heat-share", Math.sqrt(share).toFixed(3));
        if (share > 0.5) shown.classList.add("strong");
        if (row === column) shown.classList.add("right");
        else if (share > 0) pairs.push([share, row, column]);
        line.append(shown);
      }
    }
    body.append(line);
  }
  find("matrix").style.setProperty("--cell", `${Math.min(64, Math.max(27, Math.round(680 / classes.length)))}px`);
  find("matrix").append(make("table", {}, make("thead", {}, head), body));

  const showCell = (event) => {
    const { row, column } = event.target.dataset;
    if (row === undefined) return;
    const count = data.confusion[row][column];
    const verb = row === column ? "found" : `predicted as ${classes[column].name}`;
    const share = `${percent(count / totals[row])} % of its ${whole(totals[row])} pixels (${whole(count)})`;
    find("cell").textContent = `${classes[row].name} ${verb}: ${share}`;
  };
  for (const name of ["pointerover", "click"]) body.addEventListener(name, showCell);

  pairs.sort((a, b) => b[0] - a[0]);
  for (const [share, row, column] of pairs.slice(0, 12)) {
    find("confusions").append(make("li", {},
      make("span", {}, `${classes[row].name} → ${classes[column].name}`), make("span", {}, `${percent(share)} %`)));
  }
  if (!pairs.length) find("confusions").append(make("li", {}, "none"));
}

/* ---- Gallery ---- */

const MODES = ["image", "truth", "prediction", "errors"];
const cards = new Map(); // by image
const images = data.images;
let visible = [];
let galleryMode = "prediction";
let viewerMode = "prediction";
let opened = null;

const address = (image, ending) => `${encodeURIComponent(data.folder)}/${encodeURIComponent(image.id)}${ending}`;

function view(image, mode, loading) {
  const shape = image.height > image.width ? "view tall" : "view";
  const below = make("img", { class: "below", alt: "", loading, src: address(image, ".jpg") });
  const element = make("span", { class: shape }, below, make("img", { class: "mask", alt: "", loading }));
  setMode(element, image, mode);
  return element;
}

function setMode(element, image, mode) {
  element.dataset.mode = mode;
  // A mask is fetched only when it is shown.
  if (mode !== "image") element.lastChild.src = address(image, `.${mode}.png`);
}

function toggle(place, current, choose) {
  for (const mode of MODES) {
    const button = make("button", { type: "button", "aria-pressed": mode === current }, mode);
    button.addEventListener("click", () => choose(mode));
    place.append(button);
  }
}

function press(place, mode) {
  for (const button of place.children) button.setAttribute("aria-pressed", button.textContent === mode);
}

const iouOf = (image, index) => image.classes.find(([of]) => of === index)?.[1] ?? null;

function numbers(image, chosen) {
  const own = chosen === null ? "" : ` · ${classes[chosen].name} ${score(iouOf(image, chosen))}`;
  return `mIoU ${score(image.miou)}${own}`;
}

function arrange() {
  const text = find("class-filter").value, chosen = text === "" ? null : Number(text);
  const wanted = find("search").value.trim().toLowerCase();
  for (const option of find("order").options) option.disabled = chosen === null && option.value.endsWith("class");
  if (find("order").selectedOptions[0].disabled) find("order").value = "miou";
  const order = find("order").value, descending = order.startsWith("-"), key = order.replace("-", "");
  const value = (image) => (key === "class" ? iouOf(image, chosen) : image[key]);
  const before = (a, b) => {
    const [left, right] = [value(a), value(b)];
    if (left === right) return 0;
    if (left === null || right === null) return left === null ? 1 : -1; // absent scores come last, either way
    return (left < right ? -1 : 1) * (descending ? -1 : 1);
  };
  visible = images.filter((image) =>
    (chosen === null || iouOf(image, chosen) !== null) && image.id.toLowerCase().includes(wanted)).sort(before);
  const shown = new Set(visible);
  for (const image of images) cards.get(image).hidden = !shown.has(image);
  for (const image of visible) {
    const card = cards.get(image), said = numbers(image, chosen);
    card.querySelector(".numbers").textContent = said;
    card.setAttribute("aria-label", `${image.id}, ${said}`);
  }
  find("cards").append(...visible.map((image) => cards.get(image)));
  find("count").textContent = visible.length === images.length ? plural(images.length, "image")
    : `${whole(visible.length)} of ${plural(images.length, "image")}`;
  stand(visible[0]);
}

// Only one card is in the Tab order; arrow keys move among the cards, so nobody has to tab through a thousand.
function stand(image, focus = false) {
  for (const card of find("cards").querySelectorAll('[tabindex="0"]')) card.tabIndex = -1;
  if (!image) return;
  cards.get(image).tabIndex = 0;
  if (focus) cards.get(image).focus();
}

function showGallery() {
  for (const [index, { name }] of classes.entries()) {
    const count = images.filter((image) => iouOf(image, index) !== null).length;
    if (count) find("class-filter").append(make("option", { value: index }, `${name} (${whole(count)})`));
  }
  for (const image of images) {
    const card = make("button", { class: "card", type: "button", tabindex: -1, "data-id": image.id },
      view(image, galleryMode, "lazy"), make("span", { class: "id" }, image.id), make("span", { class: "numbers" }));
    card.addEventListener("click", () => openViewer(image));
    card.addEventListener("focus", () => stand(image));
    cards.set(image, card);
  }
  toggle(find("gallery-mode"), galleryMode, (mode) => {
    galleryMode = mode;
    press(find("gallery-mode"), mode);
    for (const [image, card] of cards) setMode(card.firstChild, image, mode);
  });
  for (const id of ["class-filter", "order", "search"]) find(id).addEventListener("input", arrange);
  find("cards").addEventListener("keydown", (event) => {
    const columns = getComputedStyle(find("cards")).gridTemplateColumns.split(" ").length;
    const at = visible.findIndex((image) => cards.get(image) === document.activeElement);
    const last = visible.length - 1;
    const target = {
      ArrowLeft: at - 1, ArrowRight: at + 1, ArrowUp: at - columns, ArrowDown: at + columns, Home: 0, End: last,
    }[event.key];
    if (at < 0 || target === undefined) return;
    event.preventDefault();
    if (target >= 0 && target <= last) stand(visible[target], true);
  });
  arrange();
}

/* ---- Viewer ---- */

function openViewer(image) {
  opened = image;
  const position = visible.indexOf(image);
  find("viewer-title").textContent = image.id;
  find("viewer-note").textContent =
    `mIoU ${score(image.miou)}, pixel accuracy ${score(image.accuracy)}, void ${percent(image.void)} %, ` +
    `${image.width} × ${image.height}. Image ${whole(position + 1)} of ${whole(visible.length)}.`;
  find("viewer-picture").replaceChildren(view(image, viewerMode, "eager"));
  find("previous").disabled = position <= 0;
  find("next").disabled = position >= visible.length - 1;
  showMode(viewerMode);
  fade();
  if (!find("viewer").open) find("viewer").showModal();
}

function showMode(mode) {
  viewerMode = mode;
  press(find("viewer-mode"), mode);
  const picture = find("viewer-picture").firstChild;
  setMode(picture, opened, mode);
  picture.setAttribute("role", "img");
  picture.setAttribute("aria-label", `${mode} of ${opened.id}`);
  find("fade").disabled = mode === "image";
  const entries = mode === "errors"
    ? [[data.colours.right, "right"], [data.colours.wrong, "wrong"], [data.colours.void, "void"]]
    : opened.classes.map(([index, iou]) => [classes[index].colour, classes[index].name, `IoU ${score(iou)}`]);
  if (mode !== "errors" && opened.void > 0) entries.push([data.colours.unlabelled, "void"]);
  find("legend").replaceChildren(...entries.map(([colour, name, iou]) =>
    make("li", {}, swatch(colour), name, iou ? make("span", { class: "iou" }, iou) : "")));
}

function fade() {
  find("viewer-picture").firstChild.style.setProperty("--fade", find("fade").value / 100);
}

function step(by) {
  const image = visible[visible.indexOf(opened) + by];
  if (image) openViewer(image);
}

function showViewer() {
  toggle(find("viewer-mode"), viewerMode, showMode);
  find("fade").addEventListener("input", fade);
  find("previous").addEventListener("click", () => step(-1));
  find("next").addEventListener("click", () => step(1));
  find("close").addEventListener("click", () => find("viewer").close());
  find("viewer").addEventListener("click", (event) => {
    if (event.target === find("viewer")) find("viewer").close(); // the backdrop
  });
  find("viewer").addEventListener("close", () => stand(opened, true));
  find("viewer").addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const sliding = event.target === find("fade");
    if (event.key === "ArrowLeft" && !sliding) step(-1);
    else if (event.key === "ArrowRight" && !sliding) step(1);
    else if (MODES[event.key - 1]) showMode(MODES[event.key - 1]);
    else return;
    event.preventDefault();
  });
}

showScores();
showSettings();
showTraining();
showClasses();
showConfusion();
showGallery();
showViewer();
