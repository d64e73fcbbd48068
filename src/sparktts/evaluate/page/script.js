"use strict";
// Figures: a click on a title sorts by that column, numbers as numbers.
for (const table of document.querySelectorAll("table[data-sortable]")) {
  const titles = [...table.tHead.rows[0].cells];
  titles.forEach((title, column) => title.firstElementChild.addEventListener("click", () => {
    const direction = title.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    titles.forEach(other => other.removeAttribute("aria-sort"));
    title.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
    const key = row => row.cells[column].textContent.trim();
    const rows = [...table.tBodies[0].rows].sort((a, b) => {
      const [x, y] = [parseFloat(key(a)), parseFloat(key(b))];
      return direction * (isNaN(x) || isNaN(y) ? key(a).localeCompare(key(b)) : x - y);
    });
    table.tBodies[0].append(...rows);
  }));
}
// Texts: order, language, words.
const [order, language, find, count, items] = ["order", "language", "find", "count", "items"].map(id => document.getElementById(id));
const articles = [...items.children];
const descending = new Set(["error", "rtf"]);
function show() {
  const by = order.value, words = find.value.trim().toLowerCase();
  articles.sort((a, b) => by === "id" ? a.dataset.id.localeCompare(b.dataset.id, undefined, { numeric: true })
    : (descending.has(by) ? -1 : 1) * (a.dataset[by] - b.dataset[by]));
  items.append(...articles);
  let shown = 0;
  for (const article of articles) {
    const hit = (!language.value || article.dataset.language === language.value) && article.textContent.toLowerCase().includes(words);
    article.hidden = !hit;
    shown += hit;
  }
  count.textContent = `${shown} of ${articles.length}`;
}
for (const control of [order, language, find]) control.addEventListener("input", show);
count.textContent = `${articles.length} texts`;
// One sound at a time.
document.addEventListener("play", event => {
  for (const audio of document.querySelectorAll("audio")) if (audio !== event.target) audio.pause();
}, true);
