// Selects every client of a page at once. Without scripts its box stays hidden, and each client is ticked by itself.
"use strict";

for (const form of document.querySelectorAll("[data-selection]")) {
  const label = form.querySelector("[data-select-page]");
  const box = label.querySelector("input");
  const rows = [...form.querySelectorAll("input[name=client]")];
  const tell = () => {
    const ticked = rows.filter((row) => row.checked).length;
    box.checked = ticked === rows.length;
    box.indeterminate = ticked > 0 && !box.checked;
  };
  label.hidden = false;
  box.addEventListener("change", () => rows.forEach((row) => (row.checked = box.checked)));
  rows.forEach((row) => row.addEventListener("change", tell));
  tell();
}
