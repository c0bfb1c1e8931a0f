"use strict";
/* The gradient flow that the figures share: the forks, which of them is chosen and which
   step is shown, and how numbers are said. */
const Flow = (() => {
  const flow = Page.data.gradients;
  if (!flow) return null;
  const byName = new Map(flow.forks.map((fork, place) => [fork.name, place]));
  const blocks = flow.forks.filter((fork) => fork.kind === "block");
  const others = flow.forks.filter((fork) => fork.kind !== "block");
  const state = { fork: 0, step: flow.steps.length - 1, view: "first", relative: "step", scale: "diverging" };

  /* Numbers. */
  const log = (value) => (value > 0 ? Math.log10(value) : null);
  function median(values) {
    const sorted = values.filter((value) => value !== null).sort((a, b) => a - b);
    if (!sorted.length) return 0;
    const half = sorted.length >> 1;
    return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
  }
  const short = (value) => (value === null ? "not finite" : Number(value).toPrecision(3));
  const percent = (value) => (value === null ? "not defined"
    : value !== 0 && Math.abs(value) < 0.001 ? `${(100 * value).toPrecision(1)} %`
      : `${(100 * value).toFixed(1)} %`);

  /* The line at the step that is shown, in a figure over steps. */
  const stepLine = (x) => ({
    type: "line", x0: x, x1: x, yref: "paper", y0: 0, y1: 1,
    line: { color: Page.css("--text"), width: 1, dash: "dot" },
  });
  /* A figure answers clicks once; `choose` is set by flow.js. */
  function onClick(place, answer) {
    if (!place || place.linked) return;
    place.linked = true;
    place.on("plotly_click", (event) => answer(event.points[0]));
  }
  return { flow, byName, blocks, others, state, log, median, short, percent, stepLine, onClick,
    select: null, setStep: null };
})();
