"use strict";
/* A sweep: differences to the baseline, doses, costs. */
(() => {
  const { data, axis, css, look, plainText } = Page;
  const { sweep } = data;
  const short = (at) => plainText(sweep.variants[at].short);
  const brief = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
  const digits = (value) => (value === null ? "not defined" : Number(value).toPrecision(4));
  const signed = (value) => (value > 0 ? `+${digits(value)}` : digits(value));

  /* In the page tables name variants and lines by number, in a download by name. */
  for (const [name, table] of Object.entries(data.tables)) {
    const names = sweep.lines[name]
      || (table.columns[0] === "variant" && typeof table.rows[0]?.[0] === "number" && sweep.variants.map((each) => each.name));
    if (!names) continue;
    Page.csvMakers.set(name, () => Page.csvText(table.columns,
      table.rows.map(([first, ...rest]) => [names[first], ...rest])));
  }

  /* What is folded shows on paper. */
  window.addEventListener("beforeprint", () => {
    for (const each of document.querySelectorAll("details")) each.open = true;
  });

  if (data.forest) {
    const rows = data.forest.rows;
    const place = new Map(rows.map((row, at) => [row.variant, at]));
    const segments = (name, shift) => {
      const x = [], y = [];
      rows.forEach((row, at) => {
        if (!row[name]) return;
        x.push(...row[name], null);
        y.push(at + shift, at + shift, null);
      });
      return { x, y };
    };
    const told = (row) => `${short(row.variant)}<br>mean ${signed(row.mean)}, ${row.count} pair${row.count > 1 ? "s" : ""}`
      + (row.student ? `<br>Student ${signed(row.student[0])} to ${signed(row.student[1])}` : "")
      + (row.bootstrap ? `<br>bootstrap ${signed(row.bootstrap[0])} to ${signed(row.bootstrap[1])}` : "")
      + (row.why ? `<br>no interval: ${plainText(row.why)}` : "");
    Page.draw("forest", () => {
      const narrow = Page.narrow(), row = narrow ? 46 : 30, ink = css("--text");
      const dots = data.tables.differences.rows;
      const names = rows.map((each) => `${each.variant + 1} · ${short(each.variant)}`);
      const line = (name, kind, shift, how) => ({
        type: "scatter", mode: "lines", name: kind, hoverinfo: "skip", ...segments(name, shift), line: how,
      });
      const traces = [
        line("student", "Student's t 95 %", 0, { color: css("--c0"), width: 4 }),
        ...(rows.some((row) => row.bootstrap)
          ? [line("bootstrap", "BCa bootstrap 95 %", 0.26, { color: css("--c1"), width: 2, dash: "2px 2px" })] : []),
        {
          type: "scatter", mode: "markers", name: "one seed", hoverinfo: "text",
          x: dots.map((dot) => dot[3]), y: dots.map((dot) => place.get(dot[0])),
          text: dots.map((dot) => `${short(dot[0])}<br>seed ${dot[1]}: ${signed(dot[3])}<br>run ${plainText(dot[2])}`),
          marker: { symbol: "circle-open", size: 9, color: ink, line: { width: 1.4, color: ink } },
        },
        {
          type: "scatter", mode: "markers", name: "mean", hoverinfo: "text",
          x: rows.map((each) => each.mean), y: rows.map((_, at) => at), text: rows.map(told),
          marker: { symbol: "diamond", size: 9, color: css("--c0"), line: { width: 1.5, color: css("--ground") } },
        },
      ];
      const ticks = rows.map((_, at) => at);
      const labels = narrow ? rows.map((_, at) => ({
        x: 0, xref: "paper", xanchor: "left", y: at - 0.42, yref: "y", yanchor: "middle", showarrow: false,
        text: brief(names[at], 46), font: { size: 10.5, color: css("--soft") },
      })) : [];
      const layout = {
        height: 110 + row * rows.length, annotations: labels,
        xaxis: axis(`${plainText(data.forest.metric)} minus baseline`, { zeroline: true, zerolinecolor: ink, zerolinewidth: 1.5 }),
        yaxis: axis("", { range: [rows.length - 0.4, narrow ? -0.75 : -0.6], tickvals: ticks, showgrid: !narrow,
          ticktext: narrow ? ticks.map(() => "") : names.map((name) => brief(name, 52)) }),
        legend: { orientation: "h", x: 0, y: 1, yref: "container", yanchor: "top", font: { size: 11 } },
        margin: { l: narrow ? 12 : 50, r: 12, t: narrow ? 62 : 40, b: 44 },
      };
      return Page.plot("forest", traces, layout);
    });
  }

  for (const dose of data.doses) {
    const points = data.tables[dose.table].rows;
    Page.draw(dose.id, () => {
      const traces = dose.lines.flatMap((line, number) => {
        const mine = points.filter((point) => point[0] === number);
        const name = plainText(line.name);
        const style = number < 7 ? look(number)
          : { line: { color: css("--line"), width: 1.3 }, marker: { color: css("--soft"), symbol: "circle-open", size: 4 } };
        const legend = { legendgroup: String(number), name: brief(name, Page.narrow() ? 44 : 64) };
        return [{
          type: "scatter", mode: "lines", x: line.x, y: line.mean, line: style.line, ...legend,
          hoverinfo: "text", showlegend: number < 7 && dose.lines.length > 1,
          text: line.x.map((x, at) => `${name}<br>${plainText(dose.key)} = ${x}: mean ${digits(line.mean[at])}`),
        }, {
          type: "scatter", mode: "markers", x: mine.map((point) => point[1]), y: mine.map((point) => point[4]),
          marker: { ...style.marker, opacity: 0.75 }, ...legend, showlegend: false, hoverinfo: "text",
          text: mine.map((point) => `${name}<br>${plainText(dose.key)} = ${point[1]}, seed ${point[2]}: ${digits(point[4])}<br>run ${plainText(point[3])}`),
        }];
      });
      const values = [...new Set(points.map((point) => point[1]))].sort((a, b) => a - b);
      return Page.plot(dose.id, traces, {
        height: 360 + 20 * Math.min(7, dose.lines.length > 1 ? dose.lines.length : 0),
        xaxis: axis(plainText(dose.key), dose.log ? { type: "log", tickvals: values, ticktext: values.map(String) }
          : values.length <= 9 ? { tickvals: values } : {}),
        yaxis: axis(plainText(sweep.metric)),
        legend: { orientation: "h", x: 0, y: -0.22, yanchor: "top", font: { size: 11 } },
      });
    });
  }

  if (data.cost) {
    const menu = document.getElementById("cost-x");
    const table = data.tables.cost;
    const column = (name) => table.rows.map((row) => row[table.columns.indexOf(name)]);
    Page.draw("cost", () => {
      const mean = column("mean"), low = column("low"), high = column("high"), seeds = column("seeds");
      const x = column(menu.value);
      const traces = table.rows.map((row, at) => {
        const own = sweep.baselines.includes(row[0]);
        const known = low[at] !== null && mean[at] !== null;
        return {
          type: "scatter", mode: "markers+text", x: [x[at]], y: [mean[at]], showlegend: false, hoverinfo: "text",
          text: [table.rows.length > 12 ? "" : String(row[0] + 1)], textposition: "middle right",
          hovertext: [`${row[0] + 1} · ${short(row[0])}${own ? " (baseline)" : ""}<br>${plainText(sweep.metric)} ${digits(mean[at])}, ${seeds[at]} seed${seeds[at] > 1 ? "s" : ""}`
            + `${known ? `<br>95 % ${digits(low[at])} to ${digits(high[at])}` : ""}<br>${menu.selectedOptions[0].textContent}: ${digits(x[at])}`],
          marker: { size: own ? 12 : 9, symbol: own ? "square" : "circle", color: own ? css("--c1") : css("--c0"), line: { width: 1, color: css("--ground") } },
          error_y: { type: "data", symmetric: false, array: [known ? high[at] - mean[at] : 0], arrayminus: [known ? mean[at] - low[at] : 0],
            color: css("--soft"), thickness: 1, width: 3 },
        };
      });
      return Page.plot("cost", traces, {
        height: 380, xaxis: axis(menu.selectedOptions[0].textContent, { ...Page.logTicks(x), tickformat: menu.value === "seconds" ? "" : ".5~s", nticks: Page.narrow() ? 4 : 8 }), yaxis: axis(plainText(sweep.metric)),
      });
    });
    menu.addEventListener("change", () => Page.redraw("cost"));
  }
})();
