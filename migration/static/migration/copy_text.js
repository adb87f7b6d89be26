// Copies a name or an id with the button beside it, and says so. Without a clipboard (plain http) there is no button.
"use strict";

const showButtons = (part) => {
  for (const button of part.querySelectorAll(".copy-button")) button.hidden = false;
};

const copyText = async (button) => {
  await navigator.clipboard.writeText(button.dataset.copy);
  const told = document.createElement("span");
  told.setAttribute("role", "status");
  told.textContent = button.dataset.copied;
  button.after(told);
  setTimeout(() => told.remove(), 3000);
};

if (navigator.clipboard) {
  document.addEventListener("DOMContentLoaded", () => {
    showButtons(document);
    document.addEventListener("htmx:load", (event) => showButtons(event.target));
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest(".copy-button");
    if (button) copyText(button);
  });
}
