// Says on the page of an import that the file could not be sent: browsers refuse one that was changed since it was chosen.
"use strict";

const showFailure = (event) => {
  if (event.target.closest("#import-form")) document.getElementById("import-failed").hidden = false;
};

for (const name of ["htmx:sendError", "htmx:responseError", "htmx:timeout"]) document.addEventListener(name, showFailure);
document.addEventListener("htmx:beforeRequest", () => {
  document.getElementById("import-failed").hidden = true;
});
