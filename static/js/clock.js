// Times that pass: <time datetime="…" data-rel="age|left|clock">, the UTC clock, bars and gauges that grow with time.
//
// The browser's own clock may be hours off, so nothing here reads it. The page says when it was made (data-now on
// <html>), each answer says its Date, and performance.now() counts in between.
(() => {
  "use strict";
  const units = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

  // The same words as dashboard.words.duration.
  function duration(seconds) {
    const total = Math.max(0, Math.floor(seconds));
    for (let i = 0; i < units.length; i += 1) {
      const [size, unit] = units[i];
      if (total < size) continue;
      const words = `${Math.floor(total / size)} ${unit}`;
      if (i + 1 === units.length) return words;
      const [smaller, smallerUnit] = units[i + 1];
      const rest = Math.floor((total % size) / smaller);
      return rest ? `${words} ${rest} ${smallerUnit}` : words;
    }
    return "0 s";
  }

  // The same words as dashboard.words.clock.
  function clock(moment, today) {
    const iso = new Date(moment).toISOString();
    const day = iso.slice(0, 10);
    return `${day === new Date(today).toISOString().slice(0, 10) ? "" : `${day} `}${iso.slice(11, 19)} UTC`;
  }

  let offset = Date.parse(document.documentElement.dataset.now) - performance.now();
  const now = () => offset + performance.now();

  // Date has whole seconds: the truth lies within the second after it. A guess inside that second (and a little more,
  // for the way) is kept, so that the clock does not jump to and fro.
  function hear(date) {
    const heard = Date.parse(date);
    if (Number.isNaN(heard)) return;
    const ahead = now() - heard;
    if (ahead < 0 || ahead > 2000) offset = heard + 500 - performance.now();
  }

  const write = {
    age: (moment) => duration((now() - moment) / 1000),
    left: (moment) => duration((moment - now()) / 1000),
    clock: (moment) => clock(moment, now()),
  };

  function tick() {
    for (const node of document.querySelectorAll("time[data-rel]")) {
      const moment = Date.parse(node.getAttribute("datetime"));
      const words = Number.isNaN(moment) ? null : write[node.dataset.rel]?.(moment);
      if (words && node.textContent !== words) node.textContent = words;
    }
    for (const node of document.querySelectorAll("[data-utc]")) {
      const iso = new Date(now()).toISOString();
      node.setAttribute("datetime", iso);
      node.firstChild.data = iso.slice(11, 19);
    }
    for (const bar of document.querySelectorAll("progress[data-until]")) {
      bar.value = Math.max(0, (Date.parse(bar.dataset.until) - now()) / 1000);
    }
    // The time to decide is over: what would come too late cannot be pressed any more. The database decides in any case.
    for (const panel of document.querySelectorAll("[data-ends]")) {
      const over = Date.parse(panel.dataset.ends) <= now();
      for (const node of panel.querySelectorAll("[data-ended]")) node.hidden = !over;
      for (const button of panel.querySelectorAll("button[name=decision]")) button.disabled = over;
    }
    for (const gauge of document.querySelectorAll("svg.gauge[data-since]")) {
      const ratio = (now() - Date.parse(gauge.dataset.since)) / 1000 / Number(gauge.dataset.objective);
      if (Number.isFinite(ratio)) gauge.querySelector(".used").setAttribute("width", `${Math.min(Math.max(ratio, 0), 1) * 50}%`);
      if (Number.isFinite(ratio)) gauge.querySelector(".over").setAttribute("width", `${Math.min(Math.max(ratio - 1, 0), 1) * 50}%`);
    }
  }

  // "dr-west=4.2,dr-east=1510.0": for each cluster how many seconds ago it was read, or until it is tried again. A 204
  // changes no markup, so this comes with each answer; it moves the times inside [data-read="dr-west"].
  function moveOn(header, attribute, direction) {
    for (const pair of (header ?? "").split(",")) {
      const [name, seconds] = pair.split("=");
      if (!name || !Number.isFinite(Number(seconds))) continue;
      const moment = new Date(now() + direction * Number(seconds) * 1000).toISOString();
      for (const node of document.querySelectorAll(`[${attribute}="${CSS.escape(name)}"] > time`)) {
        node.setAttribute("datetime", moment);
      }
    }
  }

  document.addEventListener("htmx:afterRequest", ({ detail: { xhr } }) => {
    if (!xhr?.getResponseHeader("X-Build")) return;
    hear(xhr.getResponseHeader("Date"));
    const age = xhr.getResponseHeader("X-Observed-Age");
    if (age !== null && age !== "") {
      const observed = new Date(now() - Number(age) * 1000).toISOString();
      for (const node of document.querySelectorAll("time[data-observed]")) node.setAttribute("datetime", observed);
    }
    moveOn(xhr.getResponseHeader("X-Cluster-Ages"), "data-read", -1);
    moveOn(xhr.getResponseHeader("X-Cluster-Tries"), "data-try", 1);
    tick();
  });
  document.addEventListener("htmx:afterSwap", tick);
  addEventListener("pageshow", tick);
  setInterval(tick, 1000);
  tick();

  window.desk = { duration, clock, now };
})();
