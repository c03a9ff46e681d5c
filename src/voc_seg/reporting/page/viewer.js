// The viewer: one image of the gallery, enlarged.

let viewerMode = galleryMode;
let opened = null; // the image in the viewer

function openViewer(image) {
  opened = image;
  const position = visible.indexOf(image);
  find("viewer-title").textContent = image.id;
  find("viewer-note").textContent =
    `${facts(image)} ${data.gallery_of ? "Number" : "Image"} ${whole(position + 1)} of ${whole(visible.length)}.`;
  find("viewer-picture").replaceChildren(view(image, viewerMode, "eager"));
  find("previous").disabled = position <= 0;
  find("next").disabled = position >= visible.length - 1;
  showMode(viewerMode);
  fade();
  if (!find("viewer").open) find("viewer").showModal();
}

function showMode(mode) {
  viewerMode = mode;
  markPressed(find("viewer-mode"), mode);
  const picture = find("viewer-picture").firstChild;
  setMode(picture, opened, mode);
  picture.setAttribute("role", "img");
  picture.setAttribute("aria-label", `${mode} of ${opened.id}`);
  find("fade").disabled = mode === "image";
  find("legend").replaceChildren(...legend(opened, mode).map(([colour, name, remark]) =>
    make("li", {}, swatch(colour), name, remark ? make("span", { class: "iou" }, remark) : "")));
}

function fade() {
  find("viewer-picture").firstChild.style.setProperty("--fade", find("fade").value / 100);
}

function step(by) {
  const image = visible[visible.indexOf(opened) + by];
  if (image) openViewer(image);
}

function showViewer() {
  addToggle(find("viewer-mode"), viewerMode, showMode);
  find("mode-keys").append(...MODES.map((_, index) => make("kbd", {}, String(index + 1))), ` ${MODES.join(", ")}`);
  find("fade").addEventListener("input", fade);
  find("previous").addEventListener("click", () => step(-1));
  find("next").addEventListener("click", () => step(1));
  find("close").addEventListener("click", () => find("viewer").close());
  find("viewer").addEventListener("click", (event) => {
    if (event.target === find("viewer")) find("viewer").close(); // the backdrop
  });
  find("viewer").addEventListener("close", () => setTabStop(opened, true));
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

showViewer();
