// The viewer: one image of the gallery, enlarged.

let viewerMode = "prediction";
let opened = null; // the image in the viewer

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
  markPressed(find("viewer-mode"), mode);
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
  addToggle(find("viewer-mode"), viewerMode, showMode);
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
