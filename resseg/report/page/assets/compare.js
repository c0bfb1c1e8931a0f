"use strict";
/* Runs side by side: tables in long form, one line per run. */
(() => {
  const { data, axis, look, plainText } = Page;
  for (const curve of data.compared) {
    const { columns, rows } = data.tables[curve.table];
    const value = columns[columns.length - 1];
    const short = (text) => (text.length > 60 ? `${text.slice(0, 59)}…` : text);
    Page.draw(curve.id, () => {
      /* Places of the network with the most blocks; another network's go by position. */
      const by = new Map(curve.names.map((name) => [name, rows.filter((row) => row[0] === name)]));
      const places = curve.x === "step" ? null
        : [...by.values()].reduce((a, b) => (b.length > a.length ? b : a)).map((row) => row[1]);
      const traces = curve.names.map((name, number) => {
        const mine = by.get(name);
        const known = places && mine.every((row) => places.includes(row[1]));
        return {
          type: "scatter", mode: mine.length > 60 ? "lines" : "lines+markers", ...look(number),
          x: mine.map((row, at) => (places ? (known ? places.indexOf(row[1]) : at) : row[1])),
          y: mine.map((row) => (curve.log && !(row[2] > 0) ? null : row[2])), name: plainText(short(name)),
          text: mine.map((row) => `${plainText(short(name))}<br>${plainText(row[1])}: ${row[2] === null ? "not defined" : Number(row[2]).toPrecision(4)}`),
          hoverinfo: "text",
        };
      });
      const every = places ? Math.max(1, Math.ceil(places.length / (Page.narrow() ? 10 : 20))) : 1;
      const ticks = places ? places.map((_, at) => at).filter((at) => at % every === 0) : null;
      return Page.plot(curve.id, traces, {
        height: 380,
        xaxis: axis(curve.x === "step" ? "step" : "", places ? { tickvals: ticks, ticktext: ticks.map((at) => plainText(places[at])), tickangle: -45 } : {}),
        yaxis: axis(curve.unit, curve.log ? Page.logTicks(rows.map((row) => row[2])) : value === "share" ? { range: [0, 1], tickformat: ".0%" } : {}),
      });
    });
  }
})();
