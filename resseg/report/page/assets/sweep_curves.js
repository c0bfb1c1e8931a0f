"use strict";
/* Learning curves of a sweep: the chosen variants in colour, the others in grey.
   What is chosen stands in the address: #show=1,4 */
(() => {
  const { data, axis, css, look, plainText } = Page;
  const { variants, baselines } = data.sweep;
  const MOST = 7;
  const short = (at) => plainText(variants[at].short);
  const digits = (value) => (value === null ? "not defined" : Number(value).toPrecision(4));

  function usual() {
    const all = variants.map((_, at) => at);
    if (all.length <= MOST) return all;
    const others = all.filter((at) => !baselines.includes(at)), count = 4;
    if (others.length < count) return all.slice(0, MOST);
    const spread = [...Array(count).keys()].map((n) => others[Math.round(n * (others.length - 1) / (count - 1))]);
    return [...baselines.slice(0, 1), ...spread];
  }
  /* Places in the palette: a variant keeps its look while others come and go. */
  let chosen = new Map();
  function choose(list) {
    chosen = new Map(list.slice(0, MOST).map((at, look_) => [at, look_]));
  }
  function toggle(at) {
    if (chosen.has(at)) chosen.delete(at);
    else {
      if (chosen.size >= MOST) chosen.delete(chosen.keys().next().value);
      const taken = new Set(chosen.values());
      chosen.set(at, [...Array(MOST).keys()].find((number) => !taken.has(number)));
    }
    remember();
    show();
  }
  const words = () => new URLSearchParams(window.location.hash.slice(1));
  function remember() {
    const list = [...chosen.keys()].map((at) => at + 1).join(",");
    window.history.replaceState(null, "", `#show=${list}`);
  }
  function recall() {
    if (!words().has("show")) return false;
    const wanted = words().get("show").split(",").map((word) => Number(word) - 1);
    choose(wanted.filter((at) => Number.isInteger(at) && variants[at]));
    return true;
  }

  const SVG = "http://www.w3.org/2000/svg";
  const DASH = { solid: "", dash: "5 3", dashdot: "6 2 1 2", dot: "1.5 2", longdash: "9 3", longdashdot: "9 2 1 2" };
  function sample(number) {
    const svg = document.createElementNS(SVG, "svg"), line = document.createElementNS(SVG, "line");
    const how = look(number).line;
    svg.setAttribute("viewBox", "0 0 36 10");
    svg.setAttribute("aria-hidden", "true");
    const dash = how.dash in DASH ? DASH[how.dash] : how.dash.replace(/px/g, "");
    const all = { x1: 0, x2: 36, y1: 5, y2: 5, stroke: how.color, "stroke-width": 3, "stroke-dasharray": dash };
    for (const [name, value] of Object.entries(all)) line.setAttribute(name, value);
    svg.append(line);
    return svg;
  }
  function show() {
    for (const button of document.querySelectorAll("[data-show]")) {
      const at = Number(button.dataset.show);
      button.setAttribute("aria-pressed", String(chosen.has(at)));
      if (chosen.has(at)) button.style.setProperty("--shown", look(chosen.get(at)).line.color);
      else button.style.removeProperty("--shown");
    }
    const chips = [...chosen].map(([at, number]) => {
      const chip = document.createElement("span"), name = document.createElement("span");
      chip.className = "chip";
      name.textContent = `${at + 1} · ${variants[at].short}${baselines.includes(at) ? " (baseline)" : ""}`;
      chip.append(sample(number), name);
      return chip;
    });
    const place = document.getElementById("chosen");
    if (place) place.replaceChildren(...(chips.length ? chips : ["No variant is chosen."]));
    for (const curve of data.curves) Page.redraw(curve.id);
  }

  /* Pieces without a gap, and of an equal number of seeds. */
  function pieces(rows) {
    const found = [];
    let last = null;
    for (const row of rows) {
      if (row[3] === null) { last = null; continue; }
      if (last === null || last[2] !== row[2]) found.push([]);
      found[found.length - 1].push(row);
      last = row;
    }
    return found;
  }
  const broken = (parts, of) => parts.flatMap((piece) => [...piece.map(of), null]);

  for (const curve of data.curves) {
    const by = new Map();
    for (const row of data.tables[curve.table].rows) {
      if (!by.has(row[0])) by.set(row[0], []);
      by.get(row[0]).push(row);
    }
    const parts = new Map([...by].map(([at, rows]) => [at, pieces(rows)]));
    Page.draw(curve.id, () => {
      const others = [...parts].filter(([at]) => !chosen.has(at)).flatMap(([, each]) => each);
      const few = [...by.values()].every((rows) => rows.length < 40);
      const traces = [{
        type: "scatter", mode: "lines", x: broken(others, (row) => row[1]), y: broken(others, (row) => row[3]),
        line: { color: css("--line"), width: 1 }, hoverinfo: "skip", showlegend: false,
      }];
      for (const [at, number] of chosen) {
        const mine = parts.get(at);
        if (!mine) continue;
        const bands = mine.filter((piece) => piece[0][2] > 1 && piece.length > 1);
        traces.push({
          type: "scatter", mode: "lines", fill: "toself", hoverinfo: "skip", showlegend: false,
          x: bands.flatMap((piece) => [...piece.map((row) => row[1]), ...piece.map((row) => row[1]).reverse(), null]),
          y: bands.flatMap((piece) => [...piece.map((row) => row[4]), ...piece.map((row) => row[5]).reverse(), null]),
          line: { width: 0 }, fillcolor: `${look(number).line.color}26`,
        });
      }
      for (const [at, number] of chosen) {
        const mine = parts.get(at);
        if (!mine) continue;
        traces.push({
          type: "scatter", mode: few ? "lines+markers" : "lines", ...look(number), showlegend: false, name: short(at),
          x: broken(mine, (row) => row[1]), y: broken(mine, (row) => row[3]), hoverinfo: "text",
          text: broken(mine, (row) => `${at + 1} · ${short(at)}<br>step ${row[1]}: ${digits(row[3])}, ${row[2]} seed${row[2] > 1 ? "s" : ""}<br>lowest ${digits(row[4])}, highest ${digits(row[5])}`),
        });
      }
      return Page.plot(curve.id, traces, {
        height: 360, xaxis: axis("step", { rangemode: "tozero" }), yaxis: axis(plainText(curve.unit)),
      });
    });
  }

  for (const button of document.querySelectorAll("[data-show]")) {
    button.addEventListener("click", () => toggle(Number(button.dataset.show)));
  }
  window.addEventListener("hashchange", () => { if (recall()) show(); });
  document.addEventListener("themechange", show);
  /* Before a page that is served loads the next one: what is chosen goes with it. */
  document.addEventListener("beforerefresh", remember);
  if (!recall()) choose(usual());
})();
