"use strict";
/* Under `resseg report --watch --serve`: asks for the version of this page, and loads it again once it is
   another, but not while somebody types, drags or has marked text. */
(() => {
  const [version, every] = document.querySelector("meta[name=live]").content.split(" ");
  const place = "resseg-live";
  const told = document.createElement("span");
  told.className = "soft";
  told.id = "live";
  told.setAttribute("role", "status");
  told.style.cssText = "font-size: .8rem; white-space: nowrap";
  told.textContent = "live";
  document.querySelector("nav").append(told);

  let pressed = false;
  window.addEventListener("pointerdown", () => { pressed = true; });
  for (const name of ["pointerup", "pointercancel"]) window.addEventListener(name, () => { pressed = false; });
  const busy = () => pressed || document.activeElement?.matches("input[type=search], select")
    || String(window.getSelection()) !== "";

  /* Search fields and the place on the page are as before. */
  function keep() {
    document.dispatchEvent(new Event("beforerefresh"));
    const fields = [...document.querySelectorAll("input[type=search]")].map((field) => [field.id, field.value]);
    const chosen = [...document.querySelectorAll("select")].map((menu) => [menu.id, menu.value]);
    sessionStorage.setItem(place, JSON.stringify({ path: location.pathname, y: window.scrollY, fields, chosen }));
  }
  function restore() {
    const text = sessionStorage.getItem(place);
    sessionStorage.removeItem(place);
    const kept = text ? JSON.parse(text) : null;
    if (!kept || kept.path !== location.pathname) return;
    for (const [kind, event] of [["fields", "input"], ["chosen", "change"]]) {
      for (const [id, value] of kept[kind]) {
        const field = id && document.getElementById(id);
        if (!field || field.value === value) continue;
        field.value = value;
        field.dispatchEvent(new Event(event));
      }
    }
    const ready = () => {
      if (document.documentElement.dataset.drawn !== "all") { setTimeout(ready, 50); return; }
      window.scrollTo({ top: kept.y, behavior: "instant" });
    };
    ready();
  }
  async function ask() {
    try {
      const answer = await fetch(new URL("?version", location.href), { cache: "no-store" });
      const now = answer.ok ? (await answer.text()).trim() : "";
      told.textContent = "live";
      if (now && now !== version) {
        if (busy()) told.textContent = "newer version waits";
        else { keep(); location.reload(); return; }
      }
    } catch {
      told.textContent = "resseg has ended";
    }
    setTimeout(ask, 1000 * Number(every));
  }
  restore();
  setTimeout(ask, 1000 * Number(every));
})();
