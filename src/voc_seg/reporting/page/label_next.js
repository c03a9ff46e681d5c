// The images to label next: what their cards show, and the filters.

const MODES = ["image", "prediction", "uncertainty"];
let galleryMode = "uncertainty";
const classNames = classes.map(({ name }) => name);

const number = (value) => value.toFixed(2);
const numbers = (image) => `${image.rank} · uncertainty ${number(image.uncertainty)}`;

// The text below the title of the enlarged image.
const facts = (image) =>
  `${image.path}, ${image.width} × ${image.height} pixels. Uncertainty ${number(image.uncertainty)}` +
  `${image.distance === null ? "" : `, distance ${number(image.distance)}`}.`;

// Colour, name and remark of everything that is seen in the enlarged image.
function legend(image, mode) {
  if (mode === "image") return [];
  if (mode === "uncertainty") return data.levels.map(([level, colour]) => [colour, `uncertainty ${level}`, ""]);
  const entries = image.classes.map(([index, share]) =>
    [classes[index].colour, classes[index].name, share < 0.001 ? "< 0.1 %" : `${percent(share)} %`]);
  if (image.void > 0) entries.push([data.void, "not sure", `${percent(image.void)} %`]);
  return entries;
}

function filterImages() {
  const chosen = find("class-filter").value, wanted = find("search").value.trim().toLowerCase();
  showOnly(images.filter((image) => (chosen === "" || image.classes.some(([index]) => index === Number(chosen))) &&
    image.id.toLowerCase().includes(wanted)));
}

function showImages() {
  find("lead").textContent = `${whole(images.length)} of ${plural(data.total, "image")} without masks: those that the ` +
    "network is most uncertain of and that differ from each other. label_next.csv has the list.";
  find("gallery-note").textContent = "Uncertainty is 1 minus the difference between the probabilities of the two most " +
    "likely classes: 0 where the network is sure, 1 where it is torn between two. The number of an image is the mean of " +
    "its pixels. Click an image to enlarge it; the arrow keys move between images.";
  for (const [index, { name }] of classes.entries()) {
    const count = images.filter((image) => image.classes.some(([of]) => of === index)).length;
    if (count) find("class-filter").append(make("option", { value: index }, `${name} (${whole(count)})`));
  }
  buildCards();
  for (const id of ["class-filter", "search"]) find(id).addEventListener("input", filterImages);
  filterImages();
}

showImages();
