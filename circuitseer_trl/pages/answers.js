// The browser of answers. The page has an index of problems; the answers of a problem are in a part, which is read when the
// problem is opened: from the page, or from a file of the folder beside it.
(() => {
  "use strict";
  const index = JSON.parse(document.getElementById("answers-index").textContent);
  const view = document.getElementById("answers-view");
  const parts = new Map(), waiting = new Map(), PAGE = 20;
  const state = { benchmark: 0, a: 0, b: Math.min(1, index.runs.length - 1), filter: "all", text: "", shown: PAGE };
  const FILTERS = {
    all: ["all problems", () => true],
    a_b: ["A right, B wrong", (a, b) => a && b && a[0] > b[0]],
    b_a: ["B right, A wrong", (a, b) => a && b && b[0] > a[0]],
    both_wrong: ["both wrong", (a, b) => a && b && !a[0] && !b[0]],
    undecided: ["A undecided", (a) => a && a[2] & 1],
    cut: ["A cut at the limit", (a) => a && a[2] & 2],
  };

  // An element with text, never with markup.
  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.filter((child) => child !== null));
    return element;
  }
  // An element with HTML that the page's writer has made: every foreign text in it is escaped.
  function markup(tag, attributes, source) {
    const element = make(tag, attributes);
    element.innerHTML = source;
    return element;
  }

  window.circuitseerAnswers = (number, part) => {
    parts.set(number, part);
    for (const go of waiting.get(number) || []) go();
    waiting.delete(number);
  };
  function withPart(number, go) {
    if (parts.has(number)) return go();
    const inside = document.getElementById(`answers-part-${number}`);
    if (inside) {
      parts.set(number, JSON.parse(inside.textContent));
      return go();
    }
    const first = !waiting.has(number);
    waiting.set(number, [...(waiting.get(number) || []), go]);
    if (!first) return;
    const source = `${index.folder}/part-${number}.js`;
    const missing = () => {
      waiting.delete(number);
      view.replaceChildren(make("p", { role: "alert" }, `${source} is missing. It belongs beside this page.`), back());
    };
    document.head.append(make("script", { src: source, onerror: missing }));
  }

  const link = (benchmark, id) => `#answers/${encodeURIComponent(benchmark)}/${encodeURIComponent(id)}`;
  const back = () => make("p", {}, make("a", { href: "#answers" }, "\u2190 all problems"));
  function sign(mark) {
    if (!mark) return ["\u2013", "not measured"];
    if (mark[2] & 1 && !mark[0]) return ["?", "undecided"];
    if (mark[0] === 1) return ["\u2713", "right"];
    return mark[0] ? [`${Math.round(100 * mark[0])}%`, "of the samples are right"] : ["\u2717", "wrong"];
  }
  function badge(mark) {
    const [text, title] = sign(mark);
    return make("span", { class: `badge ${mark && mark[0] === 1 ? "right" : ""}`, title }, text);
  }

  function chosen() {
    const [, fits] = FILTERS[state.filter], words = state.text.toLowerCase();
    return index.benchmarks[state.benchmark].problems.filter(
      ([id, start, , marks]) =>
        fits(marks[state.a], marks[state.b]) && (!words || `${id} ${start}`.toLowerCase().includes(words))
    );
  }
  function choice(label, names, key) {
    const change = (event) => {
      state[key] = key === "filter" ? event.target.value : Number(event.target.value);
      state.shown = PAGE;
      list();
    };
    const options = names.map(([value, name]) => make("option", { value, selected: String(value) === String(state[key]) }, name));
    return make("label", {}, `${label} `, make("select", { id: `answers-${key}`, onchange: change }, ...options));
  }
  function list() {
    const numbered = (names) => names.map((name, number) => [number, name]);
    const search = make("input", { id: "answers-text", type: "search", value: state.text, "aria-label": "Search in problems" });
    search.addEventListener("input", () => {
      state.text = search.value;
      state.shown = PAGE;
      problems();
    });
    const controls = make(
      "div",
      { class: "controls" },
      choice("benchmark", numbered(index.benchmarks.map((each) => each.name)), "benchmark"),
      choice("A", numbered(index.runs), "a"),
      choice("B", numbered(index.runs), "b"),
      choice("show", Object.entries(FILTERS).map(([key, [name]]) => [key, name]), "filter"),
      make("label", {}, "search ", search)
    );
    view.replaceChildren(controls, make("p", { id: "answers-count", role: "status" }), make("ul", { id: "answers-list" }));
    problems();
  }
  function problems() {
    const benchmark = index.benchmarks[state.benchmark].name, found = chosen();
    const rows = found.slice(0, state.shown).map(([id, start, , marks]) => {
      const known = marks.filter((mark) => mark), right = known.filter((mark) => mark[0] === 1).length;
      const note = `${right} of ${known.length} runs are right`;
      return make(
        "li", {},
        make("span", { class: "marks" }, "A ", badge(marks[state.a]), " B ", badge(marks[state.b])),
        make("a", { href: link(benchmark, id) }, id), " ", make("span", {}, start), " ", make("small", {}, note)
      );
    });
    if (found.length > state.shown) {
      const more = () => { state.shown += PAGE; problems(); };
      rows.push(make("li", {}, make("button", { type: "button", onclick: more }, `${found.length - state.shown} more`)));
    }
    const total = index.benchmarks[state.benchmark].problems.length;
    document.getElementById("answers-count").textContent = `${found.length} of ${total} problems`;
    document.getElementById("answers-list").replaceChildren(...rows);
  }

  function group(each) {
    const word = each.undecided ? "undecided" : each.right ? "right" : "wrong", number = each.answers.length;
    const head = make(
      "p", { class: `group ${word}` },
      make("strong", {}, each.greedy ? "greedy answer" : `${number} ${number === 1 ? "sample" : "samples"}`), ": ",
      each.extracted === null ? make("em", {}, "no final answer") : markup("span", { class: "final" }, each.extracted),
      ` ${each.undecided ? "?" : each.right ? "\u2713" : "\u2717"} ${word} `, markup("small", {}, each.reason)
    );
    const texts = each.answers.map(([name, tokens, cut, text]) => {
      const about = `${name}${tokens === null ? "" : `, ${tokens} tokens`}${cut ? ", cut at the limit" : ""}`;
      return make("details", {}, make("summary", {}, about), markup("div", { class: "answer" }, text || "The text is not there."));
    });
    return make("div", {}, head, ...texts);
  }
  function problem(benchmark, id) {
    const at = index.benchmarks.findIndex((each) => each.name === benchmark);
    const row = at < 0 ? undefined : index.benchmarks[at].problems.find((each) => each[0] === id);
    if (!row) return view.replaceChildren(make("p", { role: "alert" }, `There is no problem ${id} of ${benchmark}.`), back());
    state.benchmark = at;
    withPart(row[2], () => {
      const found = parts.get(row[2])[`${benchmark}/${id}`];
      const runs = index.runs.map((name, number) =>
        found.runs[number].length === 0 ? null
          : make("section", {}, make("h4", {}, `${name} `, badge(row[3][number])), ...found.runs[number].map(group))
      );
      const title = make("h3", { tabindex: "-1", id: "answers-problem" }, `${benchmark}, ${id}`);
      view.replaceChildren(
        back(), title, markup("div", { class: "answer" }, found.question),
        make("p", {}, "Reference: ", found.reference === null ? "none" : markup("span", { class: "final" }, found.reference),
          found.erratum === null ? null : markup("small", {}, ` (corrected; the benchmark's file has ${found.erratum})`)),
        ...runs.filter((run) => run !== null)
      );
      title.focus({ preventScroll: true });
      document.getElementById("answers").scrollIntoView();
    });
  }

  function route() {
    const [name, benchmark, id] = location.hash.slice(1).split("/").map(decodeURIComponent);
    if (name === "answers" && id !== undefined) problem(benchmark, id);
    else if (name === "answers" || !view.childNodes.length) list();
  }
  document.addEventListener("keydown", (event) => {
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (event.key === "/" && !typing && document.getElementById("answers-text")) {
      event.preventDefault();
      document.getElementById("answers-text").focus();
    } else if (event.key === "Escape" && location.hash.startsWith("#answers/")) location.hash = "#answers";
  });
  window.addEventListener("hashchange", route);
  route();
})();
