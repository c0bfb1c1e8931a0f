"use strict";
/* What every page does: theme, downloads, tables, figures drawn one after the other.
   Text from the data reaches the page through textContent or plotly's hover, whose
   few tags are escaped by `plainText`; never through innerHTML. */
const Page = (() => {
  const root = document.documentElement;
  const data = JSON.parse(document.getElementById("page-data").textContent);
  const drawers = new Map();
  const drawn = new Set();
  const csvMakers = new Map();

  const css = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const plainText = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;")
    .replace(/>/g, "&gt;");

  /* Theme: the reader's system unless the button says otherwise. */
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  let chosen = null;
  const theme = () => chosen || (system.matches ? "dark" : "light");
  const button = document.getElementById("theme");
  function applyTheme() {
    root.dataset.theme = theme();
    button.textContent = theme() === "dark" ? "Light" : "Dark";
    button.setAttribute("aria-label", `Switch to ${theme() === "dark" ? "light" : "dark"}`);
    for (const id of drawn) drawNow(id);
    document.dispatchEvent(new Event("themechange"));
  }
  button.hidden = false;
  button.addEventListener("click", () => {
    chosen = theme() === "dark" ? "light" : "dark";
    applyTheme();
  });
  system.addEventListener("change", applyTheme);

  /* Figures. */
  const DASHES = ["solid", "dash", "dashdot", "dot", "longdash", "longdashdot", "8px 3px"];
  const MARKS = ["circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x"];
  const look = (number) => ({
    line: { color: css(`--c${number % 7}`), dash: DASHES[number % 7], width: 1.8 },
    marker: { color: css(`--c${number % 7}`), symbol: MARKS[number % 7], size: 6 },
  });
  const narrow = () => window.innerWidth < 640;

  function axis(title, more) {
    return Object.assign({
      title: { text: title, font: { size: 12 } }, gridcolor: css("--line"),
      linecolor: css("--line"), zeroline: false, automargin: true, ticks: "",
      exponentformat: "power",
    }, more);
  }

  /* A log axis whose labels stay few: powers of ten, and 2 and 5 where it is short. */
  function logTicks(values, always = false) {
    const known = values.filter((value) => value > 0);
    const low = known.reduce((a, b) => Math.min(a, b), Infinity);
    const high = known.reduce((a, b) => Math.max(a, b), 0);
    if (!always && high / low < 3) return { type: "linear" };
    return { type: "log", exponentformat: "power", dtick: high / low > 30 ? 1 : "D2", minor: { showgrid: false } };
  }

  function plot(id, traces, layout) {
    const place = document.getElementById(id);
    if (!place) return Promise.resolve(null);
    const whole = Object.assign({
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: css("--text") },
      margin: { l: 50, r: 12, t: 12, b: 40 }, hovermode: "closest",
      hoverlabel: { bgcolor: css("--raised"), bordercolor: css("--line"), font: { color: css("--text") } },
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { size: 11 } },
      dragmode: narrow() ? false : "zoom",
    }, layout);
    place.style.minHeight = "";
    const old = place.querySelector(".placeholder");
    if (old) old.remove();
    return Plotly.react(place, traces, whole, {
      responsive: true, displaylogo: false, displayModeBar: false, doubleClick: "reset",
    }).then(() => place);
  }

  function drawNow(id) {
    drawn.add(id);
    drawers.get(id)();
  }
  const draw = (id, drawer) => drawers.set(id, drawer);
  const redraw = (id) => { if (drawn.has(id)) drawers.get(id)(); };

  /* Those in sight at once, the others when there is time. */
  function drawAll() {
    const waiting = [...drawers.keys()].filter((id) => document.getElementById(id));
    const next = () => {
      const id = waiting.find((each) => !drawn.has(each));
      if (id === undefined) {
        root.dataset.drawn = "all";
        return;
      }
      drawNow(id);
      setTimeout(next, 0);
    };
    setTimeout(next, 0);
  }
  /* On paper: everything, in light colours, as wide as a page. */
  const PAPER = 660;
  const plots = () => [...drawn].map((id) => document.getElementById(id)).filter((place) => place && place.data);
  let before = null;
  window.addEventListener("beforeprint", () => {
    before = { chosen };
    chosen = "light";
    for (const id of drawers.keys()) if (document.getElementById(id)) drawn.add(id);
    applyTheme();
    for (const place of plots()) Plotly.relayout(place, { width: Math.min(PAPER, place.clientWidth || PAPER) });
  });
  window.addEventListener("afterprint", () => {
    if (!before) return;
    chosen = before.chosen;
    before = null;
    applyTheme();
    for (const place of plots()) Plotly.relayout(place, { width: null, autosize: true });
  });

  /* Downloads. */
  function csvText(columns, rows) {
    const cell = (value) => {
      if (value === null || value === undefined) return "";
      const text = String(value);
      return /[",\n\r]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
    };
    return [columns, ...rows].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
  }
  function csv(name) {
    if (csvMakers.has(name)) return csvMakers.get(name)();
    const table = data.tables[name];
    return csvText(table.columns, table.rows);
  }
  document.addEventListener("click", (event) => {
    const from = event.target.closest("[data-csv]");
    if (!from) return;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([csv(from.dataset.csv)], { type: "text/csv" }));
    link.download = `${from.dataset.csv}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });

  /* Tables: heads that sort, a field that filters. */
  function sortBy(table, column, descending) {
    const body = table.tBodies[0];
    const key = (row) => {
      const cell = row.cells[column];
      const text = cell.dataset.value !== undefined ? cell.dataset.value : cell.textContent;
      const value = Number(text);
      return text !== "" && Number.isFinite(value) ? value : text;
    };
    const rows = [...body.rows].map((row, place) => ({ row, key: key(row), place }));
    rows.sort((a, b) => {
      const number = typeof a.key === "number", other = typeof b.key === "number";
      if (number !== other) return number ? -1 : 1;
      const less = number ? a.key - b.key : a.key.localeCompare(b.key, "en", { numeric: true });
      return (descending ? -less : less) || a.place - b.place;
    });
    rows.forEach((each) => body.append(each.row));
    [...table.tHead.rows[0].cells].forEach((head, place) => {
      if (place === column) head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
  }
  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const handle = document.createElement("button");
      handle.type = "button";
      handle.textContent = head.textContent;
      head.replaceChildren(handle);
      handle.addEventListener("click", () => {
        const first = head.classList.contains("number") ? "descending" : "ascending";
        const now = head.getAttribute("aria-sort");
        const descending = now === null ? first === "descending" : now === "ascending";
        sortBy(table, column, descending);
      });
    });
  }
  for (const field of document.querySelectorAll("input[data-filter]")) {
    const table = document.getElementById(field.dataset.filter);
    const only = document.querySelector(`input[data-only="${field.dataset.filter}"]`);
    const apply = () => {
      const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of table.tBodies[0].rows) {
        const text = row.textContent.toLowerCase();
        const kept = words.every((word) => text.includes(word))
          && !(only && only.checked && !row.classList.contains("changed"));
        row.classList.toggle("hidden", !kept);
      }
    };
    field.addEventListener("input", apply);
    if (only) { only.addEventListener("change", apply); apply(); }
  }

  const start = () => { applyTheme(); drawAll(); };
  return { data, css, plainText, look, axis, logTicks, plot, draw, redraw, csvText, csvMakers, csv, start, narrow };
})();
