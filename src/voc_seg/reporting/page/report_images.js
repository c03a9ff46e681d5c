// The images of the report: what their cards show, filter and order.

const MODES = ["image", "truth", "prediction", "errors"];
let galleryMode = "prediction";

const classNames = classes.map(({ name }) => name);
const iouOf = (image, index) => image.classes.find(([of]) => of === index)?.[1] ?? null;

function chosenClass() {
  const text = find("class-filter").value;
  return text === "" ? null : Number(text);
}

function numbers(image) {
  const chosen = chosenClass();
  const own = chosen === null ? "" : ` · ${classes[chosen].name} ${score(iouOf(image, chosen))}`;
  return `mIoU ${score(image.miou)}${own}`;
}

// The text below the title of the enlarged image.
const facts = (image) =>
  `mIoU ${score(image.miou)}, pixel accuracy ${score(image.accuracy)}, void ${percent(image.void)} %, ` +
  `${image.width} × ${image.height}.`;

// Colour, name and remark of everything that is seen in the enlarged image.
function legend(image, mode) {
  const entries = mode === "errors"
    ? [[data.colours.right, "right"], [data.colours.wrong, "wrong"], [data.colours.void, "void"]]
    : image.classes.map(([index, iou]) => [classes[index].colour, classes[index].name, `IoU ${score(iou)}`]);
  if (mode !== "errors" && image.void > 0) entries.push([data.colours.unlabelled, "void"]);
  return entries;
}

function filterAndSort() {
  const chosen = chosenClass();
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
  showOnly(images.filter((image) =>
    (chosen === null || iouOf(image, chosen) !== null) && image.id.toLowerCase().includes(wanted)).sort(before));
}

function showGallery() {
  for (const [index, { name }] of classes.entries()) {
    const count = images.filter((image) => iouOf(image, index) !== null).length;
    if (count) find("class-filter").append(make("option", { value: index }, `${name} (${whole(count)})`));
  }
  buildCards();
  for (const id of ["class-filter", "order", "search"]) find(id).addEventListener("input", filterAndSort);
  filterAndSort();
}

showGallery();
