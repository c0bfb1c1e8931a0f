"use strict";
/* Sample predictions: masks are painted over the image, one class or all of them. */
(() => {
  const { data } = Page;
  const samples = data.samples;
  if (!samples.length) return;
  const colors = data.classes.map((each) => [1, 3, 5].map((at) => parseInt(each.color.slice(at, at + 2), 16)));
  const shown = new Set(colors.keys());
  const VOID = 255;

  function unfold(runs, size) {
    const mask = new Uint8Array(size);
    let place = 0;
    for (let at = 0; at < runs.length; at += 2) {
      mask.fill(runs[at], place, place + runs[at + 1]);
      place += runs[at + 1];
    }
    return mask;
  }
  const masks = samples.map((sample) => {
    const size = sample.width * sample.height;
    return Object.fromEntries(["truth", "prediction", "confidence"].filter((name) => sample[name])
      .map((name) => [name, unfold(sample[name], size)]));
  });

  /* A pixel as [r, g, b, alpha] over the image. */
  const painters = {
    truth: (mask, at) => paintClass(mask.truth[at]),
    prediction: (mask, at) => (mask.truth[at] === VOID ? [0, 0, 0, 150] : paintClass(mask.prediction[at])),
    error: (mask, at) => {
      const truth = mask.truth[at], guess = mask.prediction[at];
      if (truth === VOID) return [0, 0, 0, 255];
      const counted = shown.has(truth) || shown.has(guess);
      return truth !== guess && counted ? [213, 0, 90, 255] : [255, 255, 255, 150];
    },
    confidence: (mask, at) => {
      const level = mask.confidence[at];
      return [level, level, level, 255];
    },
  };
  function paintClass(value) {
    if (value === VOID) return [0, 0, 0, 255];
    if (!shown.has(value)) return [0, 0, 0, 0];
    return [...colors[value], 165];
  }
  function paint(canvas, sample, mask, picture) {
    const painter = painters[canvas.dataset.panel];
    const context = canvas.getContext("2d");
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.drawImage(picture, 0, 0, sample.width, sample.height);
    const layer = new ImageData(sample.width, sample.height);
    for (let at = 0; at < sample.width * sample.height; at += 1) layer.data.set(painter(mask, at), 4 * at);
    const over = document.createElement("canvas");
    over.width = sample.width;
    over.height = sample.height;
    over.getContext("2d").putImageData(layer, 0, 0);
    context.drawImage(over, 0, 0);
  }
  function paintAll() {
    samples.forEach((sample, number) => {
      const frame = document.querySelector(`[data-sample="${number}"]`);
      const picture = frame.querySelector("img");
      const go = () => frame.querySelectorAll("canvas").forEach((canvas) => paint(canvas, sample, masks[number], picture));
      if (picture.complete) go();
      else picture.addEventListener("load", go, { once: true });
    });
  }
  for (const choice of document.querySelectorAll("[data-class]")) {
    const place = Number(choice.dataset.class);
    choice.addEventListener("click", () => {
      if (shown.has(place)) shown.delete(place);
      else shown.add(place);
      choice.setAttribute("aria-pressed", String(shown.has(place)));
      paintAll();
    });
  }
  paintAll();
})();
