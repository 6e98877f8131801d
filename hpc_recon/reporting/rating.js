"use strict";
(() => {
  const FORMAT = 1;
  // A second press within this time belongs to the picture before.
  const DEAF_MS = 200;
  const sheet = JSON.parse(document.getElementById("sheet").textContent);
  const n = sheet.trials.length;
  const $ = (id) => document.getElementById(id);
  let rater = "", plan = [], answers = [], started = "", shownAt = 0, ready = false, busy = false;

  // ---- what the browser keeps ----
  let store = null;
  try {
    store = window.localStorage;
    store.setItem("hpc_recon.rate", "1");
    store.removeItem("hpc_recon.rate");
  } catch (error) {
    store = null;
  }
  const KEEPS_NOTHING = "This browser keeps nothing between visits: finish in one go, or pause and save what you have.";
  const tell = (text) => { $("storage").textContent = text; $("storage").hidden = !text; };
  const keyOf = (name) => `hpc_recon.rate/${sheet.design}/${name}`;
  function isAnswer(answer) {
    return Array.isArray(answer) && answer.length === 4 && answer.every(Number.isInteger) && answer[0] >= 0 && answer[0] < n && (answer[1] === 0 || answer[1] === 1);
  }
  function kept(name) {
    if (!store) return null;
    const text = store.getItem(keyOf(name));
    if (text === null) return null;
    try {
      const state = JSON.parse(text);
      const trials = new Set(state.answers.map((answer) => answer[0]));
      const order = order_of(name);
      const fits = state.answers.every((answer, i) => isAnswer(answer) && answer[0] === order[i][0] && answer[2] === order[i][1]);
      if (typeof state.started === "string" && trials.size === state.answers.length && fits) return state;
    } catch (error) {
      return { damaged: true };
    }
    return { damaged: true };
  }
  function keep() {
    if (!store) return;
    try {
      store.setItem(keyOf(rater), JSON.stringify({ started, answers }));
    } catch (error) {
      store = null;
      tell(KEEPS_NOTHING);
    }
  }

  // ---- order and sides: random, the same each time for one rater ----
  function generator(text) {
    let a = 2166136261;
    for (const char of text) a = Math.imul(a ^ char.codePointAt(0), 16777619);
    return () => {
      a = (a + 0x6d2b79f5) | 0;
      let t = Math.imul(a ^ (a >>> 15), 1 | a);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
  }
  function shuffle(items, random) {
    for (let i = items.length - 1; i > 0; i--) {
      const j = Math.floor(random() * (i + 1));
      [items[i], items[j]] = [items[j], items[i]];
    }
    return items;
  }
  // [trial, candidate on the left], half of the trials with either candidate there.
  function order_of(name) {
    const random = generator(`${sheet.design}/${name}`);
    const first = random() < 0.5 ? 0 : 1;
    const left = shuffle(sheet.trials.map((_, i) => (i + first) % 2), random);
    return shuffle(sheet.trials.map((_, i) => [i, left[i]]), random);
  }

  // ---- views ----
  function show(id) {
    for (const section of ["welcome", "trial", "done"]) $(section).hidden = section !== id;
    window.scrollTo(0, 0);
  }
  function put(image, row) {
    const [uri, pixelated] = sheet.pictures[row];
    image.className = pixelated ? "pixelated" : "";
    image.src = uri;
    return image.decode();
  }
  async function next() {
    if (answers.length === n) return finish();
    ready = false;
    const [trial, left] = plan[answers.length];
    const [shown, ...candidates] = sheet.trials[trial];
    $("progress").max = n;
    $("progress").value = answers.length;
    $("count").textContent = `${(answers.length + 1).toLocaleString("en")} of ${n.toLocaleString("en")}`;
    $("undo").disabled = answers.length === 0;
    const images = [$("shown"), $("left").querySelector("img"), $("right").querySelector("img")];
    images[1].alt = "Left candidate";
    images[2].alt = "Right candidate";
    for (const side of ["left", "right"]) $(side).classList.remove("chosen");
    await Promise.all([put(images[0], shown), put(images[1], candidates[left]), put(images[2], candidates[1 - left])]);
    shownAt = performance.now();
    ready = true;
  }
  function choose(side) {
    const now = performance.now();
    if (!ready || busy || now - shownAt < DEAF_MS) return;
    const [trial, left] = plan[answers.length];
    answers.push([trial, side === "left" ? left : 1 - left, left, Math.round(now - shownAt)]);
    keep();
    busy = true;
    $(side).classList.add("chosen");
    const calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    setTimeout(() => { busy = false; next(); }, calm ? 0 : 120);
  }
  function undo() {
    if (busy || !ready || answers.length === 0) return;
    answers.pop();
    keep();
    next();
  }
  function content() {
    const complete = answers.length === n;
    return JSON.stringify({
      format: FORMAT, kind: "hpc_recon ratings", set: sheet.set, design: sheet.design, rater,
      started, saved: new Date().toISOString(), complete, answers,
    });
  }
  function finish() {
    const complete = answers.length === n;
    ready = false;
    $("done-heading").textContent = complete ? "Thank you" : "Paused";
    $("done-text").textContent = complete
      ? "All judgements are made. Save your answers and send the file to whoever asked you."
      : store
        ? `${answers.length.toLocaleString("en")} of ${n.toLocaleString("en")} judgements made. This browser keeps them: open this page again and give the same name to go on.`
        : `${answers.length.toLocaleString("en")} of ${n.toLocaleString("en")} judgements made. ${KEEPS_NOTHING}`;
    $("on").textContent = complete ? "Take back the last" : "Go on";
    $("saved").textContent = $("copied").textContent = "";
    $("text").value = content();
    show("done");
    $("done-heading").focus();
  }
  function save() {
    const link = document.createElement("a");
    const safe = rater.replace(/[^A-Za-z0-9]+/g, "_");
    link.href = URL.createObjectURL(new Blob([content() + "\n"], { type: "application/json" }));
    link.download = `ratings-${sheet.set}-${safe || "rater"}.json`;
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    $("saved").textContent = `Saved as ${link.download}, where this browser keeps downloads.`;
  }
  async function copy() {
    $("text").select();
    try {
      await navigator.clipboard.writeText($("text").value);
      $("copied").textContent = "Copied.";
    } catch (error) {
      $("copied").textContent = "Selected: copy it with Ctrl+C.";
    }
  }

  // ---- events ----
  const typed = () => $("rater").value.trim().replace(/\s+/g, " ");
  function announce() {
    const state = typed() ? kept(typed()) : null;
    const made = state && !state.damaged ? state.answers.length : 0;
    $("go").textContent = made === n ? "Show my answers" : made ? `Go on at ${made + 1}` : "Start";
    $("rater-error").textContent = "";
    tell(!store ? KEEPS_NOTHING : state && state.damaged ? "What this browser kept for this name is damaged, so this sitting starts anew." : "");
  }
  function begin(event) {
    event.preventDefault();
    if (!typed()) {
      $("rater-error").textContent = "Please give a name, initials or a number first.";
      $("rater").focus();
      return;
    }
    rater = typed();
    const state = kept(rater);
    const usable = state && !state.damaged;
    started = usable ? state.started : new Date().toISOString();
    answers = usable ? state.answers : [];
    plan = order_of(rater);
    on();
  }
  function on() {
    if (answers.length < n) show("trial");
    if (document.activeElement) document.activeElement.blur();
    next();
  }
  document.addEventListener("keydown", (event) => {
    if ($("trial").hidden || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    const action = { ArrowLeft: "left", 1: "left", ArrowRight: "right", 2: "right", u: "undo", U: "undo" }[event.key];
    if (!action) return;
    event.preventDefault();
    if (action === "undo") undo();
    else choose(action);
  });
  window.addEventListener("beforeunload", (event) => {
    if (!store && answers.length) event.preventDefault();
  });
  $("left").addEventListener("click", () => choose("left"));
  $("right").addEventListener("click", () => choose("right"));
  $("undo").addEventListener("click", undo);
  $("pause").addEventListener("click", finish);
  $("on").addEventListener("click", () => {
    if (answers.length === n) {
      answers.pop();
      keep();
    }
    on();
  });
  $("save").addEventListener("click", save);
  $("copy").addEventListener("click", copy);
  $("rater").addEventListener("input", announce);
  $("begin").addEventListener("submit", begin);
  show("welcome");
  announce();
})();
