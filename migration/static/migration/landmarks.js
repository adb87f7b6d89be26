// Simplebar gives every part that scrolls one name; a screen reader tells them apart by it. Runs before simplebar does.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const title = document.querySelector("h1")?.textContent.trim();
  for (const part of document.querySelectorAll("main [data-simplebar]")) {
    if (title) part.dataset.simplebarAriaLabel = title;
  }
});
