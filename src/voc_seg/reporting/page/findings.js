// The findings and the classes of the data check.

// Shows only the images of a finding or a class in the gallery.
function leadTo(filter, value) {
  for (const id of ["finding-filter", "class-filter", "split-filter", "search"]) find(id).value = "";
  find(filter).value = value;
  filterImages();
}

function showFindings() {
  document.title = `${data.title}: data check`;
  find("lead").textContent =
    `${data.title}: ${plural(data.total, "image")}` +
    `${data.splits.length ? ` (${data.splits.map(([name, count]) => `${whole(count)} ${name}`).join(", ")})` : ""}, ` +
    `${whole(classes.length)} classes.`;
  const counts = SEVERITIES.map(([key]) => data.findings.filter(({ severity }) => severity === key).length);
  find("findings-note").textContent = data.findings.length
    ? `${data.summary}. Errors make training fail or learn something wrong. Warnings are probably mistakes in the data. Notes are worth knowing.`
    : "Nothing to report: no check found anything.";
  for (const [number, [key, title]] of SEVERITIES.entries()) {
    if (!counts[number]) continue;
    const list = make("ul", { class: `findings ${key}` });
    for (const [index, finding] of data.findings.entries()) if (finding.severity === key) list.append(row(finding, index));
    find("finding-list").append(make("h3", {}, make("span", { class: `severity ${key}` }, title),
      make("span", { class: "amount" }, whole(counts[number]))), list);
  }
}

function row(finding, index) {
  const text = make("div", {}, make("p", { class: "message" }, finding.message));
  if (finding.remedy) text.append(make("p", { class: "remedy" }, finding.remedy));
  const count = images.filter((image) => image.findings.includes(index)).length;
  const item = make("li", {}, text);
  if (count) {
    const link = make("a", { href: "#gallery", class: "see" }, `show ${plural(count, "image")}`);
    link.addEventListener("click", () => leadTo("finding-filter", String(index)));
    item.append(link);
  }
  return item;
}

function showClassTable() {
  const labelled = data.class_table.reduce((sum, one) => sum + (one.void ? 0 : one.pixels), 0) || 1;
  const all = data.class_table.reduce((sum, one) => sum + one.pixels, 0) || 1;
  find("classes-note").textContent =
    "Shares are of the labelled pixels; that of void is of all pixels. Click a name to see its images.";
  const heads = ["class", "", "share %", "images", "pixels", data.by_colour ? "colour in masks" : "stored as"];
  find("class-table").append(make("thead", {}, make("tr", {}, ...heads.map((name, index) =>
    make("th", index === 1 ? { class: "bars" } : { scope: "col" }, name)))));
  const body = make("tbody");
  for (const one of data.class_table) {
    const share = one.pixels / (one.void ? all : labelled);
    const name = one.images && !one.void ? make("a", { href: "#gallery" }, swatch(one.colour), one.name)
      : make("span", {}, swatch(one.colour), one.name);
    if (one.images && !one.void) name.addEventListener("click", () => leadTo("class-filter", String(one.index)));
    const shown = share > 0 && share < 0.001 ? "< 0.1" : percent(share);
    const cells = one.images ? [shown, whole(one.images), whole(one.pixels)] : ["absent", "0", "0"];
    body.append(make("tr", {}, make("th", { scope: "row" }, name), make("td", { class: "bars" }, track(share, [])),
      ...cells.map((cell) => make("td", cell === "absent" ? { class: "absent" } : {}, cell)),
      make("td", {}, one.stored || "–")));
  }
  find("class-table").append(body);
}

showFindings();
showClassTable();
