// Keeps the page up to date by long polling: the server answers as soon as something changes.
"use strict";

const live = document.getElementById("live");
const link = document.getElementById("link");
const PAUSE_MS = 400;
const RETRY_MS = 3000;
const FLASH_MS = 1600;

const DISTANCES = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const UNITS = [[86400 * 365, "year"], [86400, "day"], [3600, "hour"], [60, "minute"], [1, "second"]];

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

function parse(html) {
  const holder = document.createElement("template");
  holder.innerHTML = html;
  return holder.content;
}

// Times are shown relative to now; the absolute time stays in the attribute.
function tick() {
  const now = Date.now();
  for (const element of document.querySelectorAll("time")) {
    const text = distance((Date.parse(element.dateTime) - now) / 1000);
    if (element.textContent !== text) element.textContent = text;
    element.title = element.dateTime;
  }
}

function distance(seconds) {
  const size = Math.abs(seconds);
  const [length, name] = UNITS.find(([length]) => size >= length * 1.5) || UNITS[UNITS.length - 1];
  return DISTANCES.format(Math.round(seconds / length), name);
}

// Only what differs is changed, so that focus, selection and scroll position stay.
function renew(before, after) {
  if (before.isEqualNode(after)) return;
  if (before.nodeType !== after.nodeType || before.nodeName !== after.nodeName || before.id !== after.id) {
    before.replaceWith(after);
    return;
  }
  if (before.nodeType === Node.TEXT_NODE) {
    before.data = after.data;
    return;
  }
  if (before.nodeName === "TIME" && before.dateTime === after.dateTime) return;
  for (const { name } of [...before.attributes]) if (!after.hasAttribute(name)) before.removeAttribute(name);
  for (const { name, value } of after.attributes) if (before.getAttribute(name) !== value) before.setAttribute(name, value);
  renewChildren(before, after);
}

function renewChildren(before, after) {
  const known = new Map([...before.children].filter((item) => item.id).map((item) => [item.id, item]));
  const wanted = [...after.childNodes];
  let place = before.firstChild;
  for (const next of wanted) {
    const same = next.id ? known.get(next.id) : null;
    if (same) {
      if (same !== place) before.insertBefore(same, place);
      const was = same.nodeName === "TR" ? words(same) : null;
      renew(same, next);
      if (was !== null && was !== words(same)) flash(same);
      place = same.nextSibling;
    } else if (place && !place.id && !next.id) {
      const following = place.nextSibling;
      renew(place, next);
      place = following;
    } else {
      before.insertBefore(next, place);
      if (next.nodeName === "TR") flash(next);
    }
  }
  while (place) {
    const following = place.nextSibling;
    place.remove();
    place = following;
  }
}

const words = (row) => [...row.querySelectorAll(".chip, .health, .bad")].map((item) => item.textContent).join("\n");

function flash(row) {
  row.classList.remove("flashed");
  void row.offsetWidth;
  row.classList.add("flashed");
  setTimeout(() => row.classList.remove("flashed"), FLASH_MS);
}

async function follow() {
  let isLost = false;
  for (;;) {
    if (document.hidden) {
      await new Promise((done) => document.addEventListener("visibilitychange", done, { once: true }));
      continue;
    }
    const address = new URL("/live", location.href);
    address.search = location.search;
    // After a failure the page does not wait for a change: any answer shows that it is back.
    if (!isLost) address.searchParams.set("have", document.getElementById("state").dataset.version);
    try {
      const answer = await fetch(address, { cache: "no-store" });
      if (!answer.ok) throw new Error(String(answer.status));
      if (answer.status === 200) {
        renewChildren(live, parse(await answer.text()));
        tick();
      }
      isLost = false;
      say("It updates automatically.");
      await sleep(PAUSE_MS);
    } catch {
      isLost = true;
      say("The injector does not respond; retrying.");
      await sleep(RETRY_MS);
    }
  }
}

function say(text) {
  if (link.textContent !== text) link.textContent = text;
}

const form = document.getElementById("play");
let latest = 0;
let waiting = 0;

async function play() {
  const turn = ++latest;
  const answer = await fetch("/playground?part", { method: "POST", body: new URLSearchParams(new FormData(form)) });
  const text = await answer.text();
  if (turn === latest && answer.ok) document.getElementById("played").replaceChildren(parse(text));
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  play();
});
form.addEventListener("input", () => {
  clearTimeout(waiting);
  waiting = setTimeout(play, 250);
});

tick();
setInterval(tick, 1000);
say("It updates automatically.");
follow();
