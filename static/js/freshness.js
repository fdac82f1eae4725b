// Is what this page shows still true? Winds up the CSS watchdogs (#fresh, .live, .w-stale) on each answer whose data is
// young enough, and on nothing else: a dead script, network, server or sweep all end in STALE by themselves. Also keeps
// what a swap would lose, and never lets an answer in that is not ours.
(() => {
  "use strict";
  const wall = document.documentElement.classList.contains("wall");
  const watchdogs = new Set(["grey", "hide", "show"]);
  const limit = parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--stale-after"));

  // A header that is missing counts as old: in JavaScript +null is 0, which would be the freshest of all.
  function ageOf(text) {
    return text === null || text.trim() === "" ? Infinity : Number(text);
  }

  // Set to the age of the data, not to zero: what was 40 s old when it came is called stale 5 s later.
  function windUp(age) {
    if (!(age >= 0 && age < limit)) return;
    for (const node of document.querySelectorAll("#fresh, #fresh > *, .live, .w-stale")) {
      node.removeAttribute("data-stale");
      for (const animation of node.getAnimations()) {
        if (!watchdogs.has(animation.animationName)) continue;
        animation.cancel();
        animation.play();
        animation.currentTime = age * 1000;
      }
    }
  }

  function pollNow() {
    for (const node of document.querySelectorAll('[hx-trigger^="every"]')) htmx.trigger(node, "poll");
  }

  // For a new build once, and at most once a minute: two builds behind one proxy during an upgrade would reload for
  // ever. Once a day anyway, because a browser that polls for weeks gathers memory.
  function reloadWhenDue(build) {
    const last = JSON.parse(sessionStorage.getItem("reloaded") ?? "{}");
    if (Date.now() - (last.at ?? 0) < 60000) return;
    const changed = build !== document.documentElement.dataset.build && build !== last.build;
    if (!changed && performance.now() < 86400000) return;
    sessionStorage.setItem("reloaded", JSON.stringify({ build, at: Date.now() }));
    location.reload();
  }

  // A proxy's or a captive portal's page with status 200 is not ours, and must not replace the table.
  document.addEventListener("htmx:beforeSwap", ({ detail }) => {
    if (!detail.xhr.getResponseHeader("X-Build")) detail.shouldSwap = false;
  });

  // Which notices this page has, so that a poll brings others only when there are others.
  document.addEventListener("htmx:configRequest", ({ detail }) => {
    const notices = document.getElementById("notices");
    if (notices) detail.headers["X-Notices"] = notices.dataset.version;
  });

  let open = [];
  let focused = "";
  document.addEventListener("htmx:beforeSwap", () => {
    open = Array.from(document.querySelectorAll("details[id][open]"), (node) => node.id);
    focused = document.activeElement?.id ?? "";
  });
  document.addEventListener("htmx:afterSwap", () => {
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    if (focused && document.activeElement?.id !== focused) {
      document.getElementById(focused)?.focus({ preventScroll: true });
    }
  });

  document.addEventListener("htmx:afterRequest", ({ detail: { xhr } }) => {
    const build = xhr?.getResponseHeader("X-Build");
    if (!build) return;
    const unavailable = xhr.getResponseHeader("X-Unavailable");
    for (const banner of document.querySelectorAll("[data-unavailable]")) {
      if (unavailable) banner.querySelector("[data-words]").textContent = unavailable;
      if (xhr.getResponseHeader("X-Unknown") === "1") {
        banner.querySelector("[data-unknown]").hidden = false;
        banner.querySelector("[data-unchanged]").hidden = true;
      }
      // What may have been done stays said: the next poll knows nothing of it.
      banner.hidden = !unavailable && banner.querySelector("[data-unknown]").hidden;
    }
    const signedOut = xhr.getResponseHeader("X-Signed-Out") === "1";
    // Also inside an open dialog, which covers the page's own banner.
    for (const banner of document.querySelectorAll("#signed-out, [data-signed-out]")) banner.hidden = !signedOut;
    if (signedOut && wall) location.reload();
    if (signedOut) return;
    windUp(ageOf(xhr.getResponseHeader("X-Observed-Age")));
    if (wall) reloadWhenDue(build);
  });

  // Browsers slow the timers of a tab in the background down to one a minute; whoever comes back must not wait for it.
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) pollNow();
  });
  addEventListener("pageshow", (event) => {
    if (event.persisted) pollNow();
  });

  windUp(ageOf(document.getElementById("fresh")?.dataset.age ?? document.documentElement.dataset.age ?? null));
})();
