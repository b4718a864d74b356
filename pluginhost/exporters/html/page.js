"use strict";
(() => {
  const report = JSON.parse(document.getElementById("report").textContent);
  const SVG = "http://www.w3.org/2000/svg";
  const FIRST_ROWS = 25, MORE_ROWS = 500, ROW = 20, LEAST = 0.6;

  // Elements are made, never parsed: whatever a text says, it stays a text.
  function make(tag, settings = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(settings)) {
      if (name === "text") made.textContent = value;
      else if (name === "on") for (const [kind, act] of Object.entries(value)) made.addEventListener(kind, act);
      else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
    }
    made.append(...children.filter((child) => child !== null));
    return made;
  }

  function draw(tag, settings, text) {
    const made = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(settings)) made.setAttribute(name, value);
    if (text !== undefined) made.textContent = text;
    return made;
  }

  // Figures

  const digits = (value) => value < 9.995 ? value.toFixed(2) : value < 99.95 ? value.toFixed(1) : Math.round(value).toLocaleString("en");
  function scaled(value, steps, least) {
    const size = Math.abs(value), sign = value < 0 ? "-" : "";
    for (const [factor, unit] of steps) if (size >= 0.9995 * factor) return `${sign}${digits(size / factor)} ${unit}`;
    return `${sign}${least(size)}`;
  }
  const SHOWN = {
    ns: (value) => scaled(value, [[1e9, "s"], [1e6, "ms"], [1e3, "µs"]], (size) => `${Math.round(size)} ns`),
    bytes: (value) => scaled(value, [[2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]], (size) => `${Math.round(size)} B`),
    count: (value) => value.toLocaleString("en"),
    share: (value) => value > 0 && value < 0.0005 ? "<0.1 %" : `${(100 * value).toFixed(1)} %`,
    number: (value) => Number.isInteger(value) ? value.toLocaleString("en") : String(Number(value.toPrecision(3))),
  };
  function shown(value, kind) {
    if (value === null || value === undefined) return "–";
    return typeof value === "number" && SHOWN[kind] ? SHOWN[kind](value) : String(value);
  }

  // Neighbours in the order of first appearance get hues that are far apart.
  const seen = new Map();
  function hue(text) {
    if (!seen.has(text)) seen.set(text, seen.size);
    return Math.round(210 + seen.get(text) * 137.508) % 360;
  }
  const darkness = matchMedia("(prefers-color-scheme: dark)");
  let printing = false;
  const isDark = () => darkness.matches && !printing;
  const tint = (text, pale) => isDark()
    ? `hsl(${hue(text)} ${pale ? 22 : 42}% ${pale ? 26 : 34}%)`
    : `hsl(${hue(text)} ${pale ? 45 : 62}% ${pale ? 91 : 80}%)`;
  const plugin = (name) => name.split(":")[0];
  const redraws = [];
  const redraw = () => redraws.forEach((one) => one());
  darkness.addEventListener("change", redraw);
  addEventListener("beforeprint", () => { printing = true; redraw(); });
  addEventListener("afterprint", () => { printing = false; redraw(); });

  // Sections

  const page = document.getElementById("page");
  const contents = make("nav", { "aria-label": "Contents" });
  function section(id, title, controls, ...children) {
    const made = make("section", { id, "aria-labelledby": `${id}-title` },
      make("div", { class: "head" }, make("h2", { id: `${id}-title`, text: title }), ...controls), ...children);
    contents.append(make("a", { href: `#${id}`, text: title }));
    page.append(made);
    return made;
  }
  const dim = (text) => text ? make("p", { class: "dim", text }) : null;

  function opening() {
    document.title = `${report.title} - ${report.subtitle}`;
    const made = new Date(report.created_ms);
    page.append(make("header", {},
      make("h1", { text: report.title }),
      make("p", { class: "dim", text: `${report.subtitle}, ${Number.isNaN(made.getTime()) ? "" : made.toISOString().replace("T", " ").slice(0, 16)} UTC` }),
      ...report.answer.map((text, n) => make("p", { class: n ? "" : "answer", text })),
      ...report.missing.map((text) => make("p", { class: "bad", text: `Missing: ${text}` })),
      figures(report.figures),
      contents));
    if (report.findings.length) {
      section("findings", "What stands out, and what to do", [],
        make("ul", { class: "findings" }, ...report.findings.map((one) => make("li", { class: one.severe ? "severe" : "" },
          make("div", { text: one.text }),
          one.remedy ? make("div", { class: "dim", text: `→ ${one.remedy}` }) : null))));
    }
  }

  const figures = (all) => make("div", { class: "figures" }, ...all.map((one) => make("div", { class: "figure" },
    make("b", { text: (one.estimate && one.value !== null ? "~ " : "") + shown(one.value, one.kind) }),
    make("span", { text: [one.label, one.estimate ? "estimate" : "", one.note].filter(Boolean).join(", ") }))));

  function parts() {
    const whole = report.parts.reduce((sum, part) => sum + part.value, 0);
    if (!whole) return;
    const bar = make("div", { class: "parts", role: "img", "aria-label": "shares of the whole" });
    const legend = make("ul", { class: "legend" });
    const blocks = report.parts.map((part) => {
      const text = `${part.name} ${shown(part.value / whole, "share")}, ${shown(part.value, "ns")}`;
      const block = make("div", { title: text }), swatch = make("span", { class: "swatch" });
      block.style.flexGrow = part.value / whole;
      bar.append(block);
      legend.append(make("li", {}, swatch, text));
      return [block, swatch, part.name];
    });
    const paint = () => blocks.forEach(([block, swatch, name]) => {
      block.style.background = swatch.style.background = /^\d+ others$/.test(name) ? "var(--line)" : tint(name, false);
    });
    redraws.push(paint);
    paint();
    section("parts", "Where the time goes", [], bar, legend);
  }

  // Tables

  function order(rows, column, kind, down) {
    const text = kind === "text";
    return rows.slice().sort((a, b) => {
      const x = a[column], y = b[column];
      if (x === null || y === null) return (x === null) - (y === null);
      const by = text ? String(x).localeCompare(String(y), "en", { numeric: true }) : x - y;
      return down ? -by : by;
    });
  }

  function table(data) {
    let column = data.sort, down = true, limit = FIRST_ROWS, wanted = "";
    const body = make("tbody");
    const more = make("button", { type: "button", class: "more", on: { click: () => { limit += MORE_ROWS; fill(); } } });
    const heads = data.columns.map((each, n) => {
      const head = make("th", { scope: "col", class: each.kind === "text" ? "text" : "" });
      const label = (each.estimate ? "~ " : "") + each.label;
      const note = [each.note, each.estimate ? "an estimate" : ""].filter(Boolean).join("; ");
      head.append(make("button", { type: "button", title: note || null, text: label, on: { click: () => {
        down = column === n ? !down : each.kind !== "text";
        column = n;
        fill();
      } } }));
      return head;
    });
    const largest = data.columns.map((each, n) => each.kind === "ns" && n === data.sort
      ? data.rows.reduce((most, row) => Math.max(most, row[n] || 0), 0) : 0);
    const wide = data.columns.map((each, n) => each.kind === "text" && n > 0 && data.rows.some((row) => String(row[n] || "").length > 40));
    function fill() {
      heads.forEach((head, n) => {
        if (n === column) head.setAttribute("aria-sort", down ? "descending" : "ascending");
        else head.removeAttribute("aria-sort");
        const button = head.firstChild, label = (data.columns[n].estimate ? "~ " : "") + data.columns[n].label;
        button.textContent = n === column ? `${label} ${down ? "▾" : "▴"}` : label;
      });
      let rows = data.rows;
      if (wanted) rows = rows.filter((row) => row.some((cell) => typeof cell === "string" && cell.toLowerCase().includes(wanted)));
      if (column !== null) rows = order(rows, column, data.columns[column].kind, down);
      body.replaceChildren(...rows.slice(0, limit).map((row) => make("tr", {}, ...row.map((value, n) => {
        const kind = data.columns[n].kind, text = shown(value, kind);
        const cell = make("td", { text, class: (kind === "text" ? "text" : "") + (n ? "" : " first") + (wide[n] ? " wide" : ""),
          title: kind === "text" && text.length > 30 ? text : null });
        if (largest[n] && value > 0) {
          cell.classList.add("bar");
          cell.style.backgroundSize = `${100 * value / largest[n]}% 100%`;
        }
        return cell;
      }))));
      more.hidden = rows.length <= limit;
      more.textContent = `Show more of ${rows.length.toLocaleString("en")} rows`;
    }
    const search = data.rows.length > 8 ? make("input", { type: "search", placeholder: "Filter", "aria-label": `Filter ${data.title}`, on: { input: (event) => {
      wanted = event.target.value.trim().toLowerCase();
      limit = FIRST_ROWS;
      fill();
    } } }) : null;
    const made = section(data.id, data.title, [search], dim(data.note),
      make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": data.title },
        make("table", {}, make("thead", {}, make("tr", {}, ...heads)), body)), more);
    made.classList.add("long");
    fill();
  }

  // Flame graphs: an icicle, callers above, on a canvas; what is selected is also told in words.

  function flame(data, number) {
    const count = data.values.length;
    const children = Array.from({ length: count }, () => []);
    const depth = new Uint16Array(count);
    for (let i = 1; i < count; i++) {
      children[data.parents[i]].push(i);
      depth[i] = depth[data.parents[i]] + 1;
    }
    const left = new Float64Array(count), width = new Float64Array(count);
    width[0] = 1;
    for (let i = 0; i < count; i++) {
      const sum = children[i].reduce((all, child) => all + data.values[child], 0);
      const scale = width[i] / Math.max(data.values[i], sum, 1);
      children[i].sort((a, b) => data.values[b] - data.values[a]);
      let at = left[i];
      for (const child of children[i]) {
        left[child] = at;
        width[child] = data.values[child] * scale;
        at += width[child];
      }
    }
    const sampled = new Set(data.sampled);
    const name = (i) => (sampled.has(i) ? "~ " : "") + data.texts[data.names[i]];
    let focus = 0, selected = 0, pointed = -1, wanted = "", drawn = [];
    const canvas = make("canvas", { tabindex: "0", role: "application", "aria-roledescription": "flame graph",
      "aria-label": `${data.title}: arrow keys move, Enter zooms in, Escape zooms out`, "aria-describedby": `flame-${number}-said` });
    const box = make("div", { class: "flame" }, canvas);
    const said = make("p", { id: `flame-${number}-said`, "aria-live": "polite" });
    const crumbs = make("div", { class: "crumbs" }), below = make("div", { class: "below" });
    const found = make("span", { class: "dim", role: "status" });
    const reset = make("button", { type: "button", text: "Whole", on: { click: () => zoom(0) } });
    const search = make("input", { type: "search", placeholder: "Search", "aria-label": `Search in ${data.title}`, on: { input: (event) => {
      wanted = event.target.value.trim().toLowerCase();
      paint();
      tell();
    } } });
    const matches = (i) => wanted !== "" && name(i).toLowerCase().includes(wanted);

    function callers(i) {
      const path = [];
      for (let at = i; at >= 0; at = data.parents[at]) path.unshift(at);
      return path;
    }

    function paint() {
      const across = box.clientWidth || 300, dense = devicePixelRatio || 1;
      const zoomed = across / (width[focus] || 1e-12);
      drawn = [];
      const waiting = callers(focus).slice(0, -1).map((at) => [at, 0, across]);
      waiting.push([focus, 0, across]);
      let deepest = 0;
      const above = new Set(waiting.map((each) => each[0]));
      while (waiting.length) {
        const [at, x, w] = waiting.pop();
        drawn.push([at, x, depth[at] * ROW, w]);
        deepest = Math.max(deepest, depth[at]);
        if (above.has(at) && at !== focus) continue;
        for (const child of children[at]) {
          const part = width[child] * zoomed;
          if (part >= LEAST) waiting.push([child, (left[child] - left[focus]) * zoomed, part]);
        }
      }
      const height = (deepest + 1) * ROW + 1;
      canvas.style.height = `${height}px`;
      const high = Math.min(height, 16000);
      canvas.width = Math.round(across * dense);
      canvas.height = Math.round(high * dense);
      const pen = canvas.getContext("2d");
      const style = getComputedStyle(document.documentElement);
      const color = (which) => style.getPropertyValue(which).trim();
      const ink = color("--text"), accent = color("--accent"), mark = color("--mark");
      pen.scale(dense, dense);
      pen.font = "12px system-ui, 'Liberation Sans', sans-serif";
      pen.textBaseline = "middle";
      for (const [at, x, y, w] of drawn) {
        pen.globalAlpha = above.has(at) && at !== focus ? 0.55 : 1;
        pen.fillStyle = matches(at) ? mark : at === 0 ? color("--line") : tint(sampled.has(at) ? name(at) : plugin(name(at)), sampled.has(at));
        pen.fillRect(x, y, Math.max(w - 0.5, LEAST), ROW - 1);
        if (sampled.has(at) && w > 6) {
          pen.strokeStyle = ink;
          pen.globalAlpha = 0.35;
          pen.setLineDash([3, 3]);
          pen.strokeRect(x + 0.5, y + 0.5, w - 1.5, ROW - 2);
          pen.setLineDash([]);
          pen.globalAlpha = 1;
        }
        if (w > 26) {
          pen.fillStyle = ink;
          pen.save();
          pen.beginPath();
          pen.rect(x, y, w - 3, ROW);
          pen.clip();
          pen.fillText(name(at), x + 4, y + ROW / 2);
          pen.restore();
        }
        if (at === selected || at === pointed) {
          pen.globalAlpha = 1;
          pen.strokeStyle = at === selected ? accent : ink;
          pen.lineWidth = at === selected ? 2 : 1;
          pen.strokeRect(x + 1, y + 1, Math.max(w - 2.5, 1), ROW - 3);
          pen.lineWidth = 1;
        }
      }
      pen.globalAlpha = 1;
      canvas.dataset.drawn = drawn.length;
    }

    function text(i) {
      const whole = data.values[0] || 1, above = data.parents[i];
      const said = [shown(data.values[i], data.kind), `${shown(data.values[i] / whole, "share")} of all`];
      if (above > 0) said.push(`${shown(data.values[i] / (data.values[above] || 1), "share")} of its caller`);
      said.push(`${shown(data.own[i], data.kind)} of its own`);
      if (data.calls[i]) said.push(`${shown(data.calls[i], "count")} ${data.kind === "bytes" ? "allocations" : sampled.has(i) ? "samples" : "calls"}`);
      if (sampled.has(i)) said.push("sampled, an estimate");
      return `${name(i)}: ${said.join(", ")}`;
    }

    function tell() {
      said.textContent = text(selected);
      crumbs.replaceChildren(...callers(selected).map((at) => make("button", { type: "button", text: name(at),
        "aria-current": at === focus ? "true" : null, on: { click: () => zoom(at) } })));
      below.replaceChildren(...children[selected].slice(0, 12).map((at) => make("button", { type: "button",
        text: `${name(at)} ${shown(data.values[at], data.kind)}`, on: { click: () => zoom(at) } })));
      reset.disabled = focus === 0;
      canvas.dataset.selected = name(selected);
      canvas.dataset.focus = name(focus);
      if (wanted === "") { found.textContent = ""; return; }
      let hits = 0, sum = 0;
      const covered = new Uint8Array(count);
      for (let i = 0; i < count; i++) {
        covered[i] = i > 0 && covered[data.parents[i]];
        if (matches(i)) {
          hits++;
          if (!covered[i]) sum += data.values[i];
          covered[i] = 1;
        }
      }
      found.textContent = `${hits.toLocaleString("en")} found, ${shown(sum / (data.values[0] || 1), "share")} of all`;
    }

    function select(i) {
      selected = i;
      tell();
      paint();
      const y = depth[i] * ROW;
      if (y < box.scrollTop || y + ROW > box.scrollTop + box.clientHeight) box.scrollTop = Math.max(0, y - box.clientHeight / 2);
    }
    function zoom(i) {
      focus = i;
      select(i);
    }
    function at(event) {
      const around = canvas.getBoundingClientRect();
      const x = event.clientX - around.left, y = event.clientY - around.top;
      const hit = drawn.find(([, l, t, w]) => x >= l && x < l + Math.max(w, 1) && y >= t && y < t + ROW);
      return hit ? hit[0] : -1;
    }
    canvas.addEventListener("click", (event) => { const hit = at(event); if (hit >= 0) zoom(hit); });
    canvas.addEventListener("mousemove", (event) => {
      const hit = at(event);
      if (hit !== pointed) {
        pointed = hit;
        canvas.title = hit < 0 ? "" : text(hit);
        paint();
      }
    });
    canvas.addEventListener("mouseleave", () => { pointed = -1; paint(); });
    canvas.addEventListener("keydown", (event) => {
      const above = data.parents[selected];
      const beside = above >= 0 ? children[above] : [0];
      const place = beside.indexOf(selected);
      const moves = {
        ArrowDown: () => children[selected].length && select(children[selected][0]),
        ArrowUp: () => above >= 0 && select(above),
        ArrowRight: () => place + 1 < beside.length && select(beside[place + 1]),
        ArrowLeft: () => place > 0 && select(beside[place - 1]),
        Enter: () => zoom(selected),
        " ": () => zoom(selected),
        Escape: () => zoom(0),
        Home: () => select(0),
      };
      if (moves[event.key]) {
        event.preventDefault();
        moves[event.key]();
      }
    });
    section(`flame-${number}`, data.title, [found, search, reset],
      dim([data.note, `${count.toLocaleString("en")} call paths; click to zoom in${data.sampled.length ? "; ~ with a dashed border: sampled inside of a plugin, an estimate" : ""}`].filter(Boolean).join("; ")),
      box, make("div", { class: "where" }, said, crumbs, below));
    redraws.push(paint);
    new ResizeObserver(paint).observe(box);
    tell();
    paint();
  }

  // Plots

  const PLOT = { width: 460, height: 170, left: 62, right: 14, top: 12, bottom: 26 };
  function plot(label) {
    return draw("svg", { viewBox: `0 0 ${PLOT.width} ${PLOT.height}`, role: "img", "aria-label": label });
  }
  const cut = (text, most) => text.length > most ? `${text.slice(0, most - 1)}…` : text;

  function trend(data) {
    const known = data.points.filter((point) => point[1] !== null);
    if (!known.length) return null;
    const reach = known.flatMap((point) => [point[1], point[2], point[3]]).concat(data.forecast || []).filter((value) => value !== null);
    const low = Math.min(0, ...reach), high = Math.max(...reach) * 1.08 || 1;
    const steps = data.points.length - 1 + (data.forecast ? 1 : 0);
    const x = (n) => PLOT.left + (steps ? n / steps : 0.5) * (PLOT.width - PLOT.left - PLOT.right);
    const y = (value) => PLOT.height - PLOT.bottom - (value - low) / (high - low) * (PLOT.height - PLOT.top - PLOT.bottom);
    const first = known[0][1], last = known[known.length - 1][1];
    const made = plot(`${data.title}: from ${shown(first, data.kind)} to ${shown(last, data.kind)}`);
    for (const share of [0, 0.5, 1]) {
      const value = low + share * (high - low);
      made.append(draw("line", { class: "axis", x1: PLOT.left, x2: PLOT.width - PLOT.right, y1: y(value), y2: y(value) }),
        draw("text", { x: PLOT.left - 6, y: y(value) + 4, "text-anchor": "end" }, shown(value, data.kind)));
    }
    const numbered = data.points.map((point, n) => [n, ...point]);
    const banded = numbered.filter((point) => point[3] !== null && point[4] !== null);
    if (banded.length > 1) {
      const around = [...banded.map((p) => [p[0], p[4]]), ...banded.reverse().map((p) => [p[0], p[3]])];
      made.append(draw("polygon", { class: "band", points: around.map(([n, value]) => `${x(n)},${y(value)}`).join(" ") }));
    }
    let pieces = "", joined = false;
    for (const [n, , value] of numbered) {
      if (value === null) { joined = false; continue; }
      pieces += `${joined ? "L" : "M"}${x(n).toFixed(1)} ${y(value).toFixed(1)}`;
      joined = true;
    }
    made.append(draw("path", { class: "line", d: pieces }));
    const marked = new Map(data.marks);
    for (const [n, label, value] of numbered) {
      if (value === null || (numbered.length > 120 && !marked.has(n))) continue;
      const dot = draw("circle", { class: marked.has(n) ? "alarm" : "dot", cx: x(n), cy: y(value), r: marked.has(n) ? 3.6 : 2.4 });
      dot.append(draw("title", {}, `${label}: ${shown(value, data.kind)}${marked.has(n) ? `, ${marked.get(n)}` : ""}`));
      made.append(dot);
    }
    for (const [n, label] of data.marks.slice(0, 12)) {
      if (data.points.length > 10 || data.forecast || label.startsWith("x ")) {
        made.append(draw("line", { class: "changed", x1: x(n), x2: x(n), y1: PLOT.top, y2: PLOT.height - PLOT.bottom }),
          draw("text", { class: "alarmed", x: Math.min(x(n) + 4, PLOT.width - 110), y: PLOT.top + 8 }, cut(label, 26)));
      }
    }
    if (data.forecast) {
      const [expected, least, most] = data.forecast, from = numbered.filter((p) => p[2] !== null).pop();
      const line = draw("line", { class: "forecast", x1: x(from[0]), y1: y(from[2]), x2: x(steps), y2: y(expected) });
      line.append(draw("title", {}, `expected next: ${shown(expected, data.kind)}, ${shown(least, data.kind)} to ${shown(most, data.kind)}, an estimate`));
      made.append(line, draw("line", { class: "forecast", x1: x(steps), x2: x(steps), y1: y(Math.max(least, low)), y2: y(most) }));
    }
    made.append(draw("text", { x: PLOT.left, y: PLOT.height - 8 }, cut(data.points[0][0], 22)),
      draw("text", { x: PLOT.width - PLOT.right, y: PLOT.height - 8, "text-anchor": "end" },
        data.forecast ? "next (estimate)" : cut(data.points[data.points.length - 1][0], 22)));
    return make("figure", {}, make("figcaption", { text: data.title }), made, dim(data.note));
  }

  function trends() {
    const all = report.trends.map(trend).filter(Boolean);
    if (!all.length) return;
    const box = make("div", { class: "plots" }, ...all.slice(0, 12));
    const rest = all.slice(12);
    const more = rest.length ? make("button", { type: "button", class: "more", text: `Show ${rest.length} more`, on: { click: () => { box.append(...rest); more.hidden = true; } } }) : null;
    section("trends-over-time", "Trends", [], box, more);
  }

  function histogram(data) {
    const low = Math.log10(Math.max(data.points[0][0], 1)), end = Math.log10(Math.max(data.points[data.points.length - 1][0], 1));
    const margin = Math.max((end - low) * 0.04, 0.02), from = low - margin, to = end + margin, bins = 48;
    const counts = new Array(bins).fill(0);
    const slot = (value) => Math.min(bins - 1, Math.max(0, Math.floor((Math.log10(Math.max(value, 1)) - from) / (to - from) * bins)));
    for (const [value, times] of data.points) counts[slot(value)] += times;
    const most = Math.max(...counts), all = counts.reduce((sum, one) => sum + one, 0);
    const made = plot(`${data.name}: ${data.quantiles.map(([what, value]) => `${what} ${shown(value, "ns")}`).join(", ")}`);
    const x = (value) => PLOT.left + (Math.log10(Math.max(value, 1)) - from) / (to - from) * (PLOT.width - PLOT.left - PLOT.right);
    const across = (PLOT.width - PLOT.left - PLOT.right) / bins, tall = PLOT.height - PLOT.top - PLOT.bottom;
    counts.forEach((times, n) => {
      if (!times) return;
      const high = Math.max(times / most * tall, 1);
      const bar = draw("rect", { class: "column", x: PLOT.left + n * across, y: PLOT.height - PLOT.bottom - high, width: Math.max(across - 1, 1), height: high });
      bar.append(draw("title", {}, `${shown(10 ** (from + n / bins * (to - from)), "ns")} to ${shown(10 ** (from + (n + 1) / bins * (to - from)), "ns")}: ${shown(times, "count")}`));
      made.append(bar);
    });
    made.append(draw("line", { class: "axis", x1: PLOT.left, x2: PLOT.width - PLOT.right, y1: PLOT.height - PLOT.bottom, y2: PLOT.height - PLOT.bottom }),
      draw("text", { x: PLOT.left - 6, y: PLOT.top + 8, "text-anchor": "end" }, shown(most, "count")),
      draw("text", { x: PLOT.left, y: PLOT.height - 8 }, shown(10 ** from, "ns")),
      draw("text", { x: PLOT.width - PLOT.right, y: PLOT.height - 8, "text-anchor": "end" }, `${shown(10 ** to, "ns")} (log scale)`));
    data.quantiles.forEach(([what, value]) => {
      const line = draw("line", { class: "changed", x1: x(value), x2: x(value), y1: PLOT.top, y2: PLOT.height - PLOT.bottom });
      line.append(draw("title", {}, `${what}: ${shown(value, "ns")}`));
      made.append(line);
    });
    return make("figure", {}, make("figcaption", { text: data.name }), made,
      dim(`${shown(all, "count")} values; ${data.quantiles.map(([what, value]) => `${what} ${shown(value, "ns")}`).join(", ")} (at most 0.4 % off)`));
  }

  function histograms() {
    if (!report.histograms.length) return;
    const box = make("div", { class: "plots" });
    let wanted = "";
    const fill = () => box.replaceChildren(...report.histograms.filter((one) => one.name.toLowerCase().includes(wanted)).slice(0, 6).map(histogram));
    const search = report.histograms.length > 6 ? make("input", { type: "search", placeholder: "Filter", "aria-label": "Filter spreads", on: { input: (event) => {
      wanted = event.target.value.trim().toLowerCase();
      fill();
    } } }) : null;
    fill();
    const note = report.histograms.length > 6 ? `The 6 with most values of ${report.histograms.length.toLocaleString("en")}; filter for others.` : "";
    section("spreads", "How durations are spread", [search], dim(note), box);
  }

  function closing() {
    section("measuring", "What measuring cost", [], figures(report.measuring));
    if (report.notes.length) {
      section("notes", "Estimates and notes", [], make("ul", { class: "notes" }, ...report.notes.map((text) => make("li", { text }))));
    }
    section("facts", "Made with", [], make("dl", {}, ...report.facts.flatMap(([name, value]) => [make("dt", { text: name }), make("dd", { text: value })])));
  }

  opening();
  parts();
  report.flames.forEach(flame);
  report.tables.forEach(table);
  trends();
  histograms();
  closing();
  document.documentElement.dataset.ready = "yes";
})();
