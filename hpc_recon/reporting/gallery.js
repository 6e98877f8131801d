"use strict";
/* Galleries: choose rows, sort columns by a score, and look at an image closely. Without this file all images are there. */
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const section = document.getElementById("images");
  const controls = document.getElementById("choose");
  const viewer = document.getElementById("viewer");
  if (!section || !controls || !viewer) return;
  const names = JSON.parse(document.getElementById("metric-names").textContent);
  const galleries = all(".gallery", section).map((node) => {
    const bands = all(".band", node);
    const sizes = bands.map((band) => band.querySelectorAll(".row:first-child img").length);
    const rows = all(".row", bands[0]).map((_, r) => ({
      nodes: bands.map((band) => all(".row", band)[r]),
      images: bands.flatMap((band) => all("img", all(".row", band)[r])),
    }));
    return { node, sizes, rows, order: rows[0].images.map((_, i) => i) };
  });
  const scores = (image) => JSON.parse(image.dataset.scores || "{}");
  const isShown = (row) => !row.nodes[0].hidden;
  const text = (value) => value.toFixed(2).replace("-", "\u2212");

  function choose() {
    const wanted = Object.fromEntries(all("select[data-field]", controls).map((s) => [s.dataset.field, s.value]));
    for (const gallery of galleries) {
      gallery.node.hidden = Boolean(wanted.dataset) && gallery.node.dataset.dataset !== wanted.dataset;
      for (const row of gallery.rows) {
        const hide = ["subject", "roi", "method"].some((field) => {
          const own = row.nodes[0].dataset[field];
          return wanted[field] && own && own !== wanted[field];
        });
        row.nodes.forEach((node) => { node.hidden = hide; });
      }
    }
    sort();
  }

  function sort() {
    const metric = document.getElementById("sort").value;
    const button = document.getElementById("direction");
    const sign = button.dataset.direction === "up" ? 1 : -1;
    button.disabled = !metric;
    for (const gallery of galleries) {
      const indices = gallery.rows[0].images.map((_, i) => i);
      if (metric) {
        const level = indices.map((i) => {
          const found = gallery.rows.filter(isShown).map((row) => scores(row.images[i])[metric]).filter((v) => v !== undefined);
          return found.length ? found.reduce((a, b) => a + b, 0) / found.length : NaN;
        });
        indices.sort((a, b) => {
          if (Number.isNaN(level[a]) || Number.isNaN(level[b])) return Number.isNaN(level[a]) - Number.isNaN(level[b]) || a - b;
          return sign * (level[a] - level[b]) || a - b;
        });
      }
      gallery.order = indices;
      for (const row of gallery.rows) {
        let at = 0;
        row.nodes.forEach((node, band) => {
          const part = indices.slice(at, at + gallery.sizes[band]);
          at += gallery.sizes[band];
          for (const i of part) node.append(row.images[i]);
        });
      }
      tabStop(gallery);
    }
    const shown = galleries.filter((one) => !one.node.hidden);
    const n = shown.reduce((sum, one) => sum + one.order.length, 0);
    const sorted = metric ? `, sorted by ${names[metric] || metric}, ${sign < 0 ? "largest" : "smallest"} first` : "";
    document.getElementById("chosen").textContent = `${n} ${n === 1 ? "stimulus" : "stimuli"} shown${sorted}`;
  }

  /* One tab stop a gallery; arrow keys move within it. */
  function tabStop(gallery, chosen) {
    const first = chosen || gallery.rows.find(isShown)?.images[gallery.order[0]];
    for (const row of gallery.rows) for (const image of row.images) image.tabIndex = image === first ? 0 : -1;
  }

  function place(image) {
    for (const gallery of galleries) {
      const rows = gallery.rows.filter(isShown);
      for (let r = 0; r < rows.length; r += 1) {
        const i = rows[r].images.indexOf(image);
        if (i >= 0) return { gallery, rows, r, c: gallery.order.indexOf(i) };
      }
    }
    return null;
  }

  const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  function neighbour(image, key) {
    const here = place(image);
    if (!here) return image;
    const [down, right] = STEPS[key];
    const r = Math.min(Math.max(here.r + down, 0), here.rows.length - 1);
    const c = Math.min(Math.max(here.c + right, 0), here.gallery.order.length - 1);
    return here.rows[r].images[here.gallery.order[c]];
  }

  let current = null;
  function show(image) {
    current = image;
    const { gallery, rows, c, r } = place(image);
    const row = rows[r].nodes[0];
    const seen = gallery.rows[0].nodes[0].classList.contains("stimulus") ? gallery.rows[0].images[gallery.order[c]] : null;
    const big = document.getElementById("viewer-image");
    const left = document.getElementById("viewer-stimulus");
    big.className = `${row.className} ${image.className}`;
    big.src = image.src;
    big.alt = image.alt;
    left.parentElement.hidden = !seen || seen === image;
    if (seen) { left.src = seen.src; left.alt = seen.alt; left.className = `row stimulus ${seen.className}`; }
    document.getElementById("viewer-title").textContent = image.alt;
    document.getElementById("viewer-name").textContent = row.querySelector(".name").textContent.trim();
    document.getElementById("viewer-count").textContent = `${c + 1} of ${gallery.order.length}`;
    const list = document.getElementById("viewer-scores");
    list.replaceChildren(...Object.entries(scores(image)).map(([name, value]) => {
      const pair = document.createElement("div");
      const term = document.createElement("dt");
      const number = document.createElement("dd");
      term.textContent = names[name] || name;
      number.textContent = text(value);
      pair.append(term, number);
      return pair;
    }));
    const play = document.getElementById("viewer-play");
    play.hidden = !image.dataset.animation;
    play.textContent = "Play its making";
    play.setAttribute("aria-pressed", "false");
    if (!viewer.open) viewer.showModal();
  }

  function play() {
    const button = document.getElementById("viewer-play");
    const big = document.getElementById("viewer-image");
    const isOn = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(isOn));
    button.textContent = isOn ? "Show the result" : "Play its making";
    big.src = isOn ? current.dataset.animation : current.src;
    const left = document.getElementById("viewer-stimulus").parentElement;
    left.hidden = isOn || !place(current).gallery.rows[0].nodes[0].classList.contains("stimulus");
  }

  section.addEventListener("click", (event) => {
    if (event.target.matches(".row img")) show(event.target);
  });
  section.addEventListener("keydown", (event) => {
    if (!event.target.matches(".row img")) return;
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      show(event.target);
    } else if (STEPS[event.key]) {
      event.preventDefault();
      const next = neighbour(event.target, event.key);
      tabStop(place(next).gallery, next);
      next.focus();
    }
  });
  viewer.addEventListener("keydown", (event) => {
    if (!STEPS[event.key]) return;
    event.preventDefault();
    show(neighbour(current, event.key));
  });
  viewer.addEventListener("click", (event) => { if (event.target === viewer) viewer.close(); });
  viewer.addEventListener("close", () => {
    const here = place(current);
    if (here) tabStop(here.gallery, current);
    current.focus();
  });
  for (const [id, key] of [["viewer-left", "ArrowLeft"], ["viewer-right", "ArrowRight"]]) {
    document.getElementById(id).addEventListener("click", () => show(neighbour(current, key)));
  }
  document.getElementById("viewer-play").addEventListener("click", play);
  document.getElementById("viewer-close").addEventListener("click", () => viewer.close());
  document.getElementById("direction").addEventListener("click", (event) => {
    const isUp = event.currentTarget.dataset.direction !== "up";
    event.currentTarget.dataset.direction = isUp ? "up" : "down";
    event.currentTarget.textContent = isUp ? "smallest first" : "largest first";
    sort();
  });
  controls.addEventListener("change", choose);
  controls.addEventListener("submit", (event) => event.preventDefault());
  for (const gallery of galleries) for (const row of gallery.rows) for (const image of row.images) image.setAttribute("role", "button");
  controls.hidden = false;
  document.documentElement.classList.add("alive");
  choose();
})();
