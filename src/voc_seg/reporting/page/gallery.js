// The gallery: a card for every image, with filter, order and search.

const MODES = ["image", "truth", "prediction", "errors"];
const cards = new Map(); // by image
const images = data.images;
let visible = [];
let galleryMode = "prediction";

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

function addToggle(group, current, choose) {
  for (const mode of MODES) {
    const button = make("button", { type: "button", "aria-pressed": mode === current }, mode);
    button.addEventListener("click", () => choose(mode));
    group.append(button);
  }
}

function markPressed(group, mode) {
  for (const button of group.children) button.setAttribute("aria-pressed", button.textContent === mode);
}

const iouOf = (image, index) => image.classes.find(([of]) => of === index)?.[1] ?? null;

function numbers(image, chosen) {
  const own = chosen === null ? "" : ` · ${classes[chosen].name} ${score(iouOf(image, chosen))}`;
  return `mIoU ${score(image.miou)}${own}`;
}

function filterAndSort() {
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
  setTabStop(visible[0]);
}

// Only one card is in the Tab order; arrow keys move among the cards, so nobody has to tab through a thousand.
function setTabStop(image, focus = false) {
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
    card.addEventListener("focus", () => setTabStop(image));
    cards.set(image, card);
  }
  addToggle(find("gallery-mode"), galleryMode, (mode) => {
    galleryMode = mode;
    markPressed(find("gallery-mode"), mode);
    for (const [image, card] of cards) setMode(card.firstChild, image, mode);
  });
  for (const id of ["class-filter", "order", "search"]) find(id).addEventListener("input", filterAndSort);
  find("cards").addEventListener("keydown", (event) => {
    const columns = getComputedStyle(find("cards")).gridTemplateColumns.split(" ").length;
    const at = visible.findIndex((image) => cards.get(image) === document.activeElement);
    const last = visible.length - 1;
    const target = {
      ArrowLeft: at - 1, ArrowRight: at + 1, ArrowUp: at - columns, ArrowDown: at + columns, Home: 0, End: last,
    }[event.key];
    if (at < 0 || target === undefined) return;
    event.preventDefault();
    if (target >= 0 && target <= last) setTabStop(visible[target], true);
  });
  filterAndSort();
}

showGallery();
