// The form of a client and its logins. It is sent without leaving the page, so that errors lose nothing that was typed;
// a pasted connection string fills the fields; what is typed as a secret never leaves the form before it is saved or tested.
"use strict";

// What a connection string may say that no field holds; other words may be parts of a password.
const NO_FIELD =
  /^(?:ssl\w*|options|application_name|fallback_application_name|connect_timeout|target_session_attrs|channel_binding|keepalives\w*|gss\w*|krbsrvname|service|passfile|require_auth|load_balance_hosts|search_path|schema|pgbouncer|connection_limit|pool\w*)$/i;

// As credentials/connection_strings.py, with the same tests. `secrets` are the passwords as they stand in the text;
// `dropped` names what it says that no field holds.
const takeApart = (text, kind) => {
  const fields = {};
  const secrets = new Set();
  const dropped = new Set();
  const drop = (key) => NO_FIELD.test(key) && dropped.add(key.toLowerCase());
  const put = (name, value) => {
    if (value) fields[name] = value;
  };
  const decode = (value) => {
    try {
      return decodeURIComponent(value);
    } catch {
      return value;
    }
  };
  const splitUser = (rest) => {
    const head = rest.split(/[/?#]/, 1)[0];
    const end = head.includes("@") ? head.lastIndexOf("@") : rest.split("?", 1)[0].lastIndexOf("@");
    const [user, ...password] = rest.slice(0, Math.max(end, 0)).split(":");
    secrets.add(password.join(":"));
    return [decode(user), decode(password.join(":")), rest.slice(end + 1)];
  };
  const splitPort = (address) => {
    const [, inBrackets, portAfter, plain, port] = address.match(/^(?:\[([^\]]*)\](?::(\d*))?|(.*?)(?::(\d*))?)$/) ?? [];
    return [decode(inBrackets ?? plain ?? ""), portAfter ?? port ?? ""];
  };
  const columns = {
    host: "db_host", hostaddr: "db_host", port: "db_port", dbname: "db_name", user: "db_user", password: "db_password",
    pghost: "db_host", pgport: "db_port", pgdatabase: "db_name", pguser: "db_user", pgpassword: "db_password",
  };
  const readDatabase = () => {
    const url = text.match(/\bpostgres(?:ql)?(?:\+\w+)?:\/\/([^\s"']+)/i);
    if (url) {
      const [user, password, place] = splitUser(url[1]);
      const [whole, ...query] = place.split("?");
      const [address, ...name] = whole.split("/");
      const [host, port] = splitPort(address);
      Object.entries({ db_host: host, db_port: port || "5432", db_name: decode(name.join("/")), db_user: user, db_password: password }).forEach(([key, value]) => put(key, value));
      for (const pair of query.join("?").split("&")) {
        const [key, ...value] = pair.split("=");
        const column = columns[key.toLowerCase()];
        if (column === "db_password") secrets.add(value.join("="));
        if (column) put(column, decode(value.join("=")));
        else drop(key);
      }
      return;
    }
    const inner = text.trim().match(/^psql\s+(["'])([^]*)\1$/)?.[2] ?? text;
    const found = {};
    for (const [, key, word] of inner.matchAll(/\b(\w{1,40})\s*=\s*('(?:[^'\\]|\\[^])*'|"(?:[^"\\]|\\[^])*"|(?:[^\s\\]|\\[^])+)/g)) {
      const column = columns[key.toLowerCase()];
      const bare = /^(['"])[^]*\1$/.test(word) ? word.slice(1, -1) : word;
      if (column === "db_password") secrets.add(bare);
      if (column) found[column] = bare.replace(/\\([^])/g, "$1");
      else drop(key);
    }
    if ("db_host" in found || "db_password" in found) Object.entries(found).forEach(([key, value]) => put(key, value));
  };
  const readMail = () => {
    const ports = { imap: "143", imaps: "993", smtp: "587", smtps: "465" };
    for (const [, protocol, secure, rest] of text.matchAll(/\b(imap|smtp)(s?):\/\/([^\s"']+)/gi)) {
      const service = protocol.toLowerCase();
      const [user, password, place] = splitUser(rest);
      const [host, port] = splitPort(place.split(/[/?]/, 1)[0]);
      put("email_provider", "custom");
      put(`${service}_host`, host);
      put(`${service}_port`, port || ports[service + secure.toLowerCase()]);
      put("email_user", user);
      put("email_password", password);
    }
  };
  const readAws = () => {
    const names = { accesskeyid: "access_key_id", secretaccesskey: "secret_access_key", region: "region", defaultregion: "region" };
    const pattern = /\b(aws_access_key_id|aws_secret_access_key|aws_default_region|aws_region|region|AccessKeyId|SecretAccessKey)["']?\s*[=:]\s*["']?([A-Za-z0-9/+=_-]+)/gi;
    const found = {};
    if (/aws_?session_?token|\bsessiontoken/i.test(text)) dropped.add("aws_session_token");
    for (const [, key, value] of text.matchAll(pattern)) {
      const name = names[key.replaceAll("_", "").toLowerCase().replace(/^aws/, "")];
      found[name] = value;
      if (name === "secret_access_key") secrets.add(value);
    }
    if (found.access_key_id || found.secret_access_key) Object.entries(found).forEach(([key, value]) => put(key, value));
  };
  if (text.length <= 4000) ({ database: readDatabase, email: readMail, aws: readAws })[kind]();
  secrets.delete("");
  // The longest first: one may be part of another.
  return { fields, dropped: [...dropped], secrets: [...secrets].sort((one, other) => other.length - one.length) };
};

const proposeSlug = (name) =>
  name.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase().replace(/[^a-z0-9]+/g, "_").replace(/^_+|_+$/g, "").slice(0, 80);

document.addEventListener("DOMContentLoaded", () => {
  const form = document.getElementById("client_form");
  if (!form) return;
  const problems = document.getElementById("form-problems");
  let isSaved = false;
  let isSending = false;

  const makeLine = (kind, text, icon) => {
    const line = document.createElement("p");
    line.className = kind;
    if (icon) {
      const sign = document.createElement("span");
      sign.className = "material-symbols-outlined";
      sign.setAttribute("aria-hidden", "true");
      sign.textContent = icon;
      line.append(sign);
    }
    line.append(text);
    return line;
  };

  // Errors: below their fields; the first is in view and has the focus.
  const errorsOf = (field) => document.getElementById(`${field.id}_error`);
  const clearErrors = (fields) => {
    for (const field of fields) {
      field.removeAttribute("aria-invalid");
      errorsOf(field)?.querySelectorAll(".field-error, .field-hint").forEach((line) => line.remove());
    }
  };
  let hasMarked = false;
  const showErrors = ({ general, fields, hints = {} }, asked) => {
    for (const field of form.elements) {
      if (field.name in hints) errorsOf(field)?.append(makeLine("field-warning field-hint", hints[field.name]));
    }
    const inputs = [...form.elements].filter((field) => field.name in fields);
    for (const field of inputs) {
      field.setAttribute("aria-invalid", "true");
      errorsOf(field)?.append(...fields[field.name].map((text) => makeLine("field-error", text, "error")));
      field.closest("details")?.setAttribute("open", "");
    }
    const lines = general.length ? general : [form.dataset.correct];
    problems.replaceChildren(...lines.map((text) => makeLine("", text)));
    problems.hidden = false;
    hasMarked = inputs.length > 0 && !general.length;
    const first = inputs[0] ?? asked ?? problems;
    first.scrollIntoView({ block: "center" });
    first.focus({ preventScroll: true });
  };
  form.addEventListener("input", ({ target }) => {
    clearErrors([target]);
    if (hasMarked && !form.querySelector("[aria-invalid=true]")) problems.hidden = true;
  });
  // What is said on leaving a field would move the button under a pressed mouse, and its click would be lost: it waits for it.
  let isPressed = false;
  const waiting = [];
  const tell = (line) => (isPressed ? waiting.push(line) : line());
  const isOver = () => {
    isPressed = false;
    setTimeout(() => waiting.splice(0).forEach((line) => line()));
  };
  document.addEventListener("mousedown", () => (isPressed = true), true);
  for (const end of ["mouseup", "dragend"]) document.addEventListener(end, isOver, true);
  // The site takes no field with spaces around it; a secret is asked about (`hintAtBlanks`).
  form.addEventListener("change", ({ target }) => {
    if (!target.matches("input:not([type=hidden], [type=password], [type=checkbox])") || target.value === target.value.trim()) return;
    target.value = target.value.trim();
    tell(() => {
      errorsOf(target)?.querySelector(".field-hint")?.remove();
      errorsOf(target)?.append(makeLine("field-warning field-hint", form.dataset.trimmed));
    });
  });

  // A login that somebody added and left blank is no login: it is filled in or removed.
  const findBlank = () => {
    const isBlank = (field) => (field.matches("select") ? [...field.options].every((each) => each.selected === each.defaultSelected) : field.value === field.defaultValue);
    const typed = "input:not([type=hidden]), textarea, select";
    return [...form.querySelectorAll(".login-card[data-added]:not([hidden])")].find((card) => [...card.querySelectorAll(typed)].every((field) => field.name.endsWith("-is_primary") || (field.name && isBlank(field))));
  };

  // Sending
  window.addEventListener("beforeunload", (event) => isSaved && event.stopImmediatePropagation(), true);
  const send = async () => {
    clearErrors(form.elements);
    problems.hidden = true;
    const blank = findBlank()?.querySelector("textarea[name$=-connection]");
    if (blank) return showErrors({ general: [], fields: { [blank.name]: [form.dataset.blank] } });
    const undecided = [...form.querySelectorAll("[data-take-off]")].find((button) => !button.closest("[hidden]"));
    undecided?.closest("details")?.setAttribute("open", "");
    if (undecided) return showErrors({ general: [form.dataset.undecided], fields: {} }, undecided);
    isSending = true;
    form.setAttribute("aria-busy", "true");
    try {
      const response = await fetch(window.location.href, { method: "POST", body: new FormData(form), headers: { Accept: "application/json" } });
      const isAnswer = response.headers.get("Content-Type")?.startsWith("application/json");
      const answer = isAnswer ? await response.json() : null;
      if (answer?.url) {
        isSaved = true;
        for (const field of form.querySelectorAll("[type=password], textarea[name$=-connection]")) field.value = "";
        window.location.assign(answer.url);
      } else if (answer) showErrors(answer);
      else {
        // Whatever else there is to see, such as the login: the browser goes there as it does without scripts.
        isSaved = true;
        form.submit();
      }
    } catch {
      showErrors({ general: [form.dataset.failed], fields: {} });
    } finally {
      isSending = false;
      form.removeAttribute("aria-busy");
    }
  };
  document.addEventListener(
    "submit",
    (event) => {
      if (event.target !== form) return;
      event.preventDefault();
      event.stopImmediatePropagation();
      if (event.submitter?.name === "_add_login") addLogin(event.submitter.value);
      else if (!isSending) send();
    },
    true,
  );

  // A login more
  const addLogin = (prefix) => {
    const total = form.elements.namedItem(`${prefix}-TOTAL_FORMS`);
    const number = Number(total.value);
    const holder = document.createElement("template");
    holder.innerHTML = document.getElementById(`new-${prefix}`).innerHTML.replaceAll("__prefix__", number);
    const card = holder.content.firstElementChild;
    document.getElementById("login-tests").append(card);
    card.dataset.added = "";
    total.value = number + 1;
    const others = [...form.querySelectorAll(`[name^="${prefix}-"][name$="-is_primary"]`)].filter((each) => !card.contains(each) && !each.closest("[hidden]"));
    if (others.some((each) => each.value === "true")) form.elements.namedItem(`${prefix}-${number}-is_primary`).value = "false";
    htmx.process(card);
    wire(card);
    form.querySelector(".login-add")?.removeAttribute("open");
    card.querySelector("textarea, input:not([type=hidden])").focus();
    card.scrollIntoView({ block: "nearest" });
  };

  // Connection strings
  const fill = (card, area, text) => {
    const kind = { databases: "database", emails: "email", aws_logins: "aws" }[area.name.split("-")[0] || area.dataset.name.split("-")[0]];
    const { fields, dropped, secrets } = takeApart(text, kind);
    const prefix = (area.name || area.dataset.name).replace(/connection$/, "");
    const labels = [];
    for (const [name, value] of Object.entries(fields)) {
      const field = form.elements.namedItem(prefix + name);
      if (!field) continue;
      field.value = value;
      field.dispatchEvent(new Event("input", { bubbles: true }));
      labels.push(card.querySelector(`label[for="${field.id}"]`)?.firstChild.textContent.trim());
    }
    const beside = errorsOf(area);
    area.removeAttribute("aria-invalid");
    // What was taken apart isn't sent, and its secret isn't shown.
    area.dataset.name ||= area.name;
    area.name = labels.length ? "" : area.dataset.name;
    if (!labels.length) {
      if (text.trim()) {
        area.setAttribute("aria-invalid", "true");
        tell(() => beside.replaceChildren(makeLine("field-error", area.dataset.notUnderstood, "error")));
      } else tell(() => beside.replaceChildren());
      return false;
    }
    area.value = secrets.reduce((shown, secret) => shown.replaceAll(secret, "••••••••"), text.trim());
    const list = (names) => new Intl.ListFormat(document.documentElement.lang).format(names);
    const lines = [makeLine("field-taken", `${form.dataset.taken} ${list(labels)}.`, "check")];
    if (dropped.length) lines.push(makeLine("field-warning", `${form.dataset.dropped} ${list(dropped)}.`));
    tell(() => beside.replaceChildren(...lines));
    return true;
  };

  // Blanks around a secret are hinted at. That stays in the browser.
  const hintAtBlanks = (field) => {
    const beside = errorsOf(field);
    beside.querySelector(".field-warning")?.remove();
    if (!field.value.trim() || field.value === field.value.trim()) return;
    const hint = document.getElementById("blanks-hint").content.firstElementChild.cloneNode(true);
    hint.querySelector("[data-take-off]").addEventListener("click", () => {
      field.value = field.value.trim();
      hint.remove();
      field.focus();
    });
    hint.querySelector("[data-keep]").addEventListener("click", () => {
      hint.remove();
      field.focus();
    });
    beside.append(hint);
  };

  const wire = (card) => {
    for (const name of (card.dataset.secrets ?? "").split(",")) {
      const field = name && form.elements.namedItem(name);
      if (field) field.addEventListener("input", () => hintAtBlanks(field));
    }
    const area = card.querySelector("textarea[name$=-connection]");
    area?.addEventListener("paste", (event) => {
      if (fill(card, area, event.clipboardData.getData("text"))) event.preventDefault();
      // What the browser puts in now clears the error: it may be one with what stood there, too.
      else setTimeout(() => fill(card, area, area.value));
    });
    area?.addEventListener("change", () => area.value.includes("••••••••") || fill(card, area, area.value));
    const provider = card.querySelector("[data-servers]");
    provider?.addEventListener("change", () => {
      const all = JSON.parse(provider.dataset.servers);
      const known = Object.values(all).flatMap(Object.values).map(String);
      const prefix = provider.name.replace(/email_provider$/, "");
      for (const [name, value] of Object.entries(all[provider.value] ?? {})) {
        const field = form.elements.namedItem(prefix + name);
        if (!field.value || known.includes(field.value)) field.value = value;
      }
    });
    const leaveOut = card.querySelector("[data-leave-out]");
    if (!leaveOut) return;
    leaveOut.hidden = false;
    leaveOut.addEventListener("click", () => {
      // An empty login isn't saved; its number stays, as the others have theirs.
      for (const field of card.querySelectorAll("input:not([type=hidden]), textarea, select")) {
        if (field.matches("select")) for (const option of field.options) option.selected = option.defaultSelected;
        else field.value = field.defaultValue;
        if (field.matches("[type=password], textarea")) field.value = "";
      }
      card.hidden = true;
    });
  };
  form.querySelectorAll(".login-card").forEach(wire);

  // The slug follows the name of a new client until somebody types it.
  const name = form.elements.namedItem("name");
  const slug = form.elements.namedItem("slug");
  if (name && slug && "proposesSlug" in form.dataset) {
    let proposed = slug.value;
    name.addEventListener("input", () => {
      if (slug.value !== proposed) return;
      proposed = slug.value = proposeSlug(name.value);
      clearErrors([slug]);
    });
  }
});
