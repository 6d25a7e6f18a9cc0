// Puts the plots into the page as they come into view, in the colours of the scheme, and again when the scheme changes.
// KNOWN: the colours of light ground by the names of their custom properties, and the palettes of both grounds.
(() => {
  const plots = JSON.parse(document.getElementById("plots").textContent);
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  const shown = [];
  const given = new WeakMap(); // what a property was on light ground

  function paint(model) {
    const style = getComputedStyle(document.documentElement);
    const named = (name) => style.getPropertyValue(name).trim();
    const quiet = named("--quiet"), line = named("--line");
    for (const one of model.document.all_models) {
      if (!given.has(one)) given.set(one, {});
      const light = given.get(one);
      const change = {};
      for (const property of ["line_color", "fill_color", "hatch_color", "nan_color"]) {
        if (!(property in one)) continue;
        if (!(property in light)) light[property] = one[property];
        const value = light[property];
        const colour = value !== null && typeof value === "object" ? value.value : value;
        const name = KNOWN.colours[colour];
        if (name !== undefined) change[property] = typeof value === "object" ? {value: named(name)} : named(name);
      }
      if ("palette" in one && one.tags.includes("diverging")) {
        change.palette = KNOWN.palettes[scheme.matches ? "dark" : "light"];
      }
      if ("palette" in one && one.tags.includes("areas")) {
        if (!("palette" in light)) light.palette = one.palette;
        change.palette = light.palette.map((colour) => KNOWN.colours[colour] ? named(KNOWN.colours[colour]) : colour);
      }
      for (const [property, colour] of Object.entries({
        axis_label_text_color: quiet, major_label_text_color: quiet, axis_line_color: quiet,
        major_tick_line_color: quiet, grid_line_color: line,
      })) {
        if (property in one) change[property] = colour;
      }
      if (Object.keys(change).length > 0) one.setv(change);
    }
  }

  async function put(place) {
    if (place.dataset.plot === undefined) return;
    const item = plots[place.dataset.plot];
    delete place.dataset.plot;
    place.id = `plot-${item.root_id}`;
    const views = await Bokeh.embed.embed_item(item, place.id);
    for (const view of views.roots) {
      paint(view.model);
      shown.push(view.model);
    }
  }

  const places = [...document.querySelectorAll("[data-plot]")];
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) {
        seen.unobserve(entry.target);
        put(entry.target);
      }
    }
  }, {rootMargin: "800px"});
  places.forEach((place) => seen.observe(place));
  addEventListener("beforeprint", () => places.forEach(put));
  scheme.addEventListener("change", () => shown.forEach(paint));
})();
