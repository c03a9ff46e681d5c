// The demo page: a photograph goes to the worker, its mask comes back.

const photo = find("photo"), layer = find("overlay"), picture = find("picture");
let worker, ready, calls = 0, read = 0, job = 0;
let shown = null; // mask, width, height and name of what is on the page
let point = { x: 0.5, y: 0.5 };
const waiting = new Map();
const coarse = matchMedia("(pointer: coarse)").matches; // a finger: a phone or a tablet

function say(text) { find("status").textContent = text; }

function complain(text) {
  find("error").textContent = text;
  if (text) say("");
}

// --- The network

function loadScript(name) {
  return new Promise((resolve, reject) => {
    const script = make("script", { src: name });
    script.onload = resolve;
    script.onerror = () => reject(new Error(`${name} is missing. Keep all files of this folder together.`));
    document.head.append(script);
  });
}

function ask(task, values, transferred = []) {
  return new Promise((resolve, reject) => {
    waiting.set(++calls, { resolve, reject });
    worker.postMessage({ id: calls, task, values }, transferred);
  });
}

function fail(message) {
  for (const { reject } of waiting.values()) reject(new Error(message));
  waiting.clear();
}

async function start() {
  await Promise.all([globalThis.RUNTIME ?? loadScript("onnxruntime.js"), globalThis.MODEL ?? loadScript("model.js")]);
  worker = new Worker(URL.createObjectURL(new Blob([data.worker], { type: "text/javascript" })));
  worker.onmessage = ({ data: { id, result, error } }) => {
    const { resolve, reject } = waiting.get(id);
    waiting.delete(id);
    if (error === undefined) resolve(result);
    else reject(new Error(error));
  };
  worker.onerror = (event) => fail(event.message || "The browser does not allow a worker here.");
  await ask("load", { ...globalThis.RUNTIME, model: globalThis.MODEL });
}

// After a failure, such as exhausted memory, the network has to be loaded again.
function restart() {
  worker?.terminate();
  ready = start();
  return ready;
}

// --- A photograph

// Canvases of browsers end at 16,384 to 65,535 pixels a side, and are blank beyond.
const LONGEST_SIDE = 16384;

function fitted(width, height) {
  const factor = Math.min(1, Math.sqrt(data.most_pixels / (width * height)), LONGEST_SIDE / Math.max(width, height));
  return [Math.max(1, Math.floor(width * factor)), Math.max(1, Math.floor(height * factor))];
}

async function openFile(file) {
  if (!file) return;
  const name = file.name || "the photograph";
  const mine = ++read;
  complain("");
  say(`Reading ${name} …`);
  let image;
  try {
    // Colours as stored, as Python reads them.
    image = await createImageBitmap(file, { imageOrientation: "from-image", colorSpaceConversion: "none" });
  } catch {
    complain(`${name} cannot be read as an image. Choose a JPEG, PNG or WebP file; other formats, such as HEIC and ` +
      "TIFF, have to be converted first.");
    return;
  }
  if (mine === read) await segment(image, name); // else another was chosen meanwhile
}

function showPhoto(image) {
  const [width, height] = fitted(image.width, image.height);
  for (const canvas of [photo, layer]) [canvas.width, canvas.height] = [width, height];
  const context = photo.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#fff"; // below transparent pixels
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  context.drawImage(image, 0, 0, width, height);
  picture.style.setProperty("--ratio", width / height);
  find("frame").hidden = false;
  find("try").classList.remove("empty");
  return context.getImageData(0, 0, width, height).data;
}

async function segment(image, name) {
  const mine = ++job, { width: fullWidth, height: fullHeight } = image;
  const pixels = showPhoto(image), { width, height } = photo;
  image.close();
  shown = null;
  hidePoint();
  find("tools").hidden = true;
  showKnown();
  picture.setAttribute("aria-label", `${name}, being segmented`);
  find("busy").hidden = false;
  let result;
  try {
    say("Loading the network …");
    await ready.catch(restart);
    if (mine !== job) return;
    say("Segmenting …");
    result = await ask("segment", { pixels, width, height });
  } catch (error) {
    if (mine !== job) return;
    find("busy").hidden = true;
    complain(`The network could not segment ${name}: ${inWords(error.message)}`);
    restart().catch(() => {});
    return;
  }
  if (mine !== job) return;
  find("busy").hidden = true;
  shown = { ...result, width, height, name };
  layer.getContext("2d").putImageData(tinted(pixels, shown.mask, width, height), 0, 0);
  const size = (across, down) => `${whole(across)} × ${whole(down)}`;
  const reduced = width === fullWidth && height === fullHeight ? "" :
    ` The photograph has ${size(fullWidth, fullHeight)} pixels and was reduced for this page.`;
  say(`${name}: ${size(width, height)} pixels, segmented in ${shown.seconds.toPrecision(2)} s.${reduced}`);
  showShares(reduced);
}

function inWords(message) {
  if (/memory|alloc|aborted|out of bounds/i.test(message))
    return "memory ran out. Close other pages, or choose a smaller photograph.";
  return message;
}

// --- Legend and mask

function entry({ name, colour }, share) {
  const line = make("li", {}, swatch(colour), make("span", { class: "name" }, name));
  if (share === undefined) return line;
  const text = share < 0.001 ? "< 0.1 %" : `${percent(share)} %`;
  const bar = track(share, []);
  bar.style.setProperty("--colour", colour);
  line.append(make("span", {}, text), bar);
  return line;
}

function showKnown() {
  find("shares").className = "all";
  find("shares").replaceChildren(...data.classes.map((one) => entry(one)));
  find("legend-note").textContent = "What the model was trained to recognise.";
}

function showShares(reduced) {
  const { mask, name } = shown, counts = countClasses(mask);
  const order = [...counts.keys()].filter((value) => counts[value]).sort((a, b) => counts[b] - counts[a]);
  find("shares").className = "";
  find("shares").replaceChildren(...order.map((value) => entry(data.classes[value], counts[value] / mask.length)));
  find("legend-note").textContent = `Share of the pixels. ${order.length} of ${data.classes.length} classes.`;
  const largest = order.slice(0, 3).map((value) =>
    `${data.classes[value].name} ${percent(counts[value] / mask.length)} %`);
  picture.setAttribute("aria-label", `${name} with its mask: ${largest.join(", ")}. Arrow keys name the classes.`);
  find("save-note").textContent = (coarse ? "Tap the photograph to see the class there."
    : "Point at the photograph, or move over it with the arrow keys, to see the class there.") + " The pixel values of the saved mask are class numbers" +
    (reduced ? "; it has the size of the reduced photograph." : ".");
  find("tools").hidden = false;
}

async function saveMask() {
  const { mask, width, height, name } = shown;
  const address = URL.createObjectURL(await maskFile(mask, width, height));
  make("a", { href: address, download: `${name.replace(/\.[^.]*$/, "")}_mask.png` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

// --- The class at a point

function showPoint(x, y, cross) {
  if (!shown) return;
  point = { x: Math.min(1, Math.max(0, x)), y: Math.min(1, Math.max(0, y)) };
  const column = Math.min(shown.width - 1, Math.floor(point.x * shown.width));
  const row = Math.min(shown.height - 1, Math.floor(point.y * shown.height));
  const { name, colour } = data.classes[shown.mask[row * shown.width + column]];
  find("pointed").hidden = false;
  find("cross").hidden = !cross;
  for (const id of ["cross", "pointed"]) {
    find(id).style.left = `${100 * point.x}%`;
    find(id).style.top = `${100 * point.y}%`;
  }
  if (find("pointed").textContent !== name) find("pointed").replaceChildren(swatch(colour), name);
  find("pointed").style.setProperty("--shift", `${-100 * point.x}%`);
  find("pointed").classList.toggle("below", point.y < 0.15);
}

function hidePoint() {
  find("cross").hidden = find("pointed").hidden = true;
}

function pointAt(event) {
  const { left, top, width, height } = picture.getBoundingClientRect();
  showPoint((event.clientX - left) / width, (event.clientY - top) / height, event.pointerType !== "mouse");
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function movePoint(event) {
  if (event.key === "Escape") hidePoint();
  const [across, down] = ARROWS[event.key] ?? [];
  if (across === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  const step = event.shiftKey ? 0.1 : 0.02;
  showPoint(point.x + step * across, point.y + step * down, true);
}

// --- The camera

async function openCamera() {
  complain("");
  // On a phone, its own camera takes better photographs; elsewhere this input only opens a list of files.
  if (coarse) {
    find("capture").click();
    return;
  }
  const reasons = {
    NotAllowedError: "The browser was not allowed to use the camera. Allow it beside the address, or choose a photograph.",
    NotFoundError: "No camera was found. Choose a photograph instead.",
    NotReadableError: "The camera is used by another program. Close it and try again.",
  };
  try {
    if (!navigator.mediaDevices) throw new Error();
    find("video").srcObject = await navigator.mediaDevices.getUserMedia({
      video: { facingMode: "environment", width: { ideal: 1280 } },
    });
  } catch (error) {
    complain(reasons[error.name] ?? "The camera cannot be used here. Choose a photograph instead, or open this page " +
      "with: kedro demo");
    return;
  }
  find("viewfinder").showModal();
}

async function takePhoto() {
  const video = find("video");
  if (!video.videoWidth) return; // not yet
  const image = await createImageBitmap(video);
  find("viewfinder").close();
  read++;
  complain("");
  await segment(image, "photograph");
}

function stopCamera() {
  for (const one of find("video").srcObject?.getTracks() ?? []) one.stop();
  find("video").srcObject = null;
}

// --- Together

function listen() {
  for (const id of ["file", "capture"]) {
    find(id).addEventListener("change", ({ target }) => {
      openFile(target.files[0]);
      target.value = ""; // the same file may be chosen again
    });
  }
  find("choose").addEventListener("click", () => find("file").click());
  find("camera").addEventListener("click", openCamera);
  find("take").addEventListener("click", takePhoto);
  find("stop").addEventListener("click", () => find("viewfinder").close());
  find("viewfinder").addEventListener("close", stopCamera);
  find("save").addEventListener("click", saveMask);
  find("opacity").addEventListener("input", ({ target }) => {
    layer.style.opacity = target.value / 100;
    find("opacity-value").textContent = `${target.value} %`;
  });
  for (const name of ["pointermove", "pointerdown"]) picture.addEventListener(name, pointAt);
  picture.addEventListener("pointerleave", ({ pointerType }) => pointerType === "mouse" && hidePoint());
  picture.addEventListener("keydown", movePoint);
  picture.addEventListener("blur", hidePoint);
  for (const name of ["dragenter", "dragover"]) {
    document.addEventListener(name, (event) => {
      event.preventDefault();
      find("try").classList.add("over");
    });
  }
  for (const name of ["dragleave", "drop"]) {
    document.addEventListener(name, (event) => {
      event.preventDefault();
      if (name === "drop" || !event.relatedTarget) find("try").classList.remove("over");
    });
  }
  document.addEventListener("drop", ({ dataTransfer }) => {
    if (dataTransfer.files.length) openFile(dataTransfer.files[0]);
    else complain("That was not a file. Save the photograph first, then drop its file here.");
  });
  document.addEventListener("paste", ({ clipboardData }) => openFile(clipboardData.files[0]));
}

function showPage() {
  find("model").textContent = data.title;
  find("digest").textContent = `model ${data.digest}`;
  if (coarse) find("invitation").textContent = "Choose a photograph or take one";
  find("lead").textContent = `Finds ${classes.length} classes. ${data.warning}Photographs stay on this device: the network runs in the browser.`;
  showKnown();
  listen();
  say(`Loading the network (${data.megabytes} MB) …`);
  restart().then(
    () => job || say("The network is ready."),
    (error) => complain(`The network could not be loaded: ${inWords(error.message)} If this page was opened as a ` +
      "file, try: kedro demo"));
}

showPage();
