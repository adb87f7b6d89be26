// Onboarding: says beside a secret that it begins or ends with a blank, which stays in the browser, and takes back the red
// of an earlier refusal once its reason is gone.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const form = document.getElementById("onboard_form");
  const secrets = form.dataset.secrets.split(",");
  const errorsOf = (field) => document.getElementById(`${field.id}_error`);

  const judge = (field) => {
    const hasErrors = Boolean(errorsOf(field)?.querySelector(".text-red-700"));
    field.closest(".group")?.classList.toggle("errors", hasErrors);
    if (hasErrors) field.setAttribute("aria-invalid", "true");
    else field.removeAttribute("aria-invalid");
  };

  const judgeAll = () => {
    const fields = [...form.querySelectorAll("input:not([type=hidden]), select, textarea")];
    fields.filter(errorsOf).forEach(judge);
    const hasLogin = fields.some((field) => field.closest("fieldset") && field.type !== "number" && field.matches("input") && field.value !== field.defaultValue);
    const isRight = !form.querySelector(".errors");
    document.getElementById("onboard-refusal")?.toggleAttribute("hidden", hasLogin && isRight);
  };

  const hint = (field) => {
    const beside = errorsOf(field);
    const value = field.value;
    beside.replaceChildren();
    if (value !== value.trim()) {
      const kind = value.trim() ? "blanks-hint" : "only-blanks-hint";
      beside.append(document.getElementById(kind).content.cloneNode(true));
      beside.querySelector("[data-take-off]")?.addEventListener("click", () => {
        field.value = value.trim();
        hint(field);
        field.focus();
      });
      beside.querySelector("[data-keep]")?.addEventListener("click", () => {
        beside.replaceChildren();
        field.focus();
      });
    }
    judgeAll();
  };

  for (const name of secrets) {
    const field = form.elements.namedItem(name);
    if (field) field.addEventListener("input", () => hint(field));
  }
  form.addEventListener("input", judgeAll);
  document.addEventListener("htmx:afterSettle", judgeAll);
  document.addEventListener("htmx:oobAfterSwap", judgeAll);
});
