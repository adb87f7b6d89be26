// What Unfold leaves out for those who listen to a page.
"use strict";

// An icon is a word in a font of pictures: it would be read aloud before each button's own name, unless it is all of it.
const hideIcons = (part) => {
  for (const icon of part.querySelectorAll(".material-symbols-outlined")) {
    const control = icon.closest("a, button");
    const hasName = !control || control.title || control.ariaLabel || control.textContent.trim() !== icon.textContent.trim();
    if (hasName) icon.setAttribute("aria-hidden", "true");
  }
};

// Runs before simplebar, which gives every part that scrolls the same name.
document.addEventListener("DOMContentLoaded", () => {
  hideIcons(document);
  const title = document.querySelector("h1")?.textContent.trim();
  for (const part of document.querySelectorAll("main [data-simplebar]")) {
    if (title) part.dataset.simplebarAriaLabel = title;
  }
});
document.addEventListener("htmx:load", (event) => hideIcons(event.target));
