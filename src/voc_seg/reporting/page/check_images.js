// The images of the data check: what their cards show, and the filters.

const MODES = ["image", "mask"];
let galleryMode = "mask";
const classNames = data.class_table.map(({ name }) => name);
const SEVERITIES = [["error", "Errors"], ["warning", "Warnings"], ["note", "Notes"]];

const words = (kind) => kind.replaceAll("-", " ");
const kindsOf = (image) => image.findings.map((index) => words(data.findings[index].kind));

function numbers(image) {
  const kinds = kindsOf(image);
  const more = kinds.length > 1 ? ` +${kinds.length - 1}` : "";
  return [image.split, kinds.length ? kinds[0] + more : ""].filter(Boolean).join(" · ");
}

// The text below the title of the enlarged image.
function facts(image) {
  const size = image.width ? `${image.width} × ${image.height} pixels. ` : "";
  const kinds = kindsOf(image);
  const found = kinds.length ? `Findings: ${kinds.join(", ")}.` : "No findings.";
  return `${image.split ? `${image.split}, ` : ""}${size}${image.note}${found}`;
}

// Colour, name and remark of everything that is seen in the enlarged image.
const legend = (image, mode) => mode === "image" ? [] : image.classes.map(([index, share]) => {
  const { colour, name } = data.class_table.find((row) => row.index === index);
  return [colour, name, share < 0.001 ? "< 0.1 %" : `${percent(share)} %`];
});

function filterImages() {
  const finding = find("finding-filter").value, chosen = find("class-filter").value, split = find("split-filter").value;
  const wanted = find("search").value.trim().toLowerCase();
  showOnly(images.filter((image) =>
    (finding === "" || image.findings.includes(Number(finding))) &&
    (chosen === "" || image.classes.some(([index]) => index === Number(chosen))) &&
    (split === "" || image.split === split) && image.id.toLowerCase().includes(wanted)));
}

function addOptions(parent, options) {
  for (const [value, name, count] of options) {
    if (count) parent.append(make("option", { value }, `${name} (${whole(count)})`));
  }
}

function showImages() {
  find("gallery-note").textContent =
    (images.length === data.total ? "All images of the data set. "
      : `${whole(images.length)} of ${plural(data.total, "image")}: examples of every class and every finding, and ` +
        "others evenly spaced. ") +
    "Click an image to enlarge it; the arrow keys move between images.";
  for (const [key, title] of SEVERITIES) {
    const group = make("optgroup", { label: title });
    addOptions(group, data.findings.map((finding, index) => [index, words(finding.kind),
      finding.severity === key ? images.filter((image) => image.findings.includes(index)).length : 0]));
    if (group.children.length) find("finding-filter").append(group);
  }
  addOptions(find("class-filter"), data.class_table.map(({ name, index }) =>
    [index, name, images.filter((image) => image.classes.some(([of]) => of === index)).length]));
  addOptions(find("split-filter"), data.splits.map(([name]) =>
    [name, name, images.filter((image) => image.split === name).length]));
  buildCards();
  for (const id of ["finding-filter", "class-filter", "split-filter", "search"]) {
    find(id).addEventListener("input", filterImages);
  }
  filterImages();
}

showImages();
