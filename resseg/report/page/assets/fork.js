"use strict";
/* The fork that is chosen, over training. */
(() => {
  if (!Flow) return;
  const { css, look, axis, plainText } = Page;
  const { flow, state, short, percent, stepLine } = Flow;

  /* The chosen fork over the steps, among those of its kind. */
  function drawFork() {
    const fork = flow.forks[state.fork];
    const x = flow.steps;
    const traces = [];
    const peers = flow.forks.filter((other) => other.kind === fork.kind && other !== fork
      && other.paths[0] === fork.paths[0]);
    for (const other of peers) {
      traces.push({
        type: "scatter", mode: "lines", x, y: other.share[0], yaxis: "y2", showlegend: false,
        line: { color: css("--soft"), width: 1 }, opacity: 0.35, hoverinfo: "text", text: plainText(other.name),
      });
    }
    const single = x.length < 60 ? "lines+markers" : "lines";
    fork.paths.forEach((path, place) => {
      const style = look(place);
      const common = { type: "scatter", mode: single, x, name: plainText(path), legendgroup: String(place), ...style,
        marker: { ...style.marker, size: 4 } };
      traces.push({ ...common, y: fork.site[place].map((value) => (value > 0 ? value : null)),
        text: fork.site[place].map((value, at) => `step ${x[at]}: ${plainText(path)} ${value === 0 ? "exactly 0" : short(value)}`), hoverinfo: "text" });
      traces.push({ ...common, y: fork.share[place], yaxis: "y2", showlegend: false,
        text: fork.share[place].map((value, at) => `step ${x[at]}: ${plainText(path)} ${percent(value)}`), hoverinfo: "text" });
    });
    const pair = fork.paths.length === 2;
    if (pair) {
      traces.push({ type: "scatter", mode: single, x, y: fork.cosine, yaxis: "y3", showlegend: false,
        ...look(4), marker: { ...look(4).marker, size: 4 }, name: "cosine", hovertemplate: "step %{x}: cosine %{y:.3f}<extra></extra>" });
    }
    const dead = fork.paths.filter((_, place) => fork.site[place].every((value) => value === 0));
    const heading = document.getElementById("fork-state");
    heading.textContent = dead.length
      ? `Exactly 0 in every step shown: ${dead.join(", ")}.` : "";
    return Page.plot("fork", traces, {
      height: pair ? 520 : 400,
      xaxis: axis("step", { anchor: pair ? "y3" : "y2" }),
      yaxis: axis("site norm", { ...Page.logTicks(fork.site.flat()), domain: pair ? [0.66, 1] : [0.55, 1] }),
      yaxis2: axis("share", { range: [-0.02, 1.02], domain: pair ? [0.3, 0.6] : [0, 0.45], tickformat: ".0%" }),
      ...(pair ? { yaxis3: axis("cosine", { range: [-1.05, 1.05], domain: [0, 0.24], zeroline: true, zerolinecolor: css("--soft") }) } : {}),
      shapes: [stepLine(x[state.step])],
    });
  }
  Page.draw("fork", drawFork);
})();
