"use strict";
/* One fork is chosen and one step is shown, everywhere at the same time. */
(() => {
  if (!Flow) return;
  const { flow, byName, blocks, state, percent, stepLine } = Flow;

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
  const told = document.getElementById("step-value");
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
    Flow.moveHeats();
    moveLine("fork", () => [stepLine(flow.steps[state.step])]);
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
    Flow.redrawHeats();
  }
  for (const choice of ["relative", "scale"]) {
    document.getElementById(choice).addEventListener("change", (event) => {
      state[choice] = event.target.value;
      Flow.redrawHeats();
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

  Object.assign(Flow, { select, setStep, moveLine });
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
