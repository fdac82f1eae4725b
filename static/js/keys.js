// Security keys (WebAuthn). A button asks the key; the answer goes into a hidden field of the same form, and the server
// judges it. [data-key] holds the button, the field, and the words for what happened.
(() => {
  "use strict";
  const bytes = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
  const text = (buffer) =>
    btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

  // What JSON cannot hold is written as base64url, both ways.
  function read({ publicKey }) {
    const ids = (list) => (list ?? []).map((each) => ({ ...each, id: bytes(each.id) }));
    const options = { ...publicKey, challenge: bytes(publicKey.challenge) };
    if (publicKey.user) options.user = { ...publicKey.user, id: bytes(publicKey.user.id) };
    if (publicKey.allowCredentials) options.allowCredentials = ids(publicKey.allowCredentials);
    if (publicKey.excludeCredentials) options.excludeCredentials = ids(publicKey.excludeCredentials);
    return { publicKey: options };
  }

  function write(credential) {
    const response = {};
    for (const name of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"]) {
      if (credential.response[name]) response[name] = text(credential.response[name]);
    }
    return JSON.stringify({
      id: credential.id,
      rawId: text(credential.rawId),
      type: credential.type,
      response,
      clientExtensionResults: credential.getClientExtensionResults(),
    });
  }

  // A challenge that is asked for only now is fresh, however long the page stood open.
  async function fresh(button, part) {
    const ticket = part.querySelector("[data-key-ticket]");
    const answer = await fetch(`${button.dataset.keyFrom}?ticket=${encodeURIComponent(ticket.value)}`);
    if (answer.redirected || !answer.ok) throw new Error(answer.status === 422 ? (await answer.json()).words : "");
    const found = await answer.json();
    return [found.options, () => { ticket.value = found.ticket; }];
  }

  async function ask(button) {
    const part = button.closest("[data-key]");
    const said = part.querySelector("[data-key-said]");
    said.hidden = true;
    button.disabled = true;
    try {
      let options, keep = () => {};
      if (button.dataset.keyFrom) [options, keep] = await fresh(button, part);
      else options = JSON.parse(button.dataset.keyGet || button.dataset.keyCreate);
      const credential = "keyCreate" in button.dataset
        ? await navigator.credentials.create(read(options))
        : await navigator.credentials.get(read(options));
      keep();
      part.querySelector("[data-key-answer]").value = write(credential);
      const done = part.querySelector("[data-key-done]");
      if (done) done.hidden = false;
      if ("keySends" in button.dataset) button.form.requestSubmit();
    } catch (error) {
      // What a browser throws here is for programmers; what our server said is a sentence.
      said.textContent = (error.constructor === Error && error.message) || said.dataset.refused;
      said.hidden = false;
    } finally {
      button.disabled = false;
    }
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-key-get], [data-key-create]");
    if (button) ask(button);
  });

  // The front door has no dialog.js, which does this elsewhere.
  for (const node of document.querySelectorAll("[data-needs-script]")) node.hidden = false;
})();
