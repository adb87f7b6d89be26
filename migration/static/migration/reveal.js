// Hides a revealed value after some seconds, and when the tab or the window is left. Nothing of it stays in the page.
// Its button copies it exactly.
"use strict";

for (const shown of document.querySelectorAll("[data-hide-after]")) {
  const value = shown.querySelector("[data-value]");
  const hidden = shown.querySelector("[data-hidden]");
  const left = shown.querySelector("[data-seconds-left]");
  shown.querySelector("[data-countdown]").hidden = false;
  let seconds = Number(shown.dataset.hideAfter);

  const copies = shown.querySelector("[data-copy-value]");
  copies.hidden = !navigator.clipboard;
  copies.addEventListener("click", async () => {
    await navigator.clipboard.writeText(value.querySelector("code").textContent);
    shown.querySelector("[data-told]").textContent = copies.dataset.copied;
  });

  const hide = () => {
    value.remove();
    hidden.hidden = false;
    clearInterval(clock);
  };
  const clock = setInterval(() => {
    seconds -= 1;
    left.textContent = seconds;
    if (seconds <= 0) hide();
  }, 1000);

  document.addEventListener("visibilitychange", () => document.hidden && hide());
  window.addEventListener("blur", hide);
  window.addEventListener("pagehide", hide);
}
