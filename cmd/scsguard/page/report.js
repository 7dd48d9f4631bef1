"use strict";
// The page is whole without this: it adds pages to long tables, a better tip than
// the browser's, and arrows from record to record.
const tip = document.getElementById("tip");

function show(link) {
  const box = link.getBoundingClientRect();
  tip.textContent = link.getAttribute("aria-label");
  tip.hidden = false;
  const left = Math.min(Math.max(8, box.left), document.documentElement.clientWidth - tip.offsetWidth - 8);
  const below = box.bottom + 8 + tip.offsetHeight < innerHeight;
  tip.style.left = Math.max(8, left) + "px";
  tip.style.top = (below ? box.bottom + 8 : box.top - tip.offsetHeight - 8) + "px";
}

for (const link of document.querySelectorAll(".picture a")) {
  const title = link.querySelector("title");
  link.setAttribute("aria-label", title.textContent);
  title.remove();
  link.addEventListener("mouseenter", () => show(link));
  link.addEventListener("focus", () => show(link));
  for (const event of ["mouseleave", "blur"]) link.addEventListener(event, () => { tip.hidden = true; });
}

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") tip.hidden = true;
  const link = document.activeElement.closest(".picture a");
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!link || !step) return;
  const all = [...link.closest(".picture").querySelectorAll("a")];
  const next = all[all.indexOf(link) + step];
  if (next) next.focus();
  event.preventDefault();
});

// A table of many rows shows one page of them; what is printed has them all.
const turns = new Map();
for (const table of document.querySelectorAll("table[data-page]")) {
  const size = Number(table.dataset.page), rows = [...table.tBodies[0].rows];
  const pages = Math.ceil(rows.length / size);
  if (pages < 2) continue;
  const bar = document.createElement("div"), says = document.createElement("span"), buttons = [];
  let page = 0;
  const turn = (to) => {
    page = Math.min(Math.max(to, 0), pages - 1);
    rows.forEach((row, i) => { row.hidden = Math.floor(i / size) !== page; });
    says.textContent = `page ${page + 1} of ${pages}, rows ${page * size + 1} to ${Math.min((page + 1) * size, rows.length)} of ${rows.length}`;
    buttons.forEach((b) => { b.disabled = b.to() === page; });
  };
  for (const [text, to] of [["first", () => 0], ["back", () => Math.max(page - 1, 0)], ["next", () => Math.min(page + 1, pages - 1)], ["last", () => pages - 1]]) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text;
    button.to = to;
    button.addEventListener("click", () => turn(to()));
    buttons.push(button);
  }
  bar.className = "pager";
  bar.append(...buttons, says);
  table.parentElement.after(bar);
  rows.forEach((row, i) => turns.set(row, () => turn(Math.floor(i / size))));
  turn(0);
}

function go() {
  const row = document.getElementById(location.hash.slice(1));
  if (!row) return;
  if (turns.has(row)) turns.get(row)();
  if (row.matches("tr")) {
    row.focus();
    row.scrollIntoView({ block: "center" });
  }
}
addEventListener("hashchange", go);
go();
