"use strict";
// The page of a run: what it shows is in its address, so that a copied address shows the same.
(() => {
  const byId = (id) => document.getElementById(id);
  const state = Object.fromEntries(new URLSearchParams(location.search));
  let overview = null, asked = 0, ends = null;

  // Characters that hide or reorder what is read are shown as their codes, as everywhere in Tamis.
  const HIDDEN = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;
  const harmless = (text) => String(text).replace(HIDDEN, (c) => `\\u${c.codePointAt(0).toString(16).padStart(4, "0")}`);
  const number = (value) => {
    if (Number.isInteger(value)) return value.toLocaleString("en");
    return Math.abs(value) >= 1e6 || (value && Math.abs(value) < 1e-4) ? value.toExponential(3) : Number(value.toPrecision(5)).toString();
  };
  const shown = (value) => value === null || value === undefined ? "" : typeof value === "number" ? number(value)
    : typeof value === "object" ? harmless(JSON.stringify(value)) : harmless(value);

  async function ask(question, body = {}) {
    const response = await fetch(`/api/${question}`, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
    });
    const told = await response.json();
    if (!response.ok) throw new Error(told.error);
    return told;
  }

  // Runs what a person asked for; of several at once only the last one's answer is shown.
  async function show(work, done) {
    const mine = ++asked;
    byId("status").textContent = "";
    document.body.setAttribute("aria-busy", "true");
    try {
      const told = await work();
      if (mine === asked) done(told);
    } catch (error) {
      if (mine === asked) byId("status").textContent = harmless(error.message);
    } finally {
      if (mine === asked) document.body.removeAttribute("aria-busy");
    }
  }

  function remember(changes, { push = true } = {}) {
    Object.assign(state, changes);
    for (const key of Object.keys(state)) if (state[key] === "" || state[key] === null || state[key] === false || state[key] === undefined) delete state[key];
    const query = new URLSearchParams(state).toString();
    const address = query ? `/?${query}` : "/";
    if (push) history.pushState(null, "", address); else history.replaceState(null, "", address);
  }

  function table(element, heads, rows, { pick = null, long = [] } = {}) {
    const head = document.createElement("thead"), body = document.createElement("tbody");
    const line = head.insertRow();
    heads.forEach((name, i) => {
      const cell = document.createElement("th");
      cell.scope = "col";
      cell.textContent = harmless(name);
      if (rows.some((row) => typeof row[i] === "number")) cell.className = "number";
      line.append(cell);
    });
    for (const row of rows) {
      const made = body.insertRow();
      row.forEach((value, i) => {
        const cell = made.insertCell();
        if (long.includes(heads[i])) cell.textContent = shown(value);
        else named(cell, shown(value));
        if (typeof value === "number") cell.className = "number";
        if (long.includes(heads[i])) cell.className = "text";
      });
      if (pick) {
        made.tabIndex = 0;
        made.addEventListener("click", () => pick(row, made));
        made.addEventListener("keydown", (event) => { if (event.key === "Enter") pick(row, made); });
      }
    }
    element.replaceChildren(head, body);
    element.parentElement.scrollTop = 0;
  }

  // Names may be broken between their words.
  function named(element, text) {
    text.split(/(?<=\w[_./+-])(?=\w)/).forEach((piece, i) => {
      if (i) element.append(document.createElement("wbr"));
      element.append(piece);
    });
  }

  function options(select, values, { empty = null } = {}) {
    const made = values.map((value) => new Option(harmless(value), value));
    if (empty !== null) made.unshift(new Option(empty, ""));
    select.replaceChildren(...made);
  }

  const decimal = (text) => (text === undefined || text.trim() === "" ? null : Number(text));
  const checked = (text, name) => {
    const value = decimal(text);
    if (value !== null && !Number.isFinite(value)) throw new Error(`${name}: ${text} is no number`);
    return value;
  };

  // --- documents ---

  const FILTERS = ["search", "source", "language", "fate", "rule", "column", "low", "high", "sort"];

  function documents() {
    const form = byId("filters").elements;
    for (const name of FILTERS) form[name].value = state[name] ?? "";
    form.descending.checked = Boolean(state.descending);
    show(async () => {
      const asking = Object.fromEntries(FILTERS.map((name) => [name, state[name] ?? ""]));
      return ask("documents", {
        ...asking, low: checked(state.low, "at least"), high: checked(state.high, "at most"),
        descending: Boolean(state.descending), page: Number(state.page ?? 0),
      });
    }, (told) => {
      const last = Math.max(0, told.pages - 1);
      byId("where").textContent = `${told.total.toLocaleString("en")} document${told.total === 1 ? "" : "s"}, page ${(told.page + 1).toLocaleString("en")} of ${(last + 1).toLocaleString("en")}`;
      byId("before").disabled = told.page === 0;
      byId("after").disabled = told.page >= last;
      const rows = told.rows.map(([id, source, language, fate, step, rule, value, threshold, column, text]) => [
        id.slice(0, 8), source, language, rule ? `${step}: ${rule}` : fate, rule ? value : null, rule ? threshold : null, column, text,
      ]);
      const ids = new Map(rows.map((row, i) => [row, told.rows[i][0]]));
      const harmful = told.rows.map((row) => overview.harmful.includes(row[4]));
      const heads = ["document", "source", "language", "fate", "value", "threshold", state.column || "", "text"];
      table(byId("rows"), heads, rows, { long: ["text"], pick: (row) => { remember({ doc: ids.get(row) }); document_(); } });
      byId("rows").querySelectorAll("tbody td.text").forEach((cell, i) => { if (harmful[i]) cell.classList.add("blurred"); });
      document_();
    });
  }

  function document_() {
    const box = byId("document");
    document.querySelectorAll("#rows tbody tr").forEach((row) => {
      row.setAttribute("aria-selected", String(Boolean(state.doc) && state.doc.startsWith(row.cells[0].textContent)));
    });
    document.querySelector(".split").classList.toggle("open", Boolean(state.doc));
    box.hidden = !state.doc;
    if (!state.doc) { box.replaceChildren(); return; }
    show(() => ask("document", { doc_id: state.doc }), ({ values, meaning }) => {
      const close = document.createElement("button");
      close.textContent = "Close";
      close.addEventListener("click", () => { remember({ doc: null }); document_(); });
      const head = document.createElement("h2"), text = document.createElement("pre"), list = document.createElement("dl");
      head.textContent = state.doc;
      text.textContent = harmless(values.text ?? "");
      for (const [name, value] of Object.entries(values)) {
        if (name === "text" || value === null) continue;
        const term = document.createElement("dt"), told = document.createElement("dd");
        term.textContent = harmless(name);
        term.title = harmless(meaning[name] ?? "");
        named(told, shown(value));
        list.append(term, told);
      }
      if (overview.harmful.includes(values.step)) {
        const shows = document.createElement("button");
        shows.textContent = "Show this text, which may be harmful";
        text.className = "blurred";
        text.ariaHidden = "true";
        shows.addEventListener("click", () => { text.className = ""; text.ariaHidden = null; shows.remove(); });
        box.replaceChildren(close, head, shows, text, list);
      } else box.replaceChildren(close, head, text, list);
      box.focus({ preventScroll: true });
    });
  }

  byId("filters").addEventListener("submit", (event) => {
    event.preventDefault();
    const form = byId("filters").elements;
    const chosen = Object.fromEntries(FILTERS.map((name) => [name, form[name].value]));
    remember({ ...chosen, descending: form.descending.checked ? "1" : "", page: "", doc: "" });
    documents();
  });
  for (const select of byId("filters").querySelectorAll("select, input[type=checkbox]")) {
    select.addEventListener("change", () => byId("filters").requestSubmit());
  }
  const turn = (by) => { remember({ page: String(Number(state.page ?? 0) + by) }); documents(); };
  byId("before").addEventListener("click", () => turn(-1));
  byId("after").addEventListener("click", () => turn(1));

  // --- thresholds ---

  let view = null;

  function thresholds() {
    const form = byId("bounds").elements;
    if (!state.try) {
      const first = overview.thresholds.find((limit) => overview.numbers.includes(limit.column));
      state.try = first ? first.column : overview.numbers[0];
    }
    form.try.value = state.try ?? "";
    form.least.value = state.least ?? "";
    form.most.value = state.most ?? "";
    const known = overview.thresholds.filter((limit) => limit.column === state.try);
    const told = known.slice(0, 5).map((l) => `${l.rule}${l.part === null ? "" : ` of ${l.part}`}: ${l.low === null ? "" : `at least ${number(l.low)}`} ${l.high === null ? "" : `at most ${number(l.high)}`}`);
    byId("now").textContent = harmless(known.length ? `The run's own: ${told.join("; ")}${known.length > 5 ? `; and ${known.length - 5} more` : ""}` : "The run has no rule over this column.");
    if (!state.try) return;
    show(async () => ask("what_if", { column: state.try, low: checked(state.least, "at least"), high: checked(state.most, "at most") }), (found) => {
      table(byId("effects"), found.heads, found.rows);
      const sum = (place) => found.rows.reduce((total, row) => total + row[place], 0);
      byId("effect").textContent = `Of ${sum(3).toLocaleString("en")} selected documents with a value ${sum(4).toLocaleString("en")} would stay and ${sum(5).toLocaleString("en")} fall; of the rejected ones ${sum(6).toLocaleString("en")} lie within the bounds.`;
      draw(found, known);
    });
  }

  function draw(found, known) {
    const log = found.log;
    const edges = found.bars.flatMap(([, low, high]) => [low, high]);
    ends = edges.length ? { low: Math.min(...edges), high: Math.max(...edges), log } : null;
    const at = (value, fallback) => (value === null ? fallback : toSlide(value));
    byId("slide-least").value = ends ? at(decimal(state.least), 0) : 0;
    byId("slide-most").value = ends ? at(decimal(state.most), 1000) : 1000;
    const text = "var(--text)", faint = "var(--faint)", line = "var(--line)";
    const marks = known.flatMap((l) => [l.low, l.high]).filter((value) => value !== null).map((value) => ({ at: value, what: "the run's" }));
    for (const value of [decimal(state.least), decimal(state.most)]) if (value !== null) marks.push({ at: value, what: "tried" });
    const scale = log ? { type: "log", nice: false } : { nice: false, zero: false };
    const compiled = vegaLite.compile({
      width: "container", height: 200, autosize: { type: "fit-x", contains: "padding" },
      layer: [
        { data: { values: found.bars.map(([part, low, high, n]) => ({ part, low, high, n })) },
          mark: { type: "bar", binSpacing: 0, clip: true },
          encoding: {
            x: { field: "low", bin: "binned", type: "quantitative", title: state.try, scale, axis: { labelOverlap: "greedy", tickCount: 6 } }, x2: { field: "high" },
            y: { field: "n", type: "quantitative", title: "documents", axis: { tickMinStep: 1, labelExpr: "abs(datum.value) < 1000 ? format(datum.value, '.3~g') : format(datum.value, '.3~s')" } },
            color: { field: "part", type: "nominal", title: null, scale: { domain: ["selected", "rejected"], range: ["var(--c0)", "var(--c1)"] } },
            tooltip: [{ field: "part", title: " " }, { field: "low", format: ".4~g" }, { field: "high", format: ".4~g" }, { field: "n", format: ",", title: "documents" }],
          } },
        { data: { values: marks },
          mark: { type: "rule", clip: true, strokeWidth: 2, color: "var(--mark)" },
          encoding: { x: { field: "at", type: "quantitative" }, strokeDash: { field: "what", type: "nominal", title: null, scale: { domain: ["the run's", "tried"], range: [[5, 3], [1, 0]] } }, tooltip: [{ field: "what", title: " " }, { field: "at", format: ".4~g" }] } },
      ],
    }, { config: {
      background: null, view: { stroke: null }, axis: { labelColor: text, titleColor: faint, gridColor: line, domainColor: line, tickColor: line },
      legend: { labelColor: text, orient: "bottom", symbolStrokeColor: text },
    } }).spec;
    if (view) view.finalize();
    byId("picture").replaceChildren();
    view = null;
    for (const slide of ["slide-least", "slide-most"]) byId(slide).disabled = !ends;
    if (!ends) {
      byId("picture").textContent = "No document has a value of this column.";
      byId("picture").dataset.drawn = state.try;
      return;
    }
    view = new vega.View(vega.parse(compiled), { renderer: "svg", container: byId("picture"), hover: true });
    view.runAsync().then(() => { byId("picture").dataset.drawn = state.try; });
  }

  const scaled = (value) => (ends.log ? Math.log(value) : value);
  const toSlide = (value) => Math.round(1000 * (scaled(value) - scaled(ends.low)) / (scaled(ends.high) - scaled(ends.low)));
  const fromSlide = (place) => {
    const at = scaled(ends.low) + (place / 1000) * (scaled(ends.high) - scaled(ends.low));
    return Number((ends.log ? Math.exp(at) : at).toPrecision(4));
  };
  byId("bounds").addEventListener("submit", (event) => {
    event.preventDefault();
    const form = byId("bounds").elements;
    remember({ try: form.try.value, least: form.least.value, most: form.most.value });
    thresholds();
  });
  byId("bounds").elements.try.addEventListener("change", () => {
    remember({ try: byId("bounds").elements.try.value, least: "", most: "" });
    thresholds();
  });
  for (const [id, key, open] of [["slide-least", "least", 0], ["slide-most", "most", 1000]]) {
    byId(id).addEventListener("change", () => {
      if (!ends) return;
      const place = Number(byId(id).value);
      remember({ [key]: place === open ? "" : String(fromSlide(place)) });
      thresholds();
    });
  }

  // --- SQL and manifest ---

  function sql() {
    const form = byId("asking").elements;
    form.query.value = state.query ?? "FROM funnel()";
    if (state.query) show(() => ask("sql", { query: state.query }), (found) => {
      table(byId("answer"), found.heads, found.rows, { long: ["text"] });
      if (found.more) byId("status").textContent = `the first ${found.rows.length} rows: tamis sql writes all with --output`;
    });
  }
  byId("asking").addEventListener("submit", (event) => {
    event.preventDefault();
    remember({ query: byId("asking").elements.query.value });
    sql();
  });
  byId("asking").elements.query.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) byId("asking").requestSubmit();
  });

  function manifest() {
    show(() => ask("manifest"), (found) => { document.querySelector("#manifest pre").textContent = harmless(JSON.stringify(found, null, 1)); });
  }

  // --- views ---

  const views = { documents, thresholds, sql, manifest };
  const tabs = Object.keys(views);

  function open() {
    if (!views[state.tab]) state.tab = "documents";
    for (const name of tabs) {
      byId(name).hidden = name !== state.tab;
      const tab = byId(`tab-${name}`);
      tab.setAttribute("aria-selected", String(name === state.tab));
      tab.tabIndex = name === state.tab ? 0 : -1;
    }
    views[state.tab]();
  }

  for (const name of tabs) {
    byId(`tab-${name}`).addEventListener("click", () => { remember({ tab: name }); open(); });
    byId(`tab-${name}`).addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (by) { const next = byId(`tab-${tabs.at((tabs.indexOf(name) + by) % tabs.length)}`); next.focus(); next.click(); }
    });
  }
  window.addEventListener("popstate", () => {
    for (const key of Object.keys(state)) delete state[key];
    Object.assign(state, Object.fromEntries(new URLSearchParams(location.search)));
    open();
  });
  byId("copy").addEventListener("click", async () => {
    await navigator.clipboard.writeText(location.href);
    byId("status").textContent = "Copied. Whoever has the run opens it with tamis ui RUN --view and what stands behind the ?.";
  });

  ask("overview").then((found) => {
    overview = found;
    document.title = `Tamis: ${harmless(found.name)}`;
    byId("name").textContent = harmless(found.name);
    const { read, selected, rejected, errors } = found.counts;
    byId("counts").textContent = `${read.toLocaleString("en")} read = ${selected.toLocaleString("en")} selected + ${rejected.toLocaleString("en")} rejected + ${errors.toLocaleString("en")} errors${found.whole_texts ? "" : "; search looks at the beginnings of texts"}`;
    const form = byId("filters").elements;
    options(form.source, found.sources, { empty: "any" });
    options(form.language, found.languages, { empty: "any" });
    options(form.rule, found.rules, { empty: "any" });
    options(form.column, found.numbers, { empty: "none" });
    options(form.sort, found.columns, { empty: "doc_id" });
    form.language.parentElement.hidden = !found.languages.length;
    options(byId("bounds").elements.try, found.numbers);
    open();
  }).catch((error) => { byId("status").textContent = harmless(error.message); });
})();
