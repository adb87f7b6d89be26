// The list of clients: how many are selected, the menus of the bar and of a row. Without scripts the boxes and the bar's menus do the same.
"use strict";

// Each row has its moments: the exact ones are written out when somebody points at them.
const { lang } = document.documentElement;
const exact = new Intl.DateTimeFormat(lang === "en" ? "en-GB" : lang, { dateStyle: "medium", timeStyle: "medium", timeZone: "UTC" });

let tellSelected = () => {};
const watchRows = () => {
  const form = document.getElementById("changelist-form");
  tellSelected = () => {};
  if (!form) return;

  const boxes = [...form.querySelectorAll("tbody .action-select")];
  const page = document.getElementById("action-toggle");
  const across = form.querySelector("[name=select_across]");
  const told = form.querySelector("[data-selected]");
  const tell = () => {
    const ticked = boxes.filter((box) => box.checked).length;
    const number = form.querySelectorAll(".action-select:checked").length;
    page.checked = ticked === boxes.length;
    page.indeterminate = ticked > 0 && !page.checked;
    // All that there is is selected already.
    const every = across.parentElement;
    if ("onePage" in every.dataset) every.hidden = page.checked && !across.checked;
    const { one, many, all } = told.dataset;
    told.textContent = across.checked ? all : number === 1 ? one : many.replace("%s", number);
  };
  const tick = (some, isTicked) => {
    some.forEach((box) => (box.checked = isTicked));
    form.dispatchEvent(new Event("change"));
  };

  form.addEventListener("mouseover", ({ target }) => {
    if (target.matches("td time:not([title])")) target.title = `${exact.format(new Date(target.dateTime))} UTC`;
  });

  let last = null;
  form.addEventListener("click", (event) => {
    const { target, shiftKey } = event;
    if (target === page) tick(boxes, page.checked);
    if (target.closest("[data-clear]")) tick(boxes, false);
    if (!target.matches(".action-select")) return;
    const [from, to] = [boxes.indexOf(last), boxes.indexOf(target)].sort((one, other) => one - other);
    if (shiftKey && from >= 0) tick(boxes.slice(from, to + 1), target.checked);
    last = target;
  });
  form.addEventListener("change", ({ target }) => {
    // Whoever chooses anew means these alone.
    if (target !== across) across.checked = false;
    tell();
  });
  tellSelected = tell;
};
// After `keep_selection.js`, which ticks what was ticked before.
document.addEventListener("DOMContentLoaded", watchRows);
window.addEventListener("pageshow", () => tellSelected());
// Other rows came while somebody typed into the search.
document.addEventListener("htmx:afterSettle", ({ target }) => {
  if (target.id !== "list-found") return;
  watchRows();
  tellSelected();
});

// The menu of a row: made of the one template when it is opened.
let opened = null;
const closeRow = () => {
  if (!opened) return;
  opened.setAttribute("aria-expanded", "false");
  opened.nextElementSibling.remove();
  opened = null;
};
const openRow = (button) => {
  const row = button.closest("tr");
  const menu = document.getElementById("row-menu").content.firstElementChild.cloneNode(true);
  const { value } = row.querySelector(".action-select");
  menu.elements._selected_action.value = value;
  menu.elements.shown_phases.value = `${value}:${row.dataset.phase}`;
  for (const item of menu.querySelectorAll("button")) {
    if (item.dataset.of && item.dataset.of !== row.dataset.phase) item.remove();
  }
  button.after(menu);
  button.setAttribute("aria-expanded", "true");
  opened = button;
  const isLow = menu.getBoundingClientRect().bottom > window.innerHeight;
  menu.classList.toggle("opens-upward", isLow && button.getBoundingClientRect().top > menu.offsetHeight);
  menu.scrollIntoView({ block: "nearest" });
  menu.querySelector("button")?.focus();
};
document.addEventListener("click", ({ target }) => {
  const button = target.closest(".row-menu");
  const before = opened;
  if (!target.closest(".list-menu-items")) closeRow();
  if (button && button !== before) openRow(button);
});
document.addEventListener("keydown", ({ key }) => {
  if (key !== "Escape" || !opened) return;
  const button = opened;
  closeRow();
  button.focus();
});
