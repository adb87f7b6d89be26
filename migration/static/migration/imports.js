// Says on the page of an import that the file could not be sent: browsers refuse one that was changed since it was chosen.
"use strict";

// Unfold shows the chosen file in a text field beside the input, and fails where there is none: the browser shows it here.
document.querySelector("#import-form [type=file]").hasChangeListener = true;

const wait = document.getElementById("import-wait");

const showFailure = (event) => {
  if (event.target.closest("#import-form")) document.getElementById("import-failed").hidden = false;
};

for (const name of ["htmx:sendError", "htmx:responseError", "htmx:timeout"]) document.addEventListener(name, showFailure);
document.addEventListener("htmx:beforeRequest", (event) => {
  document.getElementById("import-failed").hidden = true;
  // Beside the button that was pressed. What is swapped out takes it along, so it goes back before.
  event.detail.elt.closest("#import-form button")?.after(wait);
});
document.addEventListener("htmx:beforeSwap", () => document.getElementById("import-beside-preview").append(wait));
