// Of a form that was refused: what was typed is not saved yet, so leaving the page asks, as after typing (Unfold's warning).
"use strict";

window.addEventListener("load", () => {
  const field = document.querySelector("form.warn-unsaved-form :is(input, select, textarea)");
  field?.dispatchEvent(new Event("input"));
});
