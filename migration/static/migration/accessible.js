// What Unfold leaves out for those who listen to a page.
"use strict";

// An icon is a word in a font of pictures: it would be read aloud before each button's own name, unless it is all of it.
const hideIcons = (part) => {
  for (const icon of part.querySelectorAll(".material-symbols-outlined")) {
    const control = icon.closest("a, button, [role=button]");
    if (control === icon) continue;
    const hasName = !control || control.title || control.ariaLabel || control.textContent.trim() !== icon.textContent.trim();
    if (hasName) icon.setAttribute("aria-hidden", "true");
  }
};

// Some of Unfold's buttons are links without an address: the keyboard would never come to them.
const makeButtons = (part) => {
  for (const fake of part.querySelectorAll("a[x-on\\:click]:not([href])")) {
    fake.setAttribute("role", "button");
    fake.tabIndex = 0;
    fake.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      fake.click();
    });
  }
};

// The panel of a list's filters takes the focus when it opens, and gives it back at Escape.
const followFilters = () => {
  const panel = document.getElementById("changelist-filter");
  const opener = document.querySelector('[x-on\\:click="filterOpen = true"]');
  if (!panel || !opener) return;
  opener.setAttribute("aria-controls", panel.id);
  opener.addEventListener("click", () => {
    setTimeout(() => panel.querySelector("a[href], input:not([type=hidden]), select, button")?.focus(), 100);
  });
  panel.addEventListener("keydown", (event) => {
    if (event.key === "Escape") opener.focus();
  });
};

// Runs before simplebar, which gives every part that scrolls the same name.
document.addEventListener("DOMContentLoaded", () => {
  makeButtons(document);
  followFilters();
  hideIcons(document);
  const title = document.querySelector("h1")?.textContent.trim();
  for (const part of document.querySelectorAll("main [data-simplebar]")) {
    if (title) part.dataset.simplebarAriaLabel = title;
  }
});
document.addEventListener("htmx:load", (event) => {
  if (event.target !== document.body) makeButtons(event.target);
  hideIcons(event.target);
});

// A menu or panel of a <details> closes at a click elsewhere, and at Escape.
const listOpen = () => [...document.querySelectorAll("details:is(.list-drop, .list-menu)[open]")];
document.addEventListener("click", ({ target }) => listOpen().forEach((drop) => drop.contains(target) || (drop.open = false)));
document.addEventListener("keydown", ({ key }) => {
  const [open] = key === "Escape" ? listOpen() : [];
  if (!open) return;
  open.open = false;
  open.querySelector("summary").focus();
});
