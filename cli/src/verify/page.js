"use strict";
(function () {
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);

  // Dark and light.
  const root = document.documentElement;
  const theme = byId("theme");
  const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : prefersDark.matches);
  function showTheme() {
    theme.textContent = isDark() ? "Light" : "Dark";
    theme.setAttribute("aria-label", isDark() ? "Switch to light colours" : "Switch to dark colours");
    theme.setAttribute("aria-pressed", String(isDark()));
  }
  theme.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    showTheme();
  });
  prefersDark.addEventListener("change", showTheme);
  showTheme();

  if (!byId("rows")) return;

  // One finding is [class, LSU, image, key, expected, found, advice]; class, LSU and advice are indices.
  const CLASS = 0, LSU = 1, IMAGE = 2, KEY = 3, EXPECTED = 4, FOUND = 5, ADVICE = 6;
  const SEVERITIES = ["error", "warning"];
  const severityOf = (row) => data.classes[row[CLASS]][1];
  const collator = new Intl.Collator("en", { numeric: true });
  const byText = (text) => (a, b) => collator.compare(text(a), text(b));
  const columns = {
    severity: (a, b) => SEVERITIES.indexOf(severityOf(a)) - SEVERITIES.indexOf(severityOf(b)),
    class: byText((row) => data.classes[row[CLASS]][0]),
    lsu: byText((row) => data.lsus[row[LSU]]),
    image: byText((row) => (row[IMAGE] || "") + "\n" + (row[KEY] || "")),
    expected: byText((row) => row[EXPECTED]),
    found: byText((row) => row[FOUND]),
    advice: byText((row) => data.advice[row[ADVICE]]),
  };
  const inputs = { text: byId("f-text"), class: byId("f-class"), severity: byId("f-severity"), lsu: byId("f-lsu") };
  const body = byId("rows").tBodies[0];
  const heads = Array.from(document.querySelectorAll("#rows th[data-column]"));
  const count = (number) => number.toLocaleString("en");
  const state = { sort: "severity", down: false, page: 0, size: 100, shown: data.rows };

  function words(row) {
    return [data.classes[row[CLASS]][0], severityOf(row), data.lsus[row[LSU]], row[IMAGE] || "", row[KEY] || "",
      row[EXPECTED], row[FOUND], data.advice[row[ADVICE]]].join("\n").toLowerCase();
  }

  function arrange(rows) {
    const compare = columns[state.sort];
    // The report's own order breaks ties in both directions.
    const sorted = rows.map((row, at) => [row, at]);
    sorted.sort((a, b) => (state.down ? compare(b[0], a[0]) : compare(a[0], b[0])) || a[1] - b[1]);
    return sorted.map((pair) => pair[0]);
  }

  function select() {
    const wanted = inputs.text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const rows = data.rows.filter((row) => {
      if (inputs.class.value && data.classes[row[CLASS]][0] !== inputs.class.value) return false;
      if (inputs.severity.value && severityOf(row) !== inputs.severity.value) return false;
      if (inputs.lsu.value !== "" && row[LSU] !== Number(inputs.lsu.value)) return false;
      if (wanted.length === 0) return true;
      const text = words(row);
      return wanted.every((word) => text.includes(word));
    });
    state.shown = arrange(rows);
    state.page = 0;
    draw();
  }

  function cell(line, text, name) {
    const td = line.insertCell();
    if (name) {
      const inner = td.appendChild(document.createElement("span"));
      inner.className = name;
      inner.textContent = text;
    } else {
      td.textContent = text;
    }
    return td;
  }

  function line(row) {
    const tr = document.createElement("tr");
    const severity = severityOf(row);
    cell(tr, severity, "tag " + severity);
    cell(tr, data.classes[row[CLASS]][0]);
    cell(tr, data.lsus[row[LSU]]);
    const image = cell(tr, row[IMAGE] || "–");
    if (row[KEY]) {
      const key = image.appendChild(document.createElement("span"));
      key.className = "mono";
      key.textContent = row[KEY];
    }
    cell(tr, row[EXPECTED]);
    cell(tr, row[FOUND]);
    cell(tr, data.advice[row[ADVICE]]);
    return tr;
  }

  function fill(rows) {
    const lines = document.createDocumentFragment();
    rows.forEach((row) => lines.appendChild(line(row)));
    body.replaceChildren(lines);
  }

  function draw() {
    const total = state.shown.length;
    const pages = Math.max(1, Math.ceil(total / state.size));
    const from = state.page * state.size;
    const to = Math.min(total, from + state.size);
    fill(state.shown.slice(from, to));
    const of = total === data.rows.length ? count(total) : count(total) + " selected of " + count(data.rows.length);
    byId("shown").textContent = total === 0 ? "None of " + count(data.rows.length) + " findings selected"
      : count(from + 1) + "–" + count(to) + " of " + of + (data.rows.length === 1 ? " finding" : " findings");
    byId("page").textContent = "Page " + count(state.page + 1) + " of " + count(pages);
    byId("prev").disabled = state.page === 0;
    byId("next").disabled = state.page + 1 >= pages;
    heads.forEach((head) => {
      const active = head.dataset.column === state.sort;
      head.setAttribute("aria-sort", !active ? "none" : state.down ? "descending" : "ascending");
    });
  }

  function turn(by) {
    state.page += by;
    draw();
    byId("findings").scrollIntoView();
  }

  heads.forEach((head) => head.querySelector("button").addEventListener("click", () => {
    const column = head.dataset.column;
    state.down = state.sort === column && !state.down;
    state.sort = column;
    select();
  }));
  Object.values(inputs).forEach((input) => input.addEventListener("input", select));
  byId("clear").addEventListener("click", () => {
    Object.values(inputs).forEach((input) => { input.value = ""; });
    select();
  });
  byId("size").addEventListener("input", (event) => {
    state.size = Number(event.target.value);
    state.page = 0;
    draw();
  });
  byId("prev").addEventListener("click", () => turn(-1));
  byId("next").addEventListener("click", () => turn(1));
  document.querySelectorAll("button[data-class]").forEach((button) => button.addEventListener("click", () => {
    Object.values(inputs).forEach((input) => { input.value = ""; });
    inputs.class.value = button.dataset.class;
    select();
    byId("findings").scrollIntoView();
    inputs.class.focus({ preventScroll: true });
  }));

  // On paper nothing is paged or filtered away.
  window.addEventListener("beforeprint", () => fill(arrange(data.rows)));
  window.addEventListener("afterprint", draw);
  select();
})();
