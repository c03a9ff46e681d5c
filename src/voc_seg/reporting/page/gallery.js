// The gallery of any page: a card for every image. The page says what a card shows: MODES, galleryMode, numbers(image).
// data.gallery_of is the word for what is on a card, if it is not an image.

const cards = new Map(); // by image
const images = data.images;
let visible = [];

const address = (image, ending) =>
  `${encodeURIComponent(data.folder)}/${encodeURIComponent(image.file ?? image.id)}${ending}`;

function view(image, mode, loading) {
  const shape = image.height > image.width ? "view tall" : "view";
  if (image.unreadable) return make("span", { class: `${shape} unreadable` }, make("span", {}, image.unreadable));
  const below = make("img", { class: "below", alt: "", loading, src: address(image, ".jpg") });
  const element = make("span", { class: shape }, below, make("img", { class: "mask", alt: "", loading }));
  setMode(element, image, mode);
  return element;
}

function setMode(element, image, mode) {
  element.dataset.mode = image.maskless ? "image" : mode;
  // A mask is fetched only when it is shown.
  if (element.dataset.mode !== "image" && !image.unreadable) element.lastChild.src = address(image, `.${mode}.png`);
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

// Shows these images in this order, and hides the others.
function showOnly(wanted) {
  visible = wanted;
  const shown = new Set(visible);
  for (const image of images) cards.get(image).hidden = !shown.has(image);
  for (const image of visible) {
    const card = cards.get(image), said = numbers(image);
    card.querySelector(".numbers").textContent = said;
    card.setAttribute("aria-label", `${image.id}, ${said}`);
  }
  showColours();
  find("cards").append(...visible.map((image) => cards.get(image)));
  const all = plural(images.length, data.gallery_of ?? "image");
  find("count").textContent = visible.length === images.length ? all : `${whole(visible.length)} of ${all}`;
  setTabStop(visible[0]);
}

// The colours of everything that is seen on the cards, in the order of the classes.
function showColours() {
  if (!find("gallery-legend")) return; // the page explains them elsewhere
  const colours = new Map();
  if (galleryMode !== "image") {
    for (const image of visible) for (const [colour, name] of legend(image, galleryMode)) colours.set(name, colour);
  }
  const place = (name) => (classNames.includes(name) ? classNames.indexOf(name) : Infinity);
  const entries = [...colours].sort(([a], [b]) => place(a) - place(b) || 0);
  find("gallery-legend").replaceChildren(...entries.map(([name, colour]) => make("li", {}, swatch(colour), name)));
}

// Only one card is in the Tab order; arrow keys move among the cards, so nobody has to tab through a thousand.
function setTabStop(image, focus = false) {
  for (const card of find("cards").querySelectorAll('[tabindex="0"]')) card.tabIndex = -1;
  if (!image) return;
  cards.get(image).tabIndex = 0;
  if (focus) cards.get(image).focus();
}

function buildCards(picture = (image) => view(image, galleryMode, "lazy")) {
  for (const image of images) {
    const card = make("button", { class: "card", type: "button", tabindex: -1, "data-id": image.id },
      picture(image), make("span", { class: "id" }, image.id), make("span", { class: "numbers" }));
    card.addEventListener("click", () => openViewer(image));
    card.addEventListener("focus", () => setTabStop(image));
    cards.set(image, card);
  }
  const toggle = find("gallery-mode");
  if (toggle) addToggle(toggle, galleryMode, (mode) => {
    galleryMode = mode;
    markPressed(toggle, mode);
    showColours();
    for (const [image, card] of cards) setMode(card.firstChild, image, mode);
  });
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
}
