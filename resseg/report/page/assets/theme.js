"use strict";
/* Before anything is painted, so that nobody is dazzled. */
document.documentElement.dataset.theme =
  window.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
