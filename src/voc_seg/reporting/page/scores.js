// Scores, settings and IoU by class.

function showScores() {
  document.title = `${data.title}: mIoU ${score(metrics.miou)}`;
  find("lead").textContent =
    `${data.title}. Scored on ${plural(metrics.images, "image")} of ${metrics.split}, ` +
    (metrics.longer_side ? `reduced to a longer side of ${metrics.longer_side} pixels. ` : "each at its own size. ") +
    `The mIoU is the mean over ${metrics.classes_present} of ${classes.length} classes` +
    (data.at_baseline ? `; it is no better than predicting ${classes[0].name} everywhere.` : ".") +
    (metrics.intervals_unreliable ? ` The 95 % intervals are unreliable: ${metrics.intervals_unreliable}.` : "") +
    (metrics.trained_longer_side === undefined ? "" :
      ` The model was trained at data.longer_side=${metrics.trained_longer_side}: these images reached it at another ` +
      "scale, so the score is not comparable with that of the training.");
  const names = [
    ["miou", "mIoU"], ["pixel_accuracy", "Pixel accuracy"], ["mean_class_accuracy", "Mean class accuracy"],
    ["frequency_weighted_iou", "Frequency-weighted IoU"],
    ...("boundary_iou" in metrics ? [["boundary_iou", "Boundary IoU"], ["trimap_miou", "Trimap mIoU"]] : []),
  ];
  for (const [key, name] of names) {
    const ends = [metrics[`${key}_low`], metrics[`${key}_high`]];
    const interval = isNumber(ends[0]) ? `95 %: ${score(ends[0])} to ${score(ends[1])}` : "";
    find("score-list").append(
      make("div", { class: "score", id: `score-${key}` }, make("span", { class: "name" }, name),
        make("strong", { class: "value" }, score(metrics[key])), track(metrics[key], [baseline[key] ?? null], ends),
        make("span", { class: "interval" }, interval),
        key in baseline ? make("span", { class: "baseline" }, `all ${classes[0].name} ${score(baseline[key])}`) : ""));
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

function showClasses() {
  const pixels = data.class_scores.reduce((sum, row) => sum + row.true_pixels, 0) || 1;
  const absent = data.class_scores.filter((row) => row.iou === null).length;
  const intervals = data.class_scores.some((row) => isNumber(row.iou_low));
  find("classes-note").textContent =
    "From best to worst. The orange mark is the mIoU, the mean over the classes that occur " +
    `(${metrics.classes_present} of ${classes.length}). ` +
    `${absent ? "Absent classes are neither true nor predicted anywhere. " : ""}` +
    `${intervals ? `Thin lines are 95 % intervals over ${metrics.image_groups ? "groups of images" : "images"}. ` : ""}Click a name to see its images.`;
  const heads = ["class", "", "IoU %", ...(intervals ? ["95 % interval"] : []), "prec %", "recall %", "true %"];
  find("class-table").append(make("thead", {}, make("tr", {}, ...heads.map((name, index) =>
    make("th", index === 1 ? { class: "bars" } : { scope: "col", ...(name.startsWith("95") && { class: "interval" }) },
      name)))));
  const body = make("tbody");
  const rows = data.class_scores.map((row, index) => ({ ...row, index })).sort((a, b) => (b.iou ?? -1) - (a.iou ?? -1));
  for (const row of rows) {
    const { name, colour } = classes[row.index];
    const link = make("a", { href: "#gallery" }, swatch(colour), name);
    link.addEventListener("click", () => {
      find("class-filter").value = row.index;
      filterAndSort();
    });
    const gone = row.iou === null;
    const ends = [row.iou_low, row.iou_high];
    const bar = make("td", { class: "bars" }, gone ? "" : track(row.iou, [metrics.miou], ends));
    const interval = isNumber(ends[0]) ? ends.map(percent).join(" to ") : "–";
    const shares = [row.precision, row.recall, row.true_pixels / pixels].map(percent);
    const cells = [gone ? "absent" : percent(row.iou), ...shares]
      .map((text) => make("td", text === "absent" ? { class: "absent" } : {}, text));
    const head = make("th", { scope: "row" }, gone ? make("span", {}, swatch(colour), name) : link);
    if (intervals) cells.splice(1, 0, make("td", { class: "interval" }, interval));
    body.append(make("tr", {}, head, bar, ...cells));
  }
  find("class-table").append(body);
}

showScores();
showSettings();
showClasses();
