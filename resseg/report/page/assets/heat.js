"use strict";
/* Heat maps, depth × step: blocks in one, everything else in another. */
(() => {
  if (!Flow) return;
  const { css, axis, plainText } = Page;
  const { flow, byName, blocks, others, state, log, median, short, percent, stepLine, onClick } = Flow;

  /* What a row of a heat map shows: a fork, or one path of it. */
  function rowsOf(forks) {
    const rows = [];
    for (const fork of forks) {
      const many = fork.paths.length > 2;
      if (state.view === "total") rows.push({ fork, path: null, values: fork.total });
      else if (many) {
        fork.paths.forEach((path, place) => rows.push({
          fork, path, values: state.view === "share" ? fork.share[place] : fork.site[place],
        }));
      } else {
        const place = state.view === "second" ? fork.paths.length - 1 : 0;
        rows.push({
          fork, path: fork.paths[place],
          values: state.view === "share" ? fork.share[0] : fork.site[place],
        });
      }
    }
    return rows;
  }
  const label = (row) => plainText(row.path && row.fork.paths.length > 2
    ? `${row.fork.label} · ${row.path}` : row.fork.label);

  /* Two-way around 0; or one-way (cividis, dark = less), told apart without hue. */
  const SCALES = {
    diverging: () => [[0, css("--low")], [0.5, css("--middle")], [1, css("--high")]],
    grey: () => [[0, "#00224e"], [0.25, "#3a4d6b"], [0.5, "#7b7b78"], [0.75, "#bcae6c"], [1, "#fee838"]],
  };
  function drawHeat(id, forks) {
    const rows = rowsOf(forks).reverse();
    const shares = state.view === "share";
    const logs = rows.map((row) => (shares ? row.values : row.values.map(log)));
    let middle = flow.steps.map(() => (shares ? 0.5 : 0));
    if (!shares && state.relative === "step") {
      const from = rowsOf(blocks.length ? blocks : forks).map((row) => row.values.map(log));
      middle = flow.steps.map((_, at) => median(from.map((row) => row[at])));
    } else if (!shares) {
      const all = median(logs.flat());
      middle = flow.steps.map(() => all);
    }
    const z = logs.map((row) => row.map((value, at) => (value === null ? null : value - middle[at])));
    const far = shares ? 0.5 : Math.max(0.3, Math.min(6, z.flat().reduce((most, v) => Math.max(most, Math.abs(v || 0)), 0)));
    const x = flow.steps.map((_, at) => at);
    const names = rows.map(label);
    const hover = rows.map((row) => row.values.map((value, at) => (
      `${plainText(row.fork.name)}${row.path ? ` · ${plainText(row.path)}` : ""}<br>step ${flow.steps[at]}: `
      + (shares ? `share ${percent(value)}` : `site norm ${value === 0 ? "exactly 0" : short(value)}`))));
    const traces = [{
      type: "heatmap", x, y: names.map((_, at) => at), z, text: hover, hoverinfo: "text", xgap: 0,
      ygap: rows.length > 40 ? 0 : 1, zmin: -far, zmax: far,
      colorscale: SCALES[state.scale](),
      colorbar: {
        thickness: 10, len: 1, outlinewidth: 0, tickfont: { size: 10 }, x: 1.01,
        title: { text: shares ? "share − ½" : "log10", side: "top", font: { size: 11 } },
      },
    }];
    /* Exactly 0 and not finite have a mark of their own, to be seen in grey too. */
    const marks = { dead: { x: [], y: [], text: [] }, bad: { x: [], y: [], text: [] } };
    const every = Math.max(1, Math.floor(x.length / 24));
    rows.forEach((row, y) => row.values.forEach((value, at) => {
      const kind = value === null && !shares ? "bad" : value === 0 ? "dead" : null;
      if (!kind || (kind === "dead" && at % every !== every >> 1 && x.length > 1)) return;
      marks[kind].x.push(at); marks[kind].y.push(y); marks[kind].text.push(hover[y][at]);
    }));
    const zero = rows.map((row) => row.values.map((value) => (value === 0 ? 1 : null)));
    if (zero.flat().some((value) => value === 1)) {
      traces.push({
        type: "heatmap", x, y: names.map((_, at) => at), z: zero, showscale: false, hoverinfo: "skip",
        ygap: rows.length > 40 ? 0 : 1, zmin: 0, zmax: 1,
        colorscale: [[0, css("--dead")], [1, css("--dead")]],
      });
    }
    traces.push({
      type: "scatter", mode: "markers", ...marks.dead, hoverinfo: "text", showlegend: false,
      marker: { symbol: "x", size: 6, color: css("--ground") },
    }, {
      type: "scatter", mode: "markers", ...marks.bad, hoverinfo: "text", showlegend: false,
      marker: { symbol: "triangle-up", size: 9, color: css("--text"), line: { color: css("--ground"), width: 1 } },
    });
    const ticks = [];
    const wanted = Page.narrow() ? 4 : 8;
    for (let i = 0; i < wanted; i += 1) ticks.push(Math.round(i * (x.length - 1) / (wanted - 1)));
    const vals = [...new Set(ticks)];
    const height = Math.max(130, 66 + rows.length * (rows.length > 40 ? 12 : 20));
    const layout = {
      height, showlegend: false, margin: { l: 50, r: 64, t: 8, b: 38 }, shapes: shapes(rows),
      xaxis: axis("step", { tickvals: vals, ticktext: vals.map((at) => String(flow.steps[at])),
        showgrid: false, range: [-0.5, x.length - 0.5] }),
      yaxis: axis("", { tickvals: names.map((_, at) => at), ticktext: names, showgrid: false,
        range: [-0.5, rows.length - 0.5], tickfont: { size: Page.narrow() ? 9 : 11 } }),
    };
    return Page.plot(id, traces, layout).then((place) => onClick(place, (point) => {
      const row = rowsOf(forks).reverse()[Math.round(point.y)];
      Flow.select(byName.get(row.fork.name));
      Flow.setStep(Math.round(point.x));
    }));
  }
  function shapes(rows) {
    const found = [stepLine(state.step)];
    rows.forEach((row, y) => {
      if (row.fork !== flow.forks[state.fork]) return;
      found.push({
        type: "rect", xref: "paper", x0: 0, x1: 1, y0: y - 0.5, y1: y + 0.5,
        line: { color: css("--text"), width: 2 }, fillcolor: "rgba(0,0,0,0)",
      });
    });
    return found;
  }
  const heats = [["heat-blocks", blocks], ["heat-others", others]].filter(([, forks]) => forks.length);
  for (const [id, forks] of heats) Page.draw(id, () => drawHeat(id, forks));
  Flow.redrawHeats = () => { for (const [id] of heats) Page.redraw(id); };
  Flow.moveHeats = () => {
    for (const [id, forks] of heats) Flow.moveLine(id, () => shapes(rowsOf(forks).reverse()));
  };
})();
