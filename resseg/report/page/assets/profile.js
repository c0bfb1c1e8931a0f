"use strict";
/* At the step that is shown: the profile over depth, and the shares of other forks. */
(() => {
  if (!Flow) return;
  const { css, look, axis, plainText } = Page;
  const { byName, blocks, others, state, short, percent, onClick, flow } = Flow;

  /* The profile over depth at one step, against its range over all of them. */
  const positive = blocks.flatMap((fork) => [fork.total, ...fork.site]).flat().filter((value) => value > 0);
  const range = positive.length
    ? [Math.log10(positive.reduce((a, b) => Math.min(a, b))) - 0.25,
      Math.log10(positive.reduce((a, b) => Math.max(a, b))) + 0.25] : [-1, 1];
  function profileTraces() {
    const x = blocks.map((_, at) => at);
    const at = state.step;
    const paths = blocks[0].paths;
    const bounds = blocks.map((fork) => fork.total.filter((value) => value > 0));
    const low = bounds.map((values) => (values.length ? Math.min(...values) : null));
    const high = bounds.map((values) => (values.length ? Math.max(...values) : null));
    const band = { type: "scatter", mode: "lines", x, line: { width: 0 }, hoverinfo: "skip", showlegend: false };
    const traces = [
      { ...band, y: low },
      { ...band, y: high, fill: "tonexty", fillcolor: css("--hit"), name: "range over all steps", showlegend: true },
    ];
    const hover = (values, what) => blocks.map((fork, place) => (
      `${plainText(fork.name)}<br>${what} ${values[place] === 0 ? "exactly 0" : short(values[place])}`));
    const line = (values, name, number) => ({
      type: "scatter", mode: "lines+markers", x, y: values.map((v) => (v > 0 ? v : null)), name: plainText(name),
      text: hover(values, plainText(name)), hoverinfo: "text", ...look(number),
    });
    traces.push(line(blocks.map((fork) => fork.total[at]), "sum of the paths", 4));
    paths.forEach((path, place) => {
      const values = blocks.map((fork) => (fork.site[place] ? fork.site[place][at] : null));
      traces.push(line(values, path, place));
      const dead = x.filter((each) => values[each] === 0);
      if (dead.length) {
        traces.push({
          type: "scatter", mode: "markers", x: dead, y: dead.map(() => 10 ** range[0]), cliponaxis: false,
          name: `${plainText(path)} exactly 0`, hoverinfo: "text",
          text: dead.map((each) => `${plainText(blocks[each].name)}<br>${plainText(path)} exactly 0`),
          marker: { symbol: "x", size: 11, color: css("--dead") },
        });
      }
    });
    traces.push({
      type: "bar", x, y: blocks.map((fork) => fork.share[0][at]), yaxis: "y2", name: `share of the ${plainText(paths[0])}`,
      marker: { color: blocks.map((fork) => (fork === flow.forks[state.fork] ? css("--accent") : css("--c6"))) },
      text: blocks.map((fork) => `${plainText(fork.name)}<br>share ${percent(fork.share[0][at])}`),
      hoverinfo: "text", textposition: "none", showlegend: false,
    });
    return traces;
  }
  function drawProfile() {
    const chosen = blocks.indexOf(flow.forks[state.fork]);
    const every = Math.max(1, Math.ceil(blocks.length / (Page.narrow() ? 10 : 34)));
    const ticks = blocks.map((_, at) => at).filter((at) => at % every === 0);
    return Page.plot("profile", profileTraces(), {
      height: 460, uirevision: "profile", bargap: 0.35,
      xaxis: axis("", { tickvals: ticks, ticktext: ticks.map((at) => plainText(blocks[at].label)),
        range: [-0.6, blocks.length - 0.4], anchor: "y2", showgrid: false, tickangle: -45 }),
      yaxis: axis("site norm", { ...Page.logTicks(positive, true), range, domain: [0.36, 1] }),
      yaxis2: axis(`share of the<br>${plainText(blocks[0].paths[0])}`, { range: [0, 1], domain: [0, 0.27], tickformat: ".0%", nticks: 3 }),
      shapes: chosen < 0 ? [] : [{
        type: "rect", x0: chosen - 0.5, x1: chosen + 0.5, yref: "paper", y0: 0, y1: 1, layer: "below",
        line: { width: 0 }, fillcolor: css("--hit"),
      }],
    }).then((place) => onClick(place, (point) => Flow.select(byName.get(blocks[Math.round(point.x)].name))));
  }
  if (blocks.length) Page.draw("profile", drawProfile);

  /* Shares of the forks that are no blocks, at the step that is shown. */
  function drawOthers() {
    const rows = others.flatMap((fork) => (fork.paths.length > 2 ? fork.paths : fork.paths.slice(0, 1))
      .map((path, place) => ({ fork, path, place }))).reverse();
    return Page.plot("others", [{
      type: "bar", orientation: "h", x: rows.map((row) => row.fork.share[row.place][state.step]),
      y: rows.map((_, at) => at), hoverinfo: "text", textposition: "none",
      text: rows.map((row) => `${plainText(row.fork.name)} · ${plainText(row.path)}<br>share ${percent(row.fork.share[row.place][state.step])}`),
      marker: { color: rows.map((row) => (row.fork === flow.forks[state.fork] ? css("--accent") : css("--c6"))) },
    }], {
      height: 70 + 24 * rows.length, margin: { l: 50, r: 20, t: 6, b: 36 }, bargap: 0.35,
      xaxis: axis("share of the fork's gradient", { range: [0, 1], tickformat: ".0%" }),
      yaxis: axis("", { tickvals: rows.map((_, at) => at), showgrid: false,
        ticktext: rows.map((row) => plainText(`${row.fork.label} · ${row.path}`)) }),
    }).then((place) => onClick(place, (point) => Flow.select(byName.get(rows[Math.round(point.y)].fork.name))));
  }
  if (others.length) Page.draw("others", drawOthers);
})();
