// Everything that moves on the page: examples behind a filter, tables that can be sorted, and the
// names of languages. Texts are set as text, never as HTML.
"use strict";

const STEP = 20; // examples that are shown at once

function make(name, options = {}, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(options)) {
    if (value !== undefined) node.setAttribute(key, value);
  }
  node.append(...children);
  return node;
}

// The English name of a language code; nothing where the browser knows none.
function nameLanguage(code) {
  try {
    const name = new Intl.DisplayNames(["en"], { type: "language", fallback: "none" }).of(code);
    return code === "und" || !name ? "" : name;
  } catch {
    return "";
  }
}

function isLanguage(code) {
  return code !== "und" && nameLanguage(code) !== "";
}

// Examples ------------------------------------------------------------------------------------------

function showEntity(words, [, , type, error], types) {
  const place = (types.indexOf(type) % 8) + 1;
  const classes = ["entity", `type-${place}`];
  if (error) classes.push("error");
  if (error === "missed") classes.push("missed");
  const name = error ? `${type} · ${error}` : type;
  return make(
    "span",
    { class: classes.join(" ") },
    make("bdi", {}, words.join(" ")),
    "\u00a0",
    make("bdi", { class: "name", dir: "ltr", lang: "en" }, name),
  );
}

function showWords(words, spans, types) {
  const parts = [];
  let at = 0;
  for (const span of spans) {
    const [start, end] = span;
    if (start > at) parts.push(words.slice(at, start).join(" "));
    parts.push(showEntity(words.slice(start, end), span, types));
    at = end;
  }
  if (at < words.length) parts.push(words.slice(at).join(" "));
  return parts.flatMap((part, place) => (place ? [" ", part] : [part]));
}

function showAnswer(who, content, options) {
  return make(
    "div",
    { class: "answer" },
    make("span", { class: "who" }, who),
    make("p", { class: "text", ...options }, ...content),
  );
}

function showExample(example, models, types) {
  const lang = isLanguage(example.language) ? example.language : undefined;
  const name = nameLanguage(example.language);
  const heading = make("h3", {}, make("strong", {}, example.language));
  heading.append(name ? ` ${name}` : "", ` — ${example.errors.join(", ")}`);
  const item = make("li", {}, heading);
  if (example.words) {
    for (const model of models) {
      const spans = example.spans[model];
      if (!spans) continue;
      if (model !== models[0] && spans.every((span) => !span[3])) {
        item.append(showAnswer(model, [`same as ${models[0]}`], { class: "text same" }));
      } else {
        item.append(showAnswer(model, showWords(example.words, spans, types), { dir: "auto", lang }));
      }
    }
    return item;
  }
  example.texts.forEach((text, place) => {
    const who = example.texts.length > 1 ? `text ${place + 1}` : "text";
    item.append(showAnswer(who, [text], { dir: "auto", lang }));
  });
  for (const model of models) {
    const found = example.classes[model];
    if (!found) continue;
    const parts = found.flatMap(([name, error]) => [
      make(
        "span",
        { class: `entity${error ? " error" : ""}${error === "missed" ? " missed" : ""}` },
        make("bdi", {}, name),
      ),
      error ? ` ${error} ` : " ",
    ]);
    item.append(showAnswer(model, parts.length ? parts : ["no label"]));
  }
  return item;
}

function startExamples() {
  const block = document.getElementById("data");
  if (!block) return;
  const { models, examples } = JSON.parse(block.textContent);
  const form = document.getElementById("filter");
  const list = document.getElementById("list");
  const more = document.getElementById("more");
  const count = document.getElementById("count");
  const types = [
    ...new Set(
      examples.flatMap((each) => Object.values(each.spans || {}).flat().map((span) => span[2])),
    ),
  ].sort();
  let chosen = [];

  function showMore(focus) {
    const before = list.children.length;
    for (const example of chosen.slice(before, before + STEP)) {
      list.append(showExample(example, models, types));
    }
    const shown = list.children.length;
    more.hidden = shown === chosen.length;
    count.textContent = chosen.length
      ? `Showing ${shown.toLocaleString("en")} of ${chosen.length.toLocaleString("en")} that match.`
      : "None of the examples match.";
    if (focus && list.children[before]) {
      list.children[before].tabIndex = -1;
      list.children[before].focus();
    }
  }

  function choose() {
    const { language, error } = Object.fromEntries(new FormData(form));
    chosen = examples.filter(
      (each) =>
        (!language || each.language === language) && (!error || each.errors.includes(error)),
    );
    list.replaceChildren();
    showMore(false);
  }

  for (const option of form.elements.language.options) {
    const name = option.value && nameLanguage(option.value);
    if (name) option.textContent = `${option.value} (${name})`;
  }
  form.hidden = false;
  form.addEventListener("change", choose);
  form.addEventListener("submit", (event) => event.preventDefault());
  more.addEventListener("click", () => showMore(true));
  choose();
}

// Tables --------------------------------------------------------------------------------------------

// A number for cells that begin with one, else the text.
function readCell(row, column) {
  const text = row.cells[column].textContent.trim();
  const number = Number.parseFloat(text.replaceAll(",", "").replace("−", "-"));
  return Number.isNaN(number) ? text : number;
}

function compareCells(first, second) {
  if (typeof first === typeof second) {
    return typeof first === "number" ? first - second : first.localeCompare(second);
  }
  return typeof first === "number" ? -1 : 1;
}

function sortTable(table, column) {
  const heads = [...table.tHead.rows[0].cells];
  const head = heads[column];
  const down = head.getAttribute("aria-sort") === "ascending";
  for (const each of heads) each.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const body = table.tBodies[0];
  const rows = [...body.rows].sort((first, second) => {
    const order = compareCells(readCell(first, column), readCell(second, column));
    return down ? -order : order;
  });
  body.append(...rows);
}

function startTables() {
  for (const table of document.querySelectorAll("table.sortable")) {
    const rows = [...table.tBodies[0].rows];
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      if (rows.some((row) => row.cells[column].querySelector("svg"))) return; // it has no order
      const button = make("button", { type: "button" }, ...head.childNodes);
      button.addEventListener("click", () => sortTable(table, column));
      head.append(button);
    });
  }
}

function startLanguages() {
  for (const node of document.querySelectorAll("[data-language]")) {
    const name = nameLanguage(node.dataset.language);
    if (name) node.append(make("span", { class: "full" }, ` ${name}`));
  }
}

// Boxes that do not scroll are no stops for the keyboard.
function startBoxes() {
  const boxes = [...document.querySelectorAll(".scroll")];
  const observer = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
      else target.removeAttribute("tabindex");
    }
  });
  for (const box of boxes) observer.observe(box);
}

// Paper has no way to open what is closed.
function startPrinting() {
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("main details:not([open])")];
    for (const each of opened) each.open = true;
  });
  addEventListener("afterprint", () => {
    for (const each of opened) each.open = false;
  });
}

startExamples();
startTables();
startLanguages();
startBoxes();
startPrinting();
