"use strict";
// Draws the plots as they come into view; all data stands in the page itself, and nothing is fetched.
(() => {
  const plots = JSON.parse(document.getElementById("plots").textContent);
  const COLOURS = 9;
  const text = "var(--text)", faint = "var(--faint)", line = "var(--line)";
  const config = {
    background: null,
    font: 'system-ui, "Noto Sans", "DejaVu Sans", sans-serif',
    view: { stroke: null },
    axis: { labelColor: text, titleColor: faint, titleFontWeight: "normal", gridColor: line, domainColor: line, tickColor: line,
      labelFontSize: 12, titleFontSize: 12 },
    legend: { labelColor: text, titleColor: faint, labelFontSize: 12 },
    range: { category: Array.from({ length: COLOURS }, (_, i) => `var(--c${i})`) },
    bar: { color: "var(--c0)" }, line: { color: "var(--c0)" }, circle: { color: "var(--c0)" },
  };
  const rowsOf = (variant) => variant.rows.map((row) => {
    const made = Object.fromEntries(variant.fields.map((name, i) => [name, row[i]]));
    if (variant.parts.length) {
      made.part_order = made.part;
      made.part = variant.parts[made.part];
    }
    return made;
  });

  // The encoding of one mark, or of the first of several layers.
  const encodingOf = (spec) => (spec.layer ? spec.layer[0].encoding : spec.encoding);

  // Parts a name into lines of so many characters, behind blanks, dots and low lines where it can.
  const fold = (name, room) => {
    const lines = [""];
    for (const piece of name.match(/[^ ._]*[ ._]?/g).flatMap((part) => part.match(new RegExp(`.{1,${room}}`, "gu")) ?? [])) {
      if (lines.at(-1).length + piece.length > room) lines.push("");
      lines[lines.length - 1] += piece;
    }
    return lines.join("\n");
  };

  class Figure {
    constructor(figure) {
      this.figure = figure;
      this.plot = plots[figure.dataset.plot];
      this.picture = figure.querySelector(".picture");
      this.chosen = 0;
      this.view = null;
      const choice = figure.querySelector("select");
      if (choice) choice.addEventListener("change", () => { this.chosen = choice.selectedIndex; this.draw(); });
      if (this.plot.zoom) this.zoomable();
      figure.querySelector("details.numbers").addEventListener("toggle", (event) => {
        if (event.target.open) this.table(event.target);
      });
    }

    get variant() { return this.plot.variants[this.chosen]; }

    specification() {
      const spec = structuredClone(this.plot.spec);
      spec.data = { values: rowsOf(this.variant) };
      spec.width = "container";
      spec.autosize = { type: "fit-x", contains: "padding" };
      const encoding = encodingOf(spec);
      const parts = this.variant.parts;
      if (encoding.color && encoding.color.field === "part") {
        if (parts.length) encoding.color.scale = { domain: parts };
        else { delete encoding.color; if (encoding.tooltip) encoding.tooltip = encoding.tooltip.filter((t) => t.field !== "part"); }
        // The legend is text of the page: names of any length are folded there, and none is cut.
        if (parts.length) encoding.color.legend = null;
        if (parts.length > COLOURS && spec.mark && spec.mark.type === "line") {
          encoding.strokeDash = { field: "part", legend: null, scale: { domain: parts, range: parts.map((_, i) => (i < COLOURS ? [1, 0] : [4, 3])) } };
        }
        if (encoding.order && !parts.length) delete encoding.order;
      }
      if (this.plot.zoom) {
        const [from, to] = this.plot.zoom;
        spec.params = [{ name: "from", value: from }, { name: "to", value: to }];
        [this.from, this.to] = [from, to];
      }
      if (spec.mark && spec.mark.type === "bar") this.names(spec);
      // Squares and the names beside them need room; a narrow screen scrolls.
      if (spec.mark && spec.mark.type === "rect") this.picture.style.minWidth = `${300 + new Set(spec.data.values.map((r) => r.x)).size * 20}px`;
      return spec;
    }

    // Names that would take more than a third of the width stand above their bars instead of beside them.
    names(spec) {
      const names = [...new Set(spec.data.values.map((row) => row.name))];
      const width = this.picture.clientWidth;
      const longest = Math.max(...names.map((name) => name.length)) * 6.6;
      if (longest < width / 3) return;
      const { mark, encoding } = spec;
      encoding.y.axis = null;
      const room = Math.floor((width - 10) / 7);
      const folded = new Map(names.map((name) => [name, fold(name, room)]));
      const lines = Math.max(...[...folded.values()].map((told) => told.split("\n").length));
      // Shorter names have empty lines before them, so that each stands right above its bar.
      folded.forEach((told, name) => folded.set(name, "\n".repeat(lines - told.split("\n").length) + told));
      spec.data.values.forEach((row) => { row.told = folded.get(row.name); });
      const shown = { aggregate: [{ op: "count", as: "rows" }], groupby: ["name", "told"] };
      const step = 20 + 16 * lines;
      spec.layer = [
        { mark: { ...mark, size: 11, yOffset: step / 2 - 10 }, encoding },
        {
          transform: [shown],
          mark: { type: "text", align: "left", baseline: "top", lineBreak: "\n", lineHeight: 15, dy: 3 - step / 2, fontSize: 12, color: text },
          encoding: { y: { field: "name", type: "nominal", sort: null }, x: { value: 2 }, text: { field: "told", type: "nominal" } },
        },
      ];
      delete spec.mark;
      delete spec.encoding;
      spec.height = step * names.length;
    }

    legend() {
      const coloured = encodingOf(this.plot.spec).color;
      const list = document.createElement("ul");
      list.className = "parts";
      if (coloured && coloured.field === "part") {
        this.variant.parts.forEach((name, i) => {
          const item = document.createElement("li"), colour = document.createElement("span");
          colour.style.borderColor = `var(--c${i % COLOURS})`;
          if (i >= COLOURS) colour.className = "again";
          item.append(colour, name);
          list.append(item);
        });
      }
      const old = this.figure.querySelector("ul.parts");
      if (old) old.remove();
      if (list.childElementCount) this.figure.querySelector(".wide").after(list);
    }

    async draw() {
      if (this.view) this.view.finalize();
      this.picture.replaceChildren();
      this.legend();
      const compiled = vegaLite.compile(this.specification(), { config }).spec;
      this.view = new vega.View(vega.parse(compiled), { renderer: "svg", container: this.picture, hover: true });
      this.view.description(this.figure.querySelector("h3").textContent);
      await this.view.runAsync();
      this.figure.dataset.drawn = this.variant.name;
      const table = this.figure.querySelector("details.numbers");
      if (table.open) this.table(table);
    }

    zoomable() {
      const moves = {
        in: () => this.move(0.5, 0), out: () => this.move(2, 0), left: () => this.move(1, -0.25), right: () => this.move(1, 0.25),
        all: () => this.show(this.plot.zoom[0], this.plot.zoom[1]),
      };
      this.figure.querySelectorAll("button[data-move]").forEach((button) => {
        button.addEventListener("click", () => moves[button.dataset.move]());
      });
      const keys = { "+": "in", "=": "in", "-": "out", ArrowLeft: "left", ArrowRight: "right", 0: "all" };
      this.picture.tabIndex = 0;
      this.picture.addEventListener("keydown", (event) => {
        const move = keys[event.key];
        if (move && !event.ctrlKey && !event.metaKey) { event.preventDefault(); moves[move](); }
      });
      this.picture.addEventListener("wheel", (event) => {
        if (!event.ctrlKey && !event.shiftKey) return;
        event.preventDefault();
        this.move((event.deltaY || event.deltaX) > 0 ? 1.25 : 0.8, 0);
      }, { passive: false });
      let at = null;
      this.picture.addEventListener("pointerdown", (event) => { if (event.pointerType === "mouse") at = event.clientX; });
      window.addEventListener("pointerup", () => { at = null; });
      this.picture.addEventListener("pointermove", (event) => {
        if (at === null || !this.view) return;
        this.move(1, (at - event.clientX) / this.picture.clientWidth);
        at = event.clientX;
      });
    }

    // Bounds are moved in the scale's own measure, so that a step is as wide everywhere.
    move(factor, by) {
      const log = this.plot.zoom[2];
      const [from, to] = [this.from, this.to].map((value) => (log ? Math.log(value) : value));
      const half = ((to - from) * factor) / 2, middle = (from + to) / 2 + by * (to - from);
      const [low, high] = [middle - half, middle + half].map((value) => (log ? Math.exp(value) : value));
      this.show(low, high);
    }

    show(from, to) {
      if (!(to > from) || !this.view) return;
      [this.from, this.to] = [from, to];
      this.view.signal("from", from).signal("to", to).runAsync();
    }

    table(details) {
      const table = document.createElement("table");
      const fields = this.variant.fields;
      const head = table.createTHead().insertRow();
      fields.forEach((name) => { const cell = document.createElement("th"); cell.scope = "col"; cell.textContent = name; head.append(cell); });
      const body = table.createTBody();
      const shown = this.variant.rows.slice(0, 400);
      shown.forEach((row) => {
        const line = body.insertRow();
        row.forEach((value, i) => {
          const cell = line.insertCell();
          const told = fields[i] === "part" && this.variant.parts.length ? this.variant.parts[value] : value;
          cell.textContent = typeof told === "number" ? Number(told.toPrecision(6)).toLocaleString("en") : told ?? "";
          if (typeof told === "number") cell.className = "number";
        });
      });
      if (shown.length < this.variant.rows.length) {
        const cell = body.insertRow().insertCell();
        cell.colSpan = fields.length;
        cell.textContent = `and ${this.variant.rows.length - shown.length} more rows`;
      }
      details.querySelector(".scroll").replaceChildren(table);
    }
  }

  const figures = [...document.querySelectorAll("figure[data-plot]")].map((element) => new Figure(element));
  const by = new Map(figures.map((figure) => [figure.figure, figure]));
  const pending = new Set(figures);
  const drawNow = (figure) => { pending.delete(figure); return figure.draw(); };
  const drawAll = () => Promise.all([...pending].map(drawNow));
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      seen.unobserve(entry.target);
      drawNow(by.get(entry.target));
    }
  }, { rootMargin: "400px" });
  figures.forEach((figure) => seen.observe(figure.figure));
  window.addEventListener("beforeprint", drawAll);
  window.tamisReport = { figures, drawAll };

  document.querySelectorAll(".blurred > button").forEach((button) => {
    button.addEventListener("click", () => {
      const box = button.parentElement;
      const shown = box.classList.toggle("blurred");
      box.querySelectorAll("pre").forEach((pre) => { pre.ariaHidden = String(shown); pre.inert = shown; });
      button.textContent = shown ? button.dataset.show : button.dataset.hide;
      button.setAttribute("aria-expanded", String(!shown));
    });
  });
  const veil = document.getElementById("veil");
  if (veil) veil.addEventListener("click", () => {
    veil.setAttribute("aria-pressed", String(document.body.classList.toggle("all-blurred")));
  });
  document.querySelectorAll("input[data-searches]").forEach((input) => {
    const mine = [...document.querySelectorAll(`#${input.dataset.searches} figure`)];
    input.addEventListener("input", () => {
      const wanted = input.value.trim().toLowerCase();
      mine.forEach((figure) => { figure.hidden = !figure.dataset.words.includes(wanted); });
    });
  });
  const contents = document.querySelector("nav details");
  if (contents && matchMedia("(max-width: 60rem)").matches) contents.open = false;
})();
