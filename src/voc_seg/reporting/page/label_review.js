// Regions whose label is in doubt: mask and model side by side; the most suspicious images; the classes.

const MODES = ["given", "suggested", "image"];
let galleryMode = "given"; // of the viewer at first

const named = (index) => [swatch(classes[index].colour), classes[index].name];

const numbers = (region) => `${plural(region.pixels, "pixel")}, confidence ${percent(region.confidence)} %`;

// The text below the title of the enlarged crop.
function facts(region) {
  const [left, top, right, bottom] = region.box;
  return `Labelled ${classes[region.given].name}; the model predicts ${classes[region.suggested].name}. ` +
    `${numbers(region)}, from (${left}, ${top}) to (${right}, ${bottom})` +
    `${region.mask_file ? ` of ${region.mask_file}` : ""} (${region.split}).`;
}

const legend = (region, mode) => mode === "image" ? []
  : [[classes[region[mode]].colour, classes[region[mode]].name, mode === "given" ? "in the mask" : "by the model"]];

function side(region, mode, who) {
  return make("span", {}, view(region, mode, "lazy"),
    make("span", { class: "label" }, make("span", { class: "who" }, who), make("span", {}, ...named(region[mode]))));
}

const pair = (region) => make("span", { class: "pair" }, side(region, "given", "mask"), side(region, "suggested", "model"));

function filterRegions() {
  const given = find("given-filter").value, suggested = find("suggested-filter").value;
  const wanted = find("search").value.trim().toLowerCase();
  showOnly(images.filter((region) => (given === "" || region.given === Number(given)) &&
    (suggested === "" || region.suggested === Number(suggested)) && region.id.toLowerCase().includes(wanted)));
}

function showRegions() {
  const many = plural(data.total_regions, "region"), more = data.total_regions > images.length;
  find("lead").textContent = `${data.data}, ${data.where}: ` + (data.total_regions
    ? `in ${whole(data.suspicious_images)} of ${plural(data.total_images, "image")}, the model confidently contradicts ` +
      `the mask in ${many}.`
    : `no label error found in ${plural(data.total_images, "image")}.`);
  find("gallery-note").textContent =
    (more ? `The ${whole(images.length)} most suspicious of ${many}; label_issues.csv has all. ` : "") +
    "Left: the mask as it is. Right: the prediction. One of them is wrong, and it may be the prediction. " +
    (data.seen_in_training ? "The model was trained on images of train: it has learnt some of their errors, and does " +
      "not see these. " : "") +
    "Click a region to enlarge it; the arrow keys move between regions.";
  const used = [...new Set(images.flatMap((region) => [region.given, region.suggested]))].sort((a, b) => a - b);
  find("colours").append(make("li", {}, make("span", { class: "dashed", "aria-hidden": "true" }), "the region"),
    ...used.map((index) => make("li", {}, ...named(index), index ? "" : " (no outline)")));
  for (const key of ["given", "suggested"]) {
    for (const [index, { name }] of classes.entries()) {
      const count = images.filter((region) => region[key] === index).length;
      if (count) find(`${key}-filter`).append(make("option", { value: index }, `${name} (${whole(count)})`));
    }
  }
  buildCards(pair);
  for (const id of ["given-filter", "suggested-filter", "search"]) find(id).addEventListener("input", filterRegions);
  filterRegions();
}

function fillTable(id, heads, rows) {
  find(id).append(make("thead", {}, make("tr", {}, ...heads.map((name) => make("th", { scope: "col" }, name)))),
    make("tbody", {}, ...rows.map((cells) => make("tr", {}, ...cells.map((cell) => make("td", {}, ...[cell].flat()))))));
}

function showTables() {
  const shown = data.image_rows.length;
  find("suspicious-note").textContent =
    (shown < data.total_images ? `The ${whole(shown)} with the lowest label quality; label_quality.csv has all. ` : "") +
    "The label quality is a mean of the probabilities of the labels in which doubtful pixels count most, from 0 to 1.";
  fillTable("image-table", ["image", "split", "label quality", "pixels in doubt, %", "regions"], data.image_rows.map(
    (row) => [row.image_id, row.split, score(row.label_quality), percent(row.suspicious_share), whole(row.regions)]));
  fillTable("class-rows", ["class", "threshold", "found by the model, %", "regions with this label"], data.class_rows.map(
    (row) => [named(row.index), score(row.threshold), percent(row.recall),
      row.judged ? whole(row.regions) : make("span", { class: "absent" }, "not judged")]));
}

showRegions();
showTables();
