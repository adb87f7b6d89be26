// Keeps what is ticked in a list while somebody goes from page to page of it, in this tab alone; the form sends all of it.
"use strict";

const SELECTED = `selected:${window.location.pathname}`;
// A form may have a thousand fields. The page says this number.
const MOST_KEPT = 500;
// Of an address: these change which page of the same rows is shown, and no more.
const PAGING = ["p", "page", "o", "all"];

const nameRows = () => {
  const query = new URLSearchParams(window.location.search);
  PAGING.forEach((name) => query.delete(name));
  query.sort();
  return query.toString();
};

// Who comes from elsewhere begins anew: a tick that was forgotten must move no client.
const readKept = (event) => {
  const { rows, ids } = JSON.parse(sessionStorage.getItem(SELECTED) || "{}");
  const [visit] = performance.getEntriesByType("navigation");
  const isFromList = document.referrer && new URL(document.referrer).pathname === window.location.pathname;
  const goesOn = event.persisted || isFromList || ["back_forward", "reload"].includes(visit?.type);
  return goesOn && rows === nameRows() ? ids : [];
};

let restore = () => {};
// Django's counter hears of the same event, and counts later as it began to listen later.
window.addEventListener("pageshow", (event) => restore(readKept(event)));

const watchForm = () => {
  restore = () => {};
  const form = document.getElementById("changelist-form");
  const note = form?.querySelector("[data-elsewhere]");
  if (!note) return;
  const boxes = [...form.querySelectorAll("tr input.action-select")];
  const here = boxes.map((box) => box.value);
  let elsewhere = [];

  const tell = () => {
    note.hidden = elsewhere.length === 0;
    note.querySelector("[data-number]").textContent = elsewhere.length;
    // Unfold shows the bar of actions while such a box is ticked.
    const sent = { type: "checkbox", name: "_selected_action", className: "action-select", checked: true };
    note.querySelector("[data-ids]").replaceChildren(
      ...elsewhere.map((value) => Object.assign(document.createElement("input"), sent, { value })),
    );
    const ticked = boxes.filter((box) => box.checked).map((box) => box.value);
    const ids = [...elsewhere, ...ticked].slice(0, MOST_KEPT);
    sessionStorage.setItem(SELECTED, JSON.stringify({ rows: nameRows(), ids }));
  };

  restore = (ids) => {
    for (const box of boxes) if (ids.includes(box.value)) box.checked = true;
    elsewhere = ids.filter((id) => !here.includes(id));
    tell();
  };
  form.addEventListener("change", tell);
  form.addEventListener("click", ({ target }) => {
    if (target.closest(".clear, [data-clear]")) elsewhere = [];
    tell();
  });
};
document.addEventListener("DOMContentLoaded", watchForm);
// Other rows came while somebody typed into the search: nothing of them is ticked.
document.addEventListener("htmx:afterSettle", ({ target }) => {
  if (target.id !== "list-found") return;
  watchForm();
  restore([]);
});
