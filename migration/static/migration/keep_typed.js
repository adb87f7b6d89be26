// Keeps what is typed into a form until a page follows it, so that the end of a session loses nothing. It is kept in this
// tab alone, for the same user and the same page, and offered once after the login. A secret is never kept.
"use strict";

const TYPED = "typed:";
const LOGGED_OUT = "logged-out";
const KEPT_KINDS = "textarea, select, input:is([type=text], [type=email], [type=number], [type=url], [type=date], [type=checkbox])";
// A webhook's address among them: who knows it can write there.
const SECRET_NAMES = /password|secret|token|answer|code|key|connection|address/i;

const mayBeKept = (field) =>
  Boolean(field.name) &&
  field.matches(KEPT_KINDS) &&
  field.form?.method === "post" &&
  !field.closest("[x-data*=showPassword]") &&
  !/password|one-time-code/.test(field.autocomplete) &&
  !SECRET_NAMES.test(field.name);

const forgetTyped = () => {
  for (const key of Object.keys(sessionStorage)) if (key.startsWith(TYPED)) sessionStorage.removeItem(key);
};

const putBack = (fields) => {
  for (const [name, value] of Object.entries(fields)) {
    const field = document.getElementsByName(name)[0];
    if (!field || !mayBeKept(field)) continue;
    if (field.type === "checkbox") field.checked = value;
    else field.value = value;
    field.dispatchEvent(new Event("change", { bubbles: true }));
  }
};

document.addEventListener("DOMContentLoaded", () => {
  if (document.getElementById("login-form")) sessionStorage.setItem(LOGGED_OUT, "1");
  const offer = document.getElementById("typed-before");
  if (!offer) return;

  const key = TYPED + window.location.pathname;
  const kept = JSON.parse(sessionStorage.getItem(key) || "null");
  const isAfterLogin = sessionStorage.getItem(LOGGED_OUT) === "1";
  sessionStorage.removeItem(LOGGED_OUT);
  forgetTyped();
  if (isAfterLogin && kept?.user === offer.dataset.user) {
    offer.hidden = false;
    offer.querySelector("[data-put-back]").addEventListener("click", () => {
      putBack(kept.fields);
      offer.hidden = true;
    });
  }

  document.addEventListener("input", (event) => {
    if (!(event.target instanceof HTMLElement) || !mayBeKept(event.target)) return;
    const { name, type, value, checked } = event.target;
    const { fields = {} } = JSON.parse(sessionStorage.getItem(key) || "{}");
    fields[name] = type === "checkbox" ? checked : value;
    sessionStorage.setItem(key, JSON.stringify({ user: offer.dataset.user, fields }));
  });
});

// What the page waited for is there: it is loaded anew, unless something was typed on it that would be lost.
const hasTyped = () =>
  [...document.querySelectorAll("main :is(input:not([type=hidden]), textarea)")].some((field) => (field.matches("[type=checkbox], [type=radio]") ? field.checked !== field.defaultChecked : field.value !== field.defaultValue));
document.addEventListener("htmx:load", ({ target }) => {
  if (target.querySelector?.("[data-reload]") && !hasTyped()) location.replace(location.href.split("#")[0]);
});
