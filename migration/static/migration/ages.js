// Tells the ages on a page anew each half minute, in the words of the server ("2 minutes ago"). It counts from when an age
// came to the page, so a clock that is wrong changes nothing.
"use strict";

const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
const toldAt = new WeakMap();

const noteAges = (part) => {
  for (const age of part.querySelectorAll("time[data-age]")) if (!toldAt.has(age)) toldAt.set(age, Date.now());
};

const tellAges = () => {
  noteAges(document);
  const words = new Intl.RelativeTimeFormat(document.documentElement.lang);
  for (const age of document.querySelectorAll("time[data-age]")) {
    const seconds = Number(age.dataset.age) + (Date.now() - toldAt.get(age)) / 1000;
    const length = Math.max(1, Math.abs(seconds));
    const [unit, size] = UNITS.find(([, each]) => length >= each);
    const text = words.format(Math.floor(length / size) * (seconds < 0 ? 1 : -1), unit);
    if (age.textContent !== text) age.textContent = text;
  }
};

document.addEventListener("DOMContentLoaded", () => {
  noteAges(document);
  setInterval(tellAges, 30000);
});
document.addEventListener("htmx:load", (event) => noteAges(event.target.parentNode ?? event.target));
