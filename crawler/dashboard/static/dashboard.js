// The one script of the dashboard: colours, live parts, buttons. Every page can be read without it.
"use strict";

(() => {
  const root = document.documentElement;
  const THEMES = ["system", "light", "dark"];

  // ---- colours: set before anything is painted ----
  const remembered = () => {
    try { return localStorage.getItem("theme"); } catch { return null; }
  };
  let theme = THEMES.includes(remembered()) ? remembered() : "system";
  const paint = () => {
    if (theme === "system") delete root.dataset.theme;
    else root.dataset.theme = theme;
    const button = document.getElementById("theme");
    if (!button) return;
    const words = theme === "system" ? "Colours: as the system" : `Colours: ${theme}`;
    button.hidden = false;
    button.title = words;
    button.setAttribute("aria-label", words);
  };
  paint();

  // ---- times: how long ago ----
  const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const span = (seconds) => {
    const at = UNITS.findIndex(([unit]) => seconds >= unit);
    if (at < 0) return "0 s";
    const [unit, name] = UNITS[at];
    const said = `${Math.floor(seconds / unit)} ${name}`;
    const next = UNITS[at + 1];
    const rest = next ? Math.floor((seconds % unit) / next[0]) : 0;
    return rest && at < 2 && seconds / unit < 10 ? `${said} ${rest} ${next[1]}` : said;
  };
  let skew = 0; // the server's clock minus ours, in milliseconds
  const ago = (element) => {
    const moment = Date.parse(element.getAttribute("datetime"));
    if (Number.isNaN(moment)) return;
    const seconds = Math.round((moment - Date.now() - skew) / 1000);
    const words = Math.abs(seconds) < 2 ? "now" : seconds > 0 ? `in ${span(seconds)}` : `${span(-seconds)} ago`;
    if (element.textContent !== words) element.textContent = words;
  };
  const tell = (within) => within.querySelectorAll("time[data-ago]").forEach(ago);

  // ---- a small DOM diff: what stays the same is not touched, so focus, selection and scrolling stay too ----
  const keyOf = (node) => (node.nodeType === 1 ? node.dataset.key || node.id || null : null);
  const alike = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && keyOf(a) === keyOf(b);
  const attributes = (old, fresh) => {
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name) && !(name === "open" && old.nodeName === "DETAILS") && name !== "aria-busy") old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (name === "open" && old.nodeName === "DETAILS") continue; // it is the reader's
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
  };
  const morph = (old, fresh) => {
    if (old.nodeType !== 1) {
      if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
      return;
    }
    attributes(old, fresh);
    if (old.nodeName === "TIME" && old.hasAttribute("data-ago")) ago(old);
    else if (!["INPUT", "TEXTAREA", "SELECT"].includes(old.nodeName)) children(old, fresh);
  };
  const children = (old, fresh) => {
    let here = old.firstChild;
    for (const wanted of [...fresh.childNodes]) {
      let found = here;
      if (!found || !alike(found, wanted)) {
        const key = keyOf(wanted);
        found = key === null ? null : [...old.childNodes].find((one) => alike(one, wanted));
      }
      if (!found) {
        old.insertBefore(wanted, here);
        if (wanted.nodeType === 1) tell(wanted);
      } else {
        if (found !== here) old.insertBefore(found, here);
        else here = here.nextSibling;
        morph(found, wanted);
      }
    }
    while (here) {
      const next = here.nextSibling;
      here.remove();
      here = next;
    }
  };
  const show = (region, html) => {
    const fresh = document.createElement("template");
    fresh.innerHTML = html;
    children(region, fresh.content);
  };

  const logIn = () => location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);

  // ---- live ----
  const SILENT = 12000; // the server says something every few seconds: then it is not there
  const live = () => {
    const address = document.body.dataset.live;
    if (!address || !window.EventSource) return;
    const pulse = document.getElementById("pulse");
    const pulseWords = document.getElementById("pulse-words");
    const away = document.getElementById("away");
    let source = null;
    let heard = Date.now();
    let patience = 1000;
    let again = 0;
    let trouble = "";

    const state = (name, words) => {
      pulse.dataset.state = name;
      if (pulseWords.textContent !== words) pulseWords.textContent = words;
      if (name === "away") root.dataset.away = "";
      else delete root.dataset.away;
    };
    let announced = "";
    const announce = (words) => { // only the change is read out: the age beside it ticks silently
      if (announced === words) return;
      announced = words;
      away.hidden = !words;
      away.textContent = words;
    };
    const lost = (words) => {
      const clock = new Date(heard + skew).toISOString().slice(11, 19);
      announce(`${words} What is shown is as of ${clock} UTC.`);
      state("away", `${span((Date.now() - heard) / 1000)} old`);
    };
    const close = () => {
      if (source) source.close();
      source = null;
      clearTimeout(again);
    };
    const retry = () => {
      close();
      again = setTimeout(open, patience);
      patience = Math.min(2 * patience, 5000);
    };
    const ask = async () => { // an EventSource does not tell why it was refused
      const enough = new AbortController();
      try {
        const response = await fetch(address, { credentials: "same-origin", signal: enough.signal });
        if (response.status === 401) logIn();
        else if (!response.ok) trouble = words(await response.json(), response.status);
      } catch { /* it does not answer, as is told already */ } finally {
        enough.abort();
      }
    };
    const open = () => {
      close();
      source = new EventSource(address);
      source.addEventListener("regions", (event) => {
        heard = Date.now();
        patience = 1000;
        trouble = "";
        for (const [name, html] of Object.entries(JSON.parse(event.data))) {
          const region = document.querySelector(`[data-region="${CSS.escape(name)}"]`);
          if (region) show(region, html);
        }
        announce("");
        state("live", "live");
      });
      source.addEventListener("trouble", (event) => {
        patience = 1000;
        trouble = event.data;
        lost(`${trouble} Trying again.`);
      });
      source.onerror = () => {
        const refused = source !== null && source.readyState === EventSource.CLOSED;
        trouble = "";
        lost("Disconnected: the dashboard does not answer. Trying again.");
        retry();
        if (refused) ask();
      };
    };
    setInterval(() => {
      tell(document);
      if (trouble) lost(`${trouble} Trying again.`);
      else if (pulse.dataset.state === "away" && !document.hidden) lost("Disconnected: the dashboard does not answer. Trying again.");
      else if (source && Date.now() - heard > SILENT + 6000) {
        lost("Disconnected: the dashboard does not answer. Trying again.");
        retry();
      }
    }, 1000);
    document.addEventListener("visibilitychange", () => { // nobody looks: nothing is asked for
      if (document.hidden) {
        close();
        if (pulse.dataset.state !== "away") state("still", "paused");
      } else {
        heard = Math.max(heard, Date.now() - 3000);
        open();
      }
    });
    window.addEventListener("pagehide", close);
    window.addEventListener("pageshow", (event) => { if (event.persisted) open(); });
    open();
  };

  // ---- deeds: buttons and forms that call the API ----
  const answer = (words, kind = "good") => {
    const place = document.getElementById("answer");
    place.dataset.kind = kind;
    place.textContent = "";
    requestAnimationFrame(() => { place.textContent = words; });
    clearTimeout(answer.timer);
    if (kind === "good") answer.timer = setTimeout(() => { place.textContent = ""; }, 8000);
  };
  const sure = (element) => {
    const dialog = document.getElementById("confirm");
    document.getElementById("confirm-words").textContent = element.dataset.confirm;
    document.getElementById("confirm-yes").textContent = element.dataset.yes || "Do it";
    dialog.returnValue = "no";
    dialog.showModal();
    return new Promise((resolve) => {
      dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
    });
  };
  const valueOf = (field) => {
    const text = field.value.trim();
    if (field.dataset.as === "lines") return text.split("\n").map((line) => line.trim()).filter(Boolean);
    if (field.dataset.as === "number") return text === "" ? null : Number(text);
    if (field.dataset.as === "any") return text === "none" ? null : /^\d+$/.test(text) ? Number(text) : text;
    return text;
  };
  const bodyOf = (form) => {
    const body = {};
    for (const field of form.elements) {
      if (!field.name || field.disabled) continue;
      const value = valueOf(field);
      if (value === "") continue;
      body[field.dataset.keyFrom ? form.elements[field.dataset.keyFrom].value : field.name] = value;
    }
    return body;
  };
  const words = (told, status) => {
    const detail = told && told.detail;
    if (typeof detail === "string") return detail;
    if (Array.isArray(detail)) return detail.map((one) => `${(one.loc || []).slice(1).join(".")}: ${one.msg}`).join("; ");
    return `That was not done: the server answered ${status}.`;
  };
  const call = async (element, body) => {
    const [method, address] = element.dataset.call.split(" ");
    const button = element.nodeName === "FORM" ? element.querySelector("[type=submit]") : element;
    if (button.getAttribute("aria-busy") === "true") return;
    if (element.dataset.confirm && !(await sure(element))) return;
    button.setAttribute("aria-busy", "true");
    try {
      const response = await fetch(address, {
        method, credentials: "same-origin", redirect: "error",
        headers: body === undefined ? {} : { "Content-Type": "application/json" },
        body: body === undefined ? undefined : JSON.stringify(body),
      });
      if (response.status === 401) {
        logIn();
        return;
      }
      const told = await response.json().catch(() => null);
      if (!response.ok) {
        answer(words(told, response.status), "bad");
        return;
      }
      if (element.dataset.goto) {
        location.assign(element.dataset.goto.replace("{name}", encodeURIComponent(body.name)));
        return;
      }
      if (element.hasAttribute("data-clear")) element.reset();
      answer(element.dataset.done || "Done.");
    } catch {
      answer("The dashboard does not answer: nothing was changed, as far as is known. Try again when it is back.", "bad");
    } finally {
      button.removeAttribute("aria-busy");
    }
  };

  document.addEventListener("DOMContentLoaded", () => {
    paint();
    const now = Date.parse(document.body.dataset.now || "");
    if (!Number.isNaN(now) && Math.abs(now - Date.now()) > 5000) skew = now - Date.now();
    tell(document);
    document.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button) return;
      if (button.id === "theme") {
        theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
        try {
          if (theme === "system") localStorage.removeItem("theme");
          else localStorage.setItem("theme", theme);
        } catch { /* it is forgotten then */ }
        paint();
      } else if (button.dataset.call) {
        call(button, button.dataset.body ? JSON.parse(button.dataset.body) : undefined);
      }
    });
    document.addEventListener("submit", (event) => {
      if (!event.target.dataset.call) return;
      event.preventDefault();
      call(event.target, bodyOf(event.target));
    });
    document.addEventListener("change", (event) => {
      const hinted = event.target.dataset.hints && document.getElementById(event.target.dataset.hints);
      if (hinted) hinted.placeholder = event.target.selectedOptions[0].dataset.hint;
    });
    live();
  });
})();
