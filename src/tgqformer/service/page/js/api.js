// Calls of the service. A refusal is thrown as a Fault whose message is one sentence to show.

import { byId } from "./dom.js";

const KEPT = "tgqformer-key";
const WAITS = 3; // how often "come again later" is obeyed
const MAP_WAITS = 60;

export class Fault extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

export const key = () => sessionStorage.getItem(KEPT);

/** Whether an error only says that somebody asked for something else meanwhile. */
export const isAbort = (error) => error?.name === "AbortError";

/** Send a request and give the answer's JSON; the page asks for a key where the service does. */
export async function call(path, { body, params, signal } = {}) {
  const answer = await send(address(path, params), body, signal);
  return answer.json();
}

/** A photo as a blob, for those that need a key. */
export async function blob(url, signal) {
  return (await send(url, undefined, signal)).blob();
}

/** The address of an item; ids may hold slashes. */
export const itemPath = (id) => `/v1/items/${id.split("/").map(encodeURIComponent).join("/")}`;

export function address(path, params = {}) {
  const parts = new URLSearchParams();
  for (const [name, value] of Object.entries(params))
    if (value !== undefined && value !== null && value !== "") parts.set(name, value);
  const text = parts.toString();
  return text ? `${path}?${text}` : path;
}

async function send(url, body, signal) {
  const waits = url.startsWith("/v1/map") ? MAP_WAITS : WAITS;
  for (let turn = 0; ; turn += 1) {
    const used = key();
    const headers = used ? { Authorization: `Bearer ${used}` } : {};
    if (body !== undefined) headers["Content-Type"] = "application/json";
    const options = { method: body === undefined ? "GET" : "POST", headers, signal };
    if (body !== undefined) options.body = JSON.stringify(body);
    let answer;
    try {
      answer = await fetch(url, options);
    } catch (error) {
      if (isAbort(error)) throw error;
      throw new Fault("The service cannot be reached; check that it runs, and try again.");
    }
    if (answer.ok) return answer;
    const fault = await read(answer);
    if (answer.status === 401) {
      // another call may have brought a new key while this one was under way
      if (key() === used) await askForKey(used ? "That key is not known; check it and try again." : "");
    } else if ([429, 503].includes(answer.status) && turn < waits) {
      const seconds = Number(answer.headers.get("Retry-After")) || 1;
      await new Promise((resolve) => setTimeout(resolve, Math.min(seconds, 5) * 1000));
      signal?.throwIfAborted();
    } else throw fault;
  }
}

async function read(answer) {
  let message = "";
  try {
    message = (await answer.json()).error.message;
  } catch {
    message = `the service answered with status ${answer.status}; try again later.`;
  }
  return new Fault(message.charAt(0).toUpperCase() + message.slice(1), answer.status);
}

let asking = null;

/** Open the form for the key; every call that waits for one shares it. */
export function askForKey(message) {
  asking ??= new Promise((resolve, reject) => {
    const dialog = byId("key");
    const field = byId("key-value");
    byId("key-open").hidden = false;
    if (message) byId("key-message").textContent = message;
    field.value = "";
    const cancel = () => dialog.close("cancel");
    byId("key-cancel").addEventListener("click", cancel);
    dialog.addEventListener("close", () => {
      byId("key-cancel").removeEventListener("click", cancel);
      asking = null;
      const given = field.value.trim();
      field.value = "";
      if (dialog.returnValue === "cancel" || !given)
        reject(new Fault("This service asks for a key; choose Key above and give one.", 401));
      else {
        sessionStorage.setItem(KEPT, given);
        resolve();
      }
    }, { once: true });
    dialog.returnValue = "cancel"; // what Escape leaves it at
    dialog.showModal();
    field.focus();
  });
  return asking;
}
