"use strict";
/* Curves over the steps: each figure names its table and the columns it draws. */
(() => {
  const { data, axis, look, plainText } = Page;
  for (const curve of data.curves) {
    const table = data.tables[curve.table];
    const at = (name) => table.columns.indexOf(name);
    const steps = table.rows.map((row) => row[at("step")]);
    const few = steps.length < 40;
    Page.draw(curve.id, () => {
      const traces = curve.columns.map(([name, shown, side], number) => ({
        type: "scatter", mode: few ? "lines+markers" : "lines", x: steps,
        y: table.rows.map((row) => row[at(name)]), name: plainText(shown),
        yaxis: side === 2 ? "y2" : "y", connectgaps: false, ...look(number),
        hovertemplate: `step %{x}: ${plainText(shown).replace(/%/g, "&#37;")} %{y:.4g}<extra></extra>`,
      }));
      const two = curve.columns.some((column) => column[2] === 2);
      return Page.plot(curve.id, traces, {
        height: 320, xaxis: axis("step"),
        yaxis: axis(curve.unit, { ...(curve.log ? Page.logTicks(traces.filter((trace) => trace.yaxis === "y").flatMap((trace) => trace.y)) : {}), ...(curve.share ? { rangemode: "tozero" } : {}) }),
        ...(two ? { yaxis2: axis(curve.unit2, { overlaying: "y", side: "right", showgrid: false, rangemode: "tozero", tickmode: "auto", nticks: 6 }),
          margin: { l: 50, r: 60, t: 12, b: 40 } } : {}),
      });
    });
  }
})();
