"use strict";
// Runs the network in a worker, so that the page answers while an image is segmented.

let runtime, session;

function decode(base64) {
  const letters = atob(base64), bytes = new Uint8Array(letters.length);
  for (let index = 0; index < bytes.length; index++) bytes[index] = letters.charCodeAt(index);
  return bytes;
}

async function unpack(base64) {
  const stream = new Blob([decode(base64)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

const tasks = {
  async load({ module, wasm, model }) {
    runtime = await import(URL.createObjectURL(new Blob([module], { type: "text/javascript" })));
    // Without threads: pages opened as a file have none.
    Object.assign(runtime.env.wasm, { wasmBinary: await unpack(wasm), numThreads: 1, proxy: false });
    session = await runtime.InferenceSession.create(decode(model), { executionProviders: ["wasm"] });
  },

  // RGBA pixels -> class index of every pixel.
  async segment({ pixels, width, height }) {
    const rgb = new Uint8Array(3 * width * height);
    for (let from = 0, to = 0; to < rgb.length; from += 4) {
      rgb[to++] = pixels[from];
      rgb[to++] = pixels[from + 1];
      rgb[to++] = pixels[from + 2];
    }
    const started = performance.now();
    const { mask } = await session.run({ image: new runtime.Tensor("uint8", rgb, [height, width, 3]) });
    return { mask: mask.data, seconds: (performance.now() - started) / 1000 };
  },
};

onmessage = async ({ data: { id, task, values } }) => {
  try {
    postMessage({ id, result: await tasks[task](values) });
  } catch (error) {
    postMessage({ id, error: String(error?.message ?? error) });
  }
};
