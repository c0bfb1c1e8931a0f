"use strict";
/* The gradient flow: heat maps, profile, the chosen fork, the drawing. One fork is chosen
   and one step is shown, everywhere at the same time. */
(() => {
  const flow = Page.data.gradients;
  if (!flow) return;
  const { css, look, axis, plainText } = Page;
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
    return Page.plot(id, traces, layout).then((place) => {
      if (!place || place.linked) return;
      place.linked = true;
      place.on("plotly_click", (event) => {
        const point = event.points[0];
        const row = rowsOf(forks).reverse()[Math.round(point.y)];
        select(byName.get(row.fork.name));
        setStep(Math.round(point.x));
      });
    });
  }
  function shapes(rows) {
    const found = [{
      type: "line", x0: state.step, x1: state.step, y0: 0, y1: 1, yref: "paper",
      line: { color: css("--text"), width: 1, dash: "dot" },
    }];
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
    }).then((place) => {
      if (!place || place.linked) return;
      place.linked = true;
      place.on("plotly_click", (event) => select(byName.get(blocks[Math.round(event.points[0].x)].name)));
    });
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
    }).then((place) => {
      if (!place || place.linked) return;
      place.linked = true;
      place.on("plotly_click", (event) => select(byName.get(rows[Math.round(event.points[0].y)].fork.name)));
    });
  }
  if (others.length) Page.draw("others", drawOthers);

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
      shapes: [{ type: "line", x0: x[state.step], x1: x[state.step], yref: "paper", y0: 0, y1: 1,
        line: { color: css("--text"), width: 1, dash: "dot" } }],
    });
  }
  Page.draw("fork", drawFork);

  /* The drawing: width by share at the step that is shown. */
  const pictures = [...document.querySelectorAll("#drawing .fork")];
  function paintDrawing() {
    for (const picture of pictures) {
      const fork = flow.forks[byName.get(picture.dataset.fork)];
      for (const edge of picture.querySelectorAll(".edge")) {
        const place = Number(edge.dataset.place);
        const share = fork.share[place][state.step];
        const dead = fork.site[place][state.step] === 0;
        edge.classList.toggle("dead", dead);
        edge.setAttribute("stroke-width", dead || share === null ? 1 : (1 + 8 * Math.min(1, Math.max(0, share))).toFixed(2));
      }
      const told = fork.paths.map((path, place) => `${path} ${percent(fork.share[place][state.step])}`).join(", ");
      picture.querySelector("title").textContent = `${fork.name}, step ${flow.steps[state.step]}: ${told}`;
      picture.setAttribute("aria-label", `${fork.name}: ${told} of the gradient`);
      picture.setAttribute("aria-pressed", String(fork === flow.forks[state.fork]));
    }
  }
  for (const picture of pictures) {
    picture.addEventListener("click", () => select(byName.get(picture.dataset.fork)));
    picture.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      select(byName.get(picture.dataset.fork));
    });
  }

  /* Choosing. */
  const menu = document.getElementById("fork-menu");
  const slider = document.getElementById("step");
  const told = document.getElementById("step-told");
  const play = document.getElementById("play");
  function showInDrawing(picture) {
    const frame = picture.closest(".scroll");
    const here = picture.getBoundingClientRect(), around = frame.getBoundingClientRect();
    if (here.left >= around.left && here.right <= around.right) return;
    frame.scrollLeft += here.left - around.left - around.width / 2 + here.width / 2;
  }
  function showChoice() {
    const fork = flow.forks[state.fork];
    menu.value = String(state.fork);
    for (const row of document.querySelectorAll("tr[data-fork]")) {
      const chosen = row.dataset.fork === fork.name;
      row.classList.toggle("selected", chosen);
      if (chosen) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
    }
    paintDrawing();
    const picture = pictures.find((each) => each.dataset.fork === fork.name);
    if (picture) showInDrawing(picture);
  }
  function select(place, remember = true) {
    if (place === undefined) return;
    state.fork = place;
    showChoice();
    for (const id of ["heat-blocks", "heat-others", "profile", "others", "fork"]) Page.redraw(id);
    if (remember) history.replaceState(null, "", `#fork=${encodeURIComponent(flow.forks[place].name)}`);
  }
  function setStep(at) {
    state.step = Math.max(0, Math.min(flow.steps.length - 1, at));
    slider.value = String(state.step);
    const text = `step ${flow.steps[state.step].toLocaleString("en")}`;
    told.textContent = text;
    slider.setAttribute("aria-valuetext", text);
    paintDrawing();
    for (const id of ["profile", "others"]) Page.redraw(id);
    for (const [id, forks] of heats) moveLine(id, () => shapes(rowsOf(forks).reverse()));
    moveLine("fork", () => [{ type: "line", x0: flow.steps[state.step], x1: flow.steps[state.step], yref: "paper",
      y0: 0, y1: 1, line: { color: css("--text"), width: 1, dash: "dot" } }]);
  }
  function moveLine(id, make) {
    const place = document.getElementById(id);
    if (place && place.data) Plotly.relayout(place, { shapes: make() });
  }
  let timer = null;
  function stop() {
    clearInterval(timer);
    timer = null;
    play.textContent = "▶ Play";
    play.setAttribute("aria-pressed", "false");
  }
  play.addEventListener("click", () => {
    if (timer) { stop(); return; }
    if (state.step >= flow.steps.length - 1) setStep(0);
    play.textContent = "❚❚ Pause";
    play.setAttribute("aria-pressed", "true");
    const stride = Math.max(1, Math.round(flow.steps.length / 80));
    timer = setInterval(() => {
      if (state.step >= flow.steps.length - 1) { stop(); return; }
      setStep(state.step + stride);
    }, 140);
  });
  slider.addEventListener("input", () => { stop(); setStep(Number(slider.value)); });
  menu.addEventListener("change", () => select(Number(menu.value)));
  for (const row of document.querySelectorAll("tr[data-fork]")) {
    row.addEventListener("click", (event) => {
      if (!event.target.closest("a")) select(byName.get(row.dataset.fork));
    });
  }
  for (const choice of document.querySelectorAll("[data-view]")) {
    choice.addEventListener("click", () => setView(choice.dataset.view));
  }
  function setView(view) {
    state.view = view;
    for (const choice of document.querySelectorAll("[data-view]")) {
      choice.setAttribute("aria-pressed", String(choice.dataset.view === view));
    }
    for (const [id] of heats) Page.redraw(id);
  }
  for (const choice of ["relative", "scale"]) {
    document.getElementById(choice).addEventListener("change", (event) => {
      state[choice] = event.target.value;
      for (const [id] of heats) Page.redraw(id);
    });
  }

  /* #fork=NAME&path=NAME&step=N: links of the findings, and what a reader sends to another. */
  function nearest(step) {
    return flow.steps.reduce((best, each, at) => (
      Math.abs(each - step) < Math.abs(flow.steps[best] - step) ? at : best), 0);
  }
  function fromHash(scroll) {
    const words = new URLSearchParams(window.location.hash.slice(1));
    const place = byName.get(words.get("fork"));
    if (place === undefined) return;
    const path = words.get("path");
    if (path) setView(flow.forks[place].paths.indexOf(path) > 0 ? "second" : "first");
    select(place, false);
    if (words.has("step")) setStep(nearest(Number(words.get("step"))));
    if (scroll) document.getElementById("flow").scrollIntoView();
  }
  window.addEventListener("hashchange", () => fromHash(true));
  document.addEventListener("themechange", paintDrawing);

  /* The same columns as the log, one row per step, fork and path. */
  Page.csvMakers.set("gradients", () => {
    const rows = [];
    flow.steps.forEach((step, at) => {
      for (const fork of flow.forks) {
        fork.paths.forEach((path, place) => rows.push([step, fork.depth, fork.name, fork.kind, path,
          fork.site[place][at], fork.share[place][at], fork.cosine[at], fork.total[at]]));
      }
    });
    return Page.csvText(["step", "depth", "fork", "kind", "path", "site", "share", "cosine", "total_site"], rows);
  });

  const first = Page.data.findings.find((finding) => finding.forks.length);
  if (first) {
    state.fork = byName.get(first.forks[0]);
    const paths = flow.forks[state.fork].paths;
    if (first.step > flow.steps[0]) state.step = nearest(first.step);
    if (first.path && paths.indexOf(first.path) > 0) state.view = "second";
  } else if (blocks.length) state.fork = byName.get(blocks[0].name);
  setView(state.view);
  showChoice();
  setStep(state.step);
  fromHash(Boolean(window.location.hash));
})();
