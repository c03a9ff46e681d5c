// What is drawn over the photograph, as voc_seg.reporting.overlays draws it, and the mask as a PNG.

const TINT = 0.6;

// Pixels within a few steps of another class: 1/250 of the longer side stays visible when the overlay is reduced.
function outlines(mask, width, height) {
  const found = new Uint8Array(mask.length), thickness = Math.max(1, Math.round(Math.max(width, height) / 250));
  const compare = (one, other) => {
    if (mask[one] !== mask[other]) found[one] = found[other] = 1;
  };
  for (let step = 1; step <= thickness; step++) {
    for (let y = 0; y < height; y++)
      for (let at = y * width + step; at < (y + 1) * width; at++) compare(at, at - step);
    for (let at = step * width; at < mask.length; at++) compare(at, at - step * width);
  }
  return found;
}

// RGBA: regions in grey, tinted and outlined in the colour of their class; background is transparent.
function tinted(pixels, mask, width, height) {
  const result = new ImageData(width, height), edges = outlines(mask, width, height);
  for (let at = 0; at < mask.length; at++) {
    if (mask[at] === 0) continue;
    const [red, green, blue] = data.classes[mask[at]].rgb;
    const grey = (19595 * pixels[4 * at] + 38470 * pixels[4 * at + 1] + 7471 * pixels[4 * at + 2] + 32768) >> 16;
    const opacity = edges[at] ? 1 : TINT;
    result.data[4 * at] = (1 - opacity) * grey + opacity * red; // rounded by the array
    result.data[4 * at + 1] = (1 - opacity) * grey + opacity * green;
    result.data[4 * at + 2] = (1 - opacity) * grey + opacity * blue;
    result.data[4 * at + 3] = 255;
  }
  return result;
}

function countClasses(mask) {
  const counts = new Array(data.classes.length).fill(0);
  for (const value of mask) counts[value]++;
  return counts;
}

const CRC = Uint32Array.from({ length: 256 }, (_, number) => {
  for (let bit = 0; bit < 8; bit++) number = number & 1 ? (number >>> 1) ^ 0xedb88320 : number >>> 1;
  return number;
});

function chunk(name, content) {
  const bytes = new Uint8Array(content.length + 12), view = new DataView(bytes.buffer);
  view.setUint32(0, content.length);
  bytes.set([...name].map((letter) => letter.charCodeAt(0)), 4);
  bytes.set(content, 8);
  let crc = 0xffffffff;
  for (let at = 4; at < content.length + 8; at++) crc = CRC[(crc ^ bytes[at]) & 255] ^ (crc >>> 8);
  view.setUint32(content.length + 8, (crc ^ 0xffffffff) >>> 0);
  return bytes;
}

// The mask as an indexed PNG whose values are class indices, in the colours of the classes.
async function maskFile(mask, width, height) {
  const rows = new Uint8Array(height * (width + 1)); // every row begins with its filter, 0
  for (let y = 0; y < height; y++) rows.set(mask.subarray(y * width, (y + 1) * width), y * (width + 1) + 1);
  const stream = new Blob([rows]).stream().pipeThrough(new CompressionStream("deflate"));
  const compressed = new Uint8Array(await new Response(stream).arrayBuffer());
  const header = new Uint8Array(13), view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([8, 3], 8); // bits, indexed
  const palette = Uint8Array.from(data.classes.flatMap(({ rgb }) => rgb));
  const signature = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
  return new Blob([signature, chunk("IHDR", header), chunk("PLTE", palette), chunk("IDAT", compressed),
    chunk("IEND", new Uint8Array(0))], { type: "image/png" });
}
