// Manners of the page: dialogs that the server renders, copying, the search key, menus, the theme. Everything here works
// without this file, too, only less comfortably.
(() => {
  "use strict";
  const slot = () => document.getElementById("dialog-slot");
  let opener = null;

  // A dialog that came with its page is `open`, behind it everything is inert; with a script it becomes a real modal.
  function present() {
    const dialog = document.querySelector("dialog[open]:not(:modal), #dialog-slot > dialog:not([open])");
    if (!dialog || dialog.matches(":modal")) return;
    for (const node of document.querySelectorAll("body > [inert]")) node.inert = false;
    dialog.removeAttribute("open");  // close() would be heard as if the person had closed it
    dialog.showModal();
    (dialog.querySelector("[autofocus]") ?? dialog).focus();
    dialog.addEventListener("close", () => leave(dialog), { once: true });
  }

  // One that was fetched into the slot goes away; one that is the page leads back to where it came from.
  function leave(dialog) {
    if (dialog.dataset.back && !dialog.hasAttribute("data-fetched")) {
      location.assign(dialog.dataset.back);
      return;
    }
    dialog.remove();
    (document.getElementById(opener?.id ?? "") ?? opener)?.focus();  // a poll may have put another node in its place
    opener = null;
  }

  document.addEventListener("htmx:afterSwap", ({ detail }) => {
    if (detail.target !== slot()) return;
    opener ??= detail.requestConfig?.elt ?? null;
    slot().querySelector("dialog")?.setAttribute("data-fetched", "");
    present();
  });

  async function copy(button) {
    const said = button.dataset.copy;
    const text = said.startsWith("#") ? document.querySelector(said)?.textContent.trim() : said || location.href;
    const words = button.textContent;
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = button.dataset.copied ?? words;
    } catch {
      prompt(button.dataset.copyByHand ?? "", text);  // no clipboard over plain HTTP: the text to copy by hand
    }
    setTimeout(() => { button.textContent = words; }, 2000);
  }

  function setTheme(theme) {
    if (theme) document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
    try {
      if (theme) localStorage.setItem("theme", theme);
      else localStorage.removeItem("theme");
    } catch {
      // Storage is switched off: the choice lasts until the next page.
    }
    markTheme();
  }

  function markTheme() {
    const chosen = document.documentElement.dataset.theme ?? "";
    for (const button of document.querySelectorAll("[data-set-theme]")) {
      button.setAttribute("aria-pressed", String(button.dataset.setTheme === chosen));
    }
  }

  function closeMenus(except) {
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      if (menu !== except) menu.open = false;
    }
  }

  document.addEventListener("click", (event) => {
    closeMenus(event.target.closest("details.menu"));
    const close = event.target.closest("[data-close]");
    const dialog = close?.closest("dialog:modal");
    if (dialog) {
      event.preventDefault();
      dialog.close();
    }
    const copier = event.target.closest("[data-copy]");
    if (copier) copy(copier);
    const theme = event.target.closest("[data-set-theme]");
    if (theme) setTheme(theme.dataset.setTheme);
  });

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      const menu = document.activeElement?.closest("details.menu[open]");
      closeMenus(null);
      menu?.querySelector("summary").focus();
    }
    const typing = event.target.closest("input, textarea, select, dialog, [contenteditable]");
    if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const search = document.querySelector("input[type=search]");
    if (search) {
      event.preventDefault();
      search.focus();
      search.select();
    }
  });

  // Boxes that are on are counted; and where a form confirms by cluster and number, what is to be typed follows them.
  const syntax = /[\\^$.*+?()[\]{}|/]/g;  // the same as dashboard.web.forms.pattern_of

  function countTicks(form) {
    const on = Array.from(form.querySelectorAll("input.tick:checked"));
    const shown = form.querySelector(form.dataset.counts);
    if (shown) shown.textContent = String(on.length);
    const field = form.dataset.confirms && form.querySelector(form.dataset.confirms);
    if (!field) return;
    const counts = new Map();
    for (const { dataset: { target } } of on) counts.set(target, (counts.get(target) ?? 0) + 1);
    const several = Array.from(counts).sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, n]) => `${name} ${n}`).join(", ");
    const expected = on.length === 1 ? on[0].dataset.typed : several;
    form.querySelector(`${form.dataset.confirms}-h code`).textContent = expected;
    field.pattern = expected.replace(syntax, "\\$&");
  }

  function countAll() {
    for (const form of document.querySelectorAll("form[data-counts]")) countTicks(form);
  }
  document.addEventListener("change", ({ target }) => {
    const form = target.matches("input.tick") && target.closest("form[data-counts]");
    if (form) countTicks(form);
  });
  addEventListener("pageshow", countAll);  // a browser that goes back puts ticks back, too

  function unveil() {
    for (const node of document.querySelectorAll("[data-needs-script]")) node.hidden = false;
  }
  document.addEventListener("htmx:afterSwap", unveil);

  unveil();
  countAll();
  markTheme();
  present();
})();
