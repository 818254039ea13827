// The page's program: adds up the rows that SQL made, by the filters, and draws them. Names of models, tenants and
// providers are text from elsewhere: they only ever become text nodes, option labels or values of a chart's data.
const packed = JSON.parse(document.getElementById("data").textContent);
const run = packed.run;
const DAY_MS = 86400000;

/** The rows of one query, as objects. */
function rows(name) {
  const columns = Object.entries(packed[name]).map(([column, values]) => [
    column,
    values.words ? values.at.map((place) => (place === null ? null : values.words[place])) : values,
  ]);
  const length = columns.length ? columns[0][1].length : 0;
  return Array.from({ length }, (_, index) => Object.fromEntries(columns.map(([column, values]) => [column, values[index]])));
}

const data = Object.fromEntries(Object.keys(packed).filter((name) => name !== "run").map((name) => [name, rows(name)]));
const teams = new Map(data.teams.map((row) => [row.tenant, [row.team, row.cost_center].filter(Boolean).join(", ")]));
const first = run.first_date;
const last = run.as_of_date;
let filters = {};

// Words ---------------------------------------------------------------------------------------------------------------

const CATEGORIES = { Committed: "reserved", Standard: "on demand", Dynamic: "spot" };
const EFFECTS = {
  price: ["Price", "GPU-hours of the same kind cost more or less"],
  purchase_mix: ["Purchase mix", "moved between reserved, on demand and spot"],
  gpu_mix: ["GPU mix", "moved between GPUs, providers or regions"],
  model_mix: ["Model mix", "moved between models"],
  utilization: ["Utilization", "more or fewer of the GPU-hours were idle"],
  efficiency: ["Efficiency", "a busy GPU-hour made fewer or more tokens"],
  cache: ["Cache", "fewer or more tokens came from the prefix cache"],
  request_size: ["Request size", "requests had more or fewer tokens"],
  new_stopped: ["New and stopped", "deployments that began or ended"],
};
const REASONS = {
  unknown_gpu_count: "the number of GPUs of the machine is not known",
  no_reserved_price: "the commitment has no known rate",
  no_spot_price: "there is no spot price",
  no_on_demand_price: "there is no on-demand price",
  no_usage_reported: "no usage source reported tokens",
  no_usage_of_what_is_priced: "what has a price has no reported tokens",
  no_tokens: "no tokens were served",
  hours_without_price_or_counters: "hours lack a price or counters",
  no_cost: "nothing was spent",
  low_traffic: "there was too little traffic to judge",
  no_reference: "there are no comparable days yet",
  no_commitment_offer: "no commitment is on offer",
  too_few_days: "there are too few days of demand",
  too_few_weeks: "there are too few weeks to try it on",
  no_demand: "there was no demand",
  no_rate_of_held_commitment: "a commitment already held has no known rate",
  actual_cost_incomplete: "the real cost is not wholly known",
  does_not_fit: "does not fit in memory",
  cannot_be_cut: "cannot be cut over so many GPUs",
  target_not_met: "misses the latency targets",
  not_estimated: "no estimate of its speed",
  no_price_in_force: "no price in force",
  left_states_nothing: "the first source states nothing",
  right_states_nothing: "the second source states nothing",
  neither_states_it: "neither source states it",
};
const STATES = {
  ok: "within the expected band",
  drift: "outside the expected band",
  learning: "too few comparable days yet",
  incomplete: "hours lack a price or counters; waiting for late data",
  no_tokens: "cost without tokens",
  low_traffic: "too little traffic to judge a single day",
};
const ROLES = { engine_counters: "engine counters", engine_requests: "engine records", gateway: "gateway", client: "client" };
const reason = (code) => (code ? REASONS[code] || plain(code) : "");
const plain = (code) => String(code).replaceAll("_", " ");
const tenantName = (tenant) => (tenant === null ? "all other tenants" : tenant);

/** Digits without a sign where they round to nothing: no −0.00. */
function number(value, places = 0, unit = "") {
  const digits = Math.abs(value).toLocaleString("en-US", { minimumFractionDigits: places, maximumFractionDigits: places });
  return (value < 0 && /[1-9]/.test(digits) ? "−" : "") + unit + digits;
}
const usd = (value, places = 2) => number(value, places, "$");
/** Four digits that count, at least cents: $2.479, $0.04755, $34.12. */
function rate(value) {
  const size = Math.abs(value);
  return usd(value, size === 0 || size >= 10 ? 2 : size >= 1 ? 3 : Math.min(8, 3 - Math.floor(Math.log10(size))));
}
const signed = (value, text) => (value > 0 && /[1-9]/.test(text) ? "+" : "") + text;
const change = (value) => signed(value, percent(value));
const percent = (ratio, places = 1) => number(ratio * 100, places) + "\u00a0%";
function tokens(value) {
  const [size, word] = value >= 1e9 ? [1e9, "billion"] : value >= 1e6 ? [1e6, "million"] : [1, ""];
  return number(value / size, size === 1 ? 0 : value / size >= 100 ? 1 : 2) + (word && "\u00a0" + word);
}
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const day = (text) => `${Number(text.slice(8, 10))}\u00a0${MONTHS[Number(text.slice(5, 7)) - 1]}\u00a0${text.slice(0, 4)}`;
const daysLater = (text, days) => new Date(Date.parse(text + "T00:00Z") + days * DAY_MS).toISOString().slice(0, 10);
function span(from, to) {
  const days = [];
  for (let each = from; each <= to; each = daysLater(each, 1)) days.push(each);
  return days;
}

// Sums ----------------------------------------------------------------------------------------------------------------

/** Sum of what is known; null where nothing is: absent is never zero. */
function sum(list, key) {
  let total = null;
  for (const row of list) if (row[key] !== null) total = (total ?? 0) + row[key];
  return total;
}
/** Mean of a ratio by its weight; a row without either counts nothing. */
function weighted(list, key, weight) {
  const known = list.filter((row) => row[key] !== null && row[weight] !== null);
  const total = sum(known, weight);
  return total ? known.reduce((part, row) => part + row[key] * row[weight], 0) / total : null;
}
const over = (part, whole, factor = 1) => (part === null || !whole ? null : (part / whole) * factor);
function groups(list, key) {
  const found = new Map();
  for (const row of list) {
    const name = key(row);
    if (!found.has(name)) found.set(name, []);
    found.get(name).push(row);
  }
  return found;
}

const isIn = (row) => row.usage_date >= filters.from && row.usage_date <= filters.to;
const matches = (row, ...keys) => keys.every((key) => filters[key] === null || filters[key].has(row[key]));

/** Rows of cost and tokens by day, model and GPU under the filters, for all days: sums of the tenants' where some are chosen. */
function costRows() {
  if (filters.tenant === null) return data.units.filter((row) => matches(row, "model", "gpu_model"));
  const shares = data.tenants.filter((row) => matches(row, "model", "gpu_model", "tenant"));
  return [...groups(shares, (row) => JSON.stringify([row.usage_date, row.model, row.gpu_model])).values()].map((group) => {
    const { usage_date, model, gpu_model } = group[0];
    const count = sum(group, "total_tokens");
    return { usage_date, model, gpu_model, cost_usd: sum(group, "cost_usd"), active_cost_usd: sum(group, "active_cost_usd"), idle_cost_usd: sum(group, "idle_cost_usd"),
      total_tokens: count, priced_total_tokens: count, gpu_hours: null, null_reason: count ? null : "no_tokens" };
  });
}
const unitCost = (list) => over(sum(list, "cost_usd"), sum(list, "priced_total_tokens"), 1e6);

const onlyOne = (key) => (filters[key]?.size === 1 ? [key, ...filters[key]] : null);
/**
 * The series of fct_cost_drift_daily, as its kind and name, that speaks of what the filters show; null where none does: an
 * expectation is no sum, so of several models there is none, though there is one of each.
 */
function expectedSeries() {
  if (filters.tenant !== null || (filters.model !== null && filters.gpu_model !== null)) return null;
  if (filters.model !== null) return onlyOne("model");
  return filters.gpu_model !== null ? onlyOne("gpu_model") : ["total", "total"];
}

// Elements ------------------------------------------------------------------------------------------------------------

function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) if (value !== null) element.setAttribute(name, value);
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}
function fill(id, ...children) {
  const element = document.getElementById(id);
  element.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== ""));
  return element;
}
/** A name as text of its own direction; a short one is not broken at its hyphens. */
const name = (text) => h("bdi", { class: text.length <= 20 && !text.includes(" ") ? "whole" : null }, text);
const tag = (word, text) => h("span", { class: "tag " + word }, text || plain(word));
const empty = (text) => h("p", { class: "empty" }, text);
/** A number as text, with its exact value for whoever reads the page by program. */
const exact = (value, text) => h("data", { value: String(value) }, text);
function known(value, format, why = "") {
  if (value === null || value === undefined || Number.isNaN(value)) {
    return h("span", { class: "none" }, "not known" + (why ? ": " + why : ""));
  }
  return exact(value, format(value));
}
function tile(title, value, note, tone) {
  return h("div", { class: "tile" }, h("div", { class: "name" }, title),
    h("div", { class: "value" + (value instanceof HTMLElement && value.className === "none" ? " unknown" : "") + (tone ? " " + tone : "") }, value),
    h("div", { class: "note" }, note));
}
/** Sentences that qualify numbers; a sentence that starts a list is a fact, a marked one a warning. */
function qualify(id, sentences) {
  fill(id, h("ul", {}, sentences.filter(Boolean).map(([isWarning, ...text]) => h("li", { class: isWarning ? "warn" : null }, text))));
}

/**
 * A table. Columns are [title, cell of a row, "n" for numbers or "long"]; a cell is text or an element. The first column
 * names the row.
 */
function table(caption, columns, list, total) {
  const line = (row) => h("tr", {}, columns.map(([, cell, kind], index) => {
    const value = cell(row);
    return h(index ? "td" : "th", { class: kind || (index ? "words" : null), scope: index ? null : "row" }, typeof value === "string" ? name(value) : value);
  }));
  return h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": caption }, h("table", {}, h("caption", {}, caption),
    h("thead", {}, h("tr", {}, columns.map(([title, , kind]) => h("th", { scope: "col", class: kind === "n" ? "n" : null }, title)))),
    h("tbody", {}, list.map(line)),
    total ? h("tfoot", {}, h("tr", { class: "total" }, total.map((value, index) => h(index ? "td" : "th", { scope: index ? null : "row", class: columns[index][2] || null }, value)))) : null));
}
const folded = (summary, content) => h("details", {}, h("summary", {}, summary), content);

// Charts --------------------------------------------------------------------------------------------------------------

// Colours are the page's own variables: light, dark and print need no drawing anew.
const COLOURS = Array.from({ length: 8 }, (_, index) => `var(--c${index})`);
const config = () => ({
  background: null, aria: false, font: "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif",
  view: { stroke: null },
  axis: { gridColor: "var(--grid)", domainColor: "var(--line)", tickColor: "var(--line)", labelColor: "var(--soft)", titleColor: "var(--soft)",
    labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal", labelLimit: isNarrow() ? 110 : 260, titlePadding: 8 },
  legend: { labelColor: "var(--ink)", titleColor: "var(--soft)", labelFontSize: 12, orient: "top", title: null, labelLimit: isNarrow() ? 230 : 440, symbolType: "circle",
    symbolStrokeWidth: 0, offset: 12, columnPadding: 18 },
  text: { color: "var(--ink)" },
});
/** Names of rows: on a phone, what stands behind the comma goes into a line of its own. */
const rowNames = (field, more) => ({ field, type: "nominal", sort: null, title: null,
  axis: { labelColor: "var(--ink)", domain: false, ticks: false, ...(isNarrow() ? { labelExpr: "split(datum.label, ', ')" } : {}), ...more } });
/** Days from left to right; of few days one tick each, since ticks of hours would repeat them. */
const time = () => ({ field: "usage_date", type: "temporal", scale: { type: "utc" },
  axis: { format: "%-d %b", title: null, grid: false, labelOverlap: true, tickCount: span(filters.from, filters.to).length <= 10 ? "day" : 8 } });
const DAY = { field: "usage_date", type: "temporal", timeUnit: "utcyearmonthdate", title: "Day", format: "%-d %b %Y" };
const isNarrow = () => document.documentElement.clientWidth < 640;
const waiting = new Map();
const views = new Map();
let drawing = null;
const charts = window.vegaEmbed ? Promise.resolve() : new Promise((resolve) => addEventListener("charts", resolve, { once: true }));

/** Draws soon, one chart after the other, so that the page answers in between; null leaves what `fill` put there. */
function draw(id, description, spec) {
  waiting.set(id, spec && { description, spec });
  drawing ??= drawWaiting();
}
async function drawWaiting() {
  document.documentElement.removeAttribute("data-drawn");
  await charts;
  while (waiting.size) {
    await new Promise((resolve) => setTimeout(resolve, 0));
    const [id, chart] = waiting.entries().next().value;
    waiting.delete(id);
    views.get(id)?.finalize();
    views.delete(id);
    const element = document.getElementById(id);
    if (!chart) {
      element.removeAttribute("role");
      element.removeAttribute("aria-label");
      continue;
    }
    element.replaceChildren();
    const spec = { $schema: "https://vega.github.io/schema/vega-lite/v6.json", width: "container", autosize: { type: "fit-x", contains: "padding" }, ...chart.spec };
    // `ast`: the charts' expressions are interpreted, so that the page needs no leave to make code of text.
    views.set(id, await vegaEmbed(element, spec, { actions: false, ast: true, renderer: "svg", config: config() }));
    // The description above and the table below tell what is drawn; the marks one by one tell nothing to who cannot see.
    element.querySelector("svg").setAttribute("aria-hidden", "true");
    // After the library, which calls each chart "Vega visualization".
    element.setAttribute("role", "img");
    element.setAttribute("aria-label", chart.description);
  }
  drawing = null;
  document.documentElement.dataset.drawn = "true";
  performance.mark("ledger-drawn");
}
/** A sentence instead of a chart. */
function noChart(id, text) {
  fill(id, empty(text));
  draw(id, "", null);
}

// Sections ------------------------------------------------------------------------------------------------------------

function showSelection(list) {
  const shown = list.filter(isIn);
  const days = span(filters.from, filters.to).length;
  const cost = sum(shown, "cost_usd");
  const count = sum(shown, "priced_total_tokens");
  const what = Object.keys(CHOICES).map((key, index) => [index ? ", " : "", chosen(key)]);
  fill("selection", `${day(filters.from)} to ${day(filters.to)}, ${days} day${days === 1 ? "" : "s"}, `, what, ": ",
    known(cost, (value) => usd(value)), " for ", known(count, tokens), " tokens, ", known(unitCost(shown), rate), " per million.",
    run.is_cut ? ` Days before ${day(first)} are in the tables, not on this page.` : "");
}

function showHeadline(list) {
  const today = list.filter((row) => row.usage_date === filters.to);
  const weekBefore = daysLater(filters.to, -7);
  const before = unitCost(list.filter((row) => row.usage_date === weekBefore));
  const now = unitCost(today);
  const cost = sum(today, "cost_usd");
  const why = today.length ? reason(today.find((row) => row.null_reason)?.null_reason) : "nothing ran on this day";
  const ratio = now !== null && before ? now / before - 1 : null;
  const series = expectedSeries();
  const drift = series && data.drift.find((row) => row.usage_date === filters.to && row.series_kind === series[0] && row.series === series[1]);
  const idle = sum(today, "idle_cost_usd");
  const idleShare = over(idle, (idle ?? 0) + (sum(today, "active_cost_usd") ?? 0));
  const band = drift && drift.lower_usd_per_unit !== null ? `${rate(drift.lower_usd_per_unit)} to ${rate(drift.upper_usd_per_unit)}` : null;
  fill("tiles",
    tile(`Per million tokens on ${day(filters.to)}`, known(now, rate, why),
      ratio === null ? `Not known against a week before: ${before === null ? "no cost per token on " + day(weekBefore) : why}.`
        : Math.abs(ratio) < 0.0005 ? ["unchanged", ` against ${rate(before)} a week before`]
        : [h("strong", { class: Math.abs(ratio) < 0.005 ? null : ratio > 0 ? "bad" : "good" }, exact(ratio, `${ratio > 0 ? "▲" : "▼"} ${change(ratio)}`)), ` against ${rate(before)} a week before`]),
    tile("Expected band", band ?? h("span", { class: "none" }, series ? "not known" : "none"),
      drift ? [tag(drift.state, STATES[drift.state] || plain(drift.state)), drift.expected_usd_per_unit === null ? "" : ` ${rate(drift.expected_usd_per_unit)} expected`]
        : series ? "No day to judge." : "An expectation is made of the whole, of one model or of one GPU, not of this selection."),
    tile("Cost of the day", known(cost, (value) => usd(value), why), [known(sum(today, "total_tokens"), tokens), " tokens"]),
    tile("Of it idle", known(idleShare, percent, "no usage source"), idle === null ? "" : [exact(idle, usd(idle)), " while no token moved"]));
  const unpriced = today.filter((row) => row.priced_gpu_hours_ratio !== null && row.priced_gpu_hours_ratio !== undefined && row.priced_gpu_hours_ratio < 1);
  const stale = data.freshness.filter((row) => row.status !== "fresh");
  const coverage = weighted(today, "usage_coverage_ratio", "gpu_hours");
  const lost = sum(data.unmapped, "total_tokens");
  qualify("costs-quality", [
    [false, "Fully loaded: idle time is in the cost, unused commitments are under ", h("a", { href: "#mix" }, "Purchase mix"), "."],
    filters.tenant === null && today.length && (coverage === null ? [true, "How much of the GPU-hours a usage source saw is not known."]
      : [coverage < 0.95, "A usage source saw ", exact(coverage, percent(coverage)), " of the GPU-hours. ", unpriced.length ? "" : "All of them have a price."]),
    unpriced.length > 0 && [true, `${percent(1 - weighted(today, "priced_gpu_hours_ratio", "gpu_hours"))} of the GPU-hours have no price; they and their tokens are not in the cost per million.`],
    ...today.filter((row) => row.null_reason).map((row) => [true, name(row.model), " on ", name(row.gpu_model), ": not known, because " + reason(row.null_reason) + "."]),
    stale.length > 0 && [true, `${stale.length} of ${data.freshness.length} sources ${stale.length === 1 ? "is" : "are"} stale, and the last good values are used: `,
      h("a", { href: "#quality" }, "data quality"), "."],
    lost > 0 && [true, exact(lost, tokens(lost)), " tokens belong to no deployment and have no cost: ", h("a", { href: "#quality" }, "data quality"), "."],
  ]);
}

function showExpected(list) {
  const series = expectedSeries();
  const costs = groups(list.filter(isIn), (row) => row.usage_date);
  if (![...costs.values()].some((group) => unitCost(group) !== null)) {
    noChart("expected", "No day of this selection has both a cost and tokens, so there is no cost per token to draw.");
    return;
  }
  const drift = series ? new Map(data.drift.filter((row) => row.series_kind === series[0] && row.series === series[1]).map((row) => [row.usage_date, row])) : new Map();
  const points = span(filters.from, filters.to).map((date) => {
    const judged = drift.get(date);
    const isJudged = judged && judged.state !== "learning";
    return { usage_date: date, cost: costs.has(date) ? unitCost(costs.get(date)) : null, expected: judged?.expected_usd_per_unit ?? null,
      // The band of a series that is still learning is so wide that it says nothing.
      lower: isJudged ? judged.lower_usd_per_unit : null, upper: isJudged ? judged.upper_usd_per_unit : null,
      state: judged?.state ? STATES[judged.state] : "no expectation", is_drift: judged?.state === "drift" };
  });
  const tooltip = [DAY, { field: "cost", title: "USD per million tokens", format: ",.4f" }, { field: "expected", title: "Expected", format: ",.4f" },
    { field: "lower", title: "Band from", format: ",.4f" }, { field: "upper", title: "Band to", format: ",.4f" }, { field: "state", title: "State" }];
  const hasBand = points.some((point) => point.lower !== null);
  const y = { type: "quantitative", title: "USD per million tokens", scale: { zero: true } };
  const hasDrift = points.some((point) => point.is_drift && point.cost !== null);
  const legend = { Actual: "var(--ink)", ...(hasBand ? { Expected: "var(--accent)", "Expected band": "var(--band)" } : {}), ...(hasDrift ? { "Outside the band": "var(--bad)" } : {}) };
  const colour = { type: "nominal", scale: { domain: Object.keys(legend), range: Object.values(legend) }, legend: { columns: isNarrow() ? 2 : 4 } };
  draw("expected", `Line chart of cost per million tokens for each day${hasBand ? ", with the expected band" : ""}. The table below has the same numbers by model and GPU.`, {
    height: 240, data: { values: points }, encoding: { x: time() },
    layer: [
      ...(hasBand ? [
        { transform: [{ filter: "datum.lower !== null" }, { calculate: "'Expected band'", as: "line" }], mark: { type: "area", opacity: 1, interpolate: "step" },
          encoding: { y: { ...y, field: "lower" }, y2: { field: "upper" }, color: { ...colour, field: "line" } } },
        { transform: [{ filter: "datum.expected !== null" }, { calculate: "'Expected'", as: "line" }], mark: { type: "line", strokeDash: [4, 3], strokeWidth: 1.5, interpolate: "step" },
          encoding: { y: { ...y, field: "expected" }, color: { ...colour, field: "line" } } },
      ] : []),
      { transform: [{ calculate: "'Actual'", as: "line" }], mark: { type: "line", strokeWidth: 2.2, point: points.length <= 45 ? { size: 18 } : false }, encoding: { y: { ...y, field: "cost" }, color: { ...colour, field: "line" } } },
      ...(hasDrift ? [{ mark: { type: "point", filled: true, size: 60, opacity: 1 }, transform: [{ filter: "datum.is_drift && datum.cost !== null" }, { calculate: "'Outside the band'", as: "line" }],
        encoding: { y: { ...y, field: "cost" }, color: { ...colour, field: "line" } } }] : []),
      { mark: { type: "rule", opacity: 0.001, strokeWidth: 8, color: "var(--soft)", tooltip: true }, encoding: { tooltip } },
    ],
  });
}

function showLines(list) {
  const by = document.getElementById("lines-by").value;
  const shown = list.filter(isIn);
  const label = (row) => (by === "both" ? `${row.gpu_model}, ${row.model}` : row[by]);
  const ranked = [...groups(shown, label)].map(([title, group]) => [title, sum(group, "cost_usd") ?? 0]).sort((a, b) => b[1] - a[1]);
  const named = new Set(ranked.slice(0, ranked.length > COLOURS.length ? COLOURS.length - 1 : COLOURS.length).map(([title]) => title));
  const rest = "all others";
  const points = [];
  for (const [title, group] of groups(shown, (row) => (named.has(label(row)) ? label(row) : rest))) {
    const byDay = groups(group, (row) => row.usage_date);
    for (const date of span(filters.from, filters.to)) {
      points.push({ usage_date: date, series: title, cost: byDay.has(date) ? unitCost(byDay.get(date)) : null });
    }
  }
  if (!points.some((point) => point.cost !== null)) {
    noChart("lines", "No model of this selection has both a cost and tokens on these days.");
    return;
  }
  const domain = [...named, ...(ranked.length > named.size ? [rest] : [])];
  draw("lines", `Line chart of cost per million tokens for each day by ${by === "both" ? "GPU type and model" : by === "model" ? "model" : "GPU type"}. The table below has the same numbers.`, {
    height: 260, data: { values: points },
    mark: { type: "line", strokeWidth: 2.2, point: points.length < 200 ? { size: 18 } : false },
    encoding: {
      x: time(), y: { field: "cost", type: "quantitative", title: "USD per million tokens", scale: { zero: true } },
      color: { field: "series", type: "nominal", scale: { domain, range: COLOURS }, legend: { columns: isNarrow() ? 1 : 2, symbolType: "stroke", symbolStrokeWidth: 3, symbolSize: 200 } },
      tooltip: [DAY, { field: "series", title: "What" }, { field: "cost", title: "USD per million tokens", format: ",.4f" }],
    },
  });
}

function showUnitsTable(list) {
  const shown = list.filter(isIn);
  if (!shown.length) {
    fill("units-table", empty(data.units.length ? "Nothing ran in this selection." : "No deployment has a cost yet: fct_unit_costs_daily is empty. The fleet and its usage sources come from ledger.yaml."));
    return;
  }
  const lines = [...groups(shown, (row) => JSON.stringify([row.gpu_model, row.model])).values()].map((group) => {
    const today = group.filter((row) => row.usage_date === filters.to);
    return { model: group[0].model, gpu: group[0].gpu_model, cost: sum(group, "cost_usd"), count: sum(group, "priced_total_tokens"), unit: unitCost(group),
      today: unitCost(today), hours: sum(group, "gpu_hours"), idle: over(sum(group, "idle_cost_usd"), (sum(group, "idle_cost_usd") ?? 0) + (sum(group, "active_cost_usd") ?? 0)),
      coverage: weighted(group, "usage_coverage_ratio", "gpu_hours"), why: reason(group.find((row) => row.null_reason)?.null_reason) };
  }).sort((a, b) => (b.cost ?? -1) - (a.cost ?? -1));
  const cost = sum(shown, "cost_usd");
  const isTenant = filters.tenant !== null;
  fill("units-table", table(`Cost by GPU type and model, ${day(filters.from)} to ${day(filters.to)}`, [
    ["GPU", (row) => row.gpu],
    ["Model", (row) => row.model],
    ...(isTenant ? [] : [["GPU-hours", (row) => known(row.hours, (value) => number(value, 0)), "n"]]),
    ["Cost, USD", (row) => known(row.cost, (value) => number(value, 2), row.why), "n"],
    ["Share", (row) => known(over(row.cost, cost), percent), "n"],
    ["Million tokens", (row) => known(row.count, (value) => number(value / 1e6, 1), row.why), "n"],
    ["USD per million", (row) => known(row.unit, rate, row.why), "n"],
    [`on ${day(filters.to)}`, (row) => known(row.today, rate), "n"],
    ["Idle", (row) => known(row.idle, percent), "n"],
    ...(isTenant ? [] : [["Seen by usage sources", (row) => known(row.coverage, percent), "n"]]),
  ], lines, ["Together", "", ...(isTenant ? [] : [known(sum(shown, "gpu_hours"), (value) => number(value, 0))]), known(cost, (value) => number(value, 2)), "",
    known(sum(shown, "priced_total_tokens"), (value) => number(value / 1e6, 1)), known(unitCost(shown), rate),
    known(unitCost(shown.filter((row) => row.usage_date === filters.to)), rate),
    known(over(sum(shown, "idle_cost_usd"), (sum(shown, "idle_cost_usd") ?? 0) + (sum(shown, "active_cost_usd") ?? 0)), percent),
    ...(isTenant ? [] : [known(weighted(shown, "usage_coverage_ratio", "gpu_hours"), percent)])]));
}

const doesNotApply = (words) => [false, `The ${words} filter${words.includes(" and ") ? "s do" : " does"} not apply here.`];
function unusedFilters(...keys) {
  const set = keys.filter((key) => filters[key] !== null).map((key) => CHOICES[key].one);
  return set.length ? doesNotApply(set.join(" and ")) : null;
}

function showMix() {
  const shown = data.mix.filter((row) => isIn(row) && matches(row, "gpu_model"));
  const cost = sum(shown, "effective_cost_usd");
  const unused = sum(shown, "unused_commitment_cost_usd");
  const hours = sum(shown, "gpu_hours");
  const unknownSavings = shown.find((row) => row.savings_usd === null);
  qualify("mix-quality", [
    unusedFilters("model", "tenant"),
    shown.some((row) => !row.is_fully_priced) && [true, "Some GPU-hours have no price and are not in the cost."],
    unknownSavings && [true, "Savings leave out rows where they are not known" + (unknownSavings.null_reason ? ", because " + reason(unknownSavings.null_reason) : "") + "."],
  ]);
  if (!shown.length) {
    fill("mix-tiles");
    fill("mix-table");
    noChart("mix-chart", data.mix.length ? "No GPU was held in this selection." : "No GPU was held on any day: fct_purchase_mix_daily is empty. The fleet comes from ledger.yaml.");
    return;
  }
  const share = (category) => over(sum(shown.filter((row) => row.pricing_category === category), "gpu_hours") ?? 0, hours);
  fill("mix-tiles",
    ...Object.entries(CATEGORIES).map(([category, word]) => tile(word[0].toUpperCase() + word.slice(1), known(share(category), percent, "no GPU-hours"), "of the GPU-hours")),
    tile("Unused commitments", known(unused, (value) => usd(value), "their rate is not known"), over(unused, (cost ?? 0) + (unused ?? 0)) === null ? "" : percent(over(unused, (cost ?? 0) + (unused ?? 0))) + " of all spending", unused > 0 ? "bad" : null),
    tile("Saved against on demand", known(sum(shown, "savings_usd"), (value) => usd(value)), "after unused commitments"));
  const parts = [["Reserved", "var(--reserved)"], ["On demand", "var(--demand)"], ["Spot", "var(--spot)"], ["Unused commitment", "var(--waste)"]];
  // The range is that of the filter, also where nothing was held at its ends.
  const bars = [filters.from, filters.to].map((date) => ({ usage_date: date, part: "Reserved", place: 0, cost: 0 }));
  for (const [date, group] of groups(shown, (row) => row.usage_date)) {
    for (const [category, word] of Object.entries(CATEGORIES)) {
      const amount = sum(group.filter((row) => row.pricing_category === category), "effective_cost_usd");
      if (amount) bars.push({ usage_date: date, part: word[0].toUpperCase() + word.slice(1), place: Object.keys(CATEGORIES).indexOf(category), cost: amount });
    }
    const waste = sum(group, "unused_commitment_cost_usd");
    if (waste) bars.push({ usage_date: date, part: "Unused commitment", place: 3, cost: waste });
  }
  if (bars.some((bar) => bar.cost)) {
    draw("mix-chart", "Stacked columns of cost for each day: reserved, on demand, spot, and unused commitments. The table below has the same numbers by provider and GPU.", {
      height: 240, data: { values: bars }, mark: { type: "bar", binSpacing: bars.length > 500 ? 0 : 1 },
      encoding: {
        x: span(filters.from, filters.to).length <= 14
          ? { field: "usage_date", type: "ordinal", timeUnit: "utcyearmonthdate", axis: { format: "%-d %b", title: null, labelAngle: 0, labelOverlap: true } }
          : { ...time(), timeUnit: "utcyearmonthdate" },
        y: { field: "cost", type: "quantitative", title: "USD per day", stack: true, axis: { format: ",.0f" } },
        color: { field: "part", type: "nominal", scale: { domain: parts.map(([part]) => part), range: parts.map(([, colour]) => colour) }, legend: { columns: isNarrow() ? 2 : 4 } },
        order: { field: "place" },
        tooltip: [DAY, { field: "part", title: "Bought" }, { field: "cost", title: "USD", format: ",.2f" }],
      },
    });
  } else noChart("mix-chart", "No GPU-hour of this selection has a price, so there is no cost to draw.");
  const wholes = groups(shown, (row) => JSON.stringify([row.provider, row.gpu_model]));
  const lines = [...groups(shown, (row) => JSON.stringify([row.provider, row.gpu_model, row.pricing_category])).values()].map((group) => ({
    ...group[0], hours: sum(group, "gpu_hours"), cost: sum(group, "effective_cost_usd"), unused: sum(group, "unused_commitment_cost_usd"), savings: sum(group, "savings_usd"),
    whole: sum(wholes.get(JSON.stringify([group[0].provider, group[0].gpu_model])), "gpu_hours"), why: reason(group.find((row) => row.null_reason)?.null_reason),
  })).sort((a, b) => (a.provider + a.gpu_model < b.provider + b.gpu_model ? -1 : a.provider + a.gpu_model > b.provider + b.gpu_model ? 1
    : Object.keys(CATEGORIES).indexOf(a.pricing_category) - Object.keys(CATEGORIES).indexOf(b.pricing_category)));
  fill("mix-table", table(`Purchase mix, ${day(filters.from)} to ${day(filters.to)}`, [
    ["Provider", (row) => row.provider],
    ["GPU", (row) => row.gpu_model],
    ["Bought", (row) => CATEGORIES[row.pricing_category] || row.pricing_category],
    ["GPU-hours", (row) => known(row.hours, (value) => number(value, 0)), "n"],
    ["Share of GPU", (row) => known(over(row.hours, row.whole), percent), "n"],
    ["Cost, USD", (row) => known(row.cost, (value) => number(value, 2), row.why), "n"],
    ["USD per GPU-hour", (row) => known(over(row.cost, row.hours), rate, row.why), "n"],
    ["Unused, USD", (row) => known(row.unused, (value) => number(value, 2), row.why), "n"],
    ["Saved, USD", (row) => known(row.savings, (value) => number(value, 2), row.why), "n"],
  ], lines, ["Together", "", "", known(hours, (value) => number(value, 0)), "", known(cost, (value) => number(value, 2)), known(over(cost, hours), rate),
    known(unused, (value) => number(value, 2)), known(sum(shown, "savings_usd"), (value) => number(value, 2))]));
}

const seriesKey = (row) => JSON.stringify([row.series_kind, row.series]);
function showDrift() {
  const choice = document.getElementById("series").value;
  const row = data.drift.find((each) => each.usage_date === filters.to && seriesKey(each) === choice);
  qualify("drift-quality", [!expectedSeries() && [false, "What moved the cost is worked out for the whole, for one model or for one GPU, not for this selection."]]);
  fill("drift-table");
  if (!row || row.impact_usd_per_day === null) {
    fill("drift-lead", `${day(filters.to)}.`);
    noChart("waterfall", !data.drift.length ? "Nothing was compared yet: fct_cost_drift_daily is empty. It fills with the first day that has cost and tokens."
      : !row ? "This series did not run on this day."
        : `There is nothing to compare this day with: ${STATES[row.state] || plain(row.state)}${row.null_reason ? " (" + reason(row.null_reason) + ")" : ""}.`);
    return;
  }
  const actual = row.cost_usd;
  const expected = actual - row.impact_usd_per_day;
  const effects = Object.entries(EFFECTS).map(([key, [title, meaning]]) => ({ key, title, meaning, value: row[key + "_effect_usd"] }))
    .filter((effect) => effect.value !== null && (Math.abs(effect.value) >= 0.005 || !["request_size", "new_stopped"].includes(effect.key)));
  fill("drift-lead", `On ${day(filters.to)} `, row.series_kind === "total" ? "the whole fleet" : name(row.series), " cost ", exact(actual, usd(actual)), ", ",
    h("strong", { class: row.impact_usd_per_day > 0 ? "bad" : "good" }, exact(row.impact_usd_per_day, usd(Math.abs(row.impact_usd_per_day)) + (row.impact_usd_per_day > 0 ? " more" : " less"))),
    ` than the same tokens at the expected unit cost (${usd(expected)}). `,
    tag(row.state, STATES[row.state] || plain(row.state)), row.since_date && row.state === "drift" ? ` since ${day(row.since_date)}.` : "");
  let level = 0;
  const steps = effects.map((effect) => {
    const step = { title: effect.title, meaning: effect.meaning, from: level, to: level + effect.value, value: effect.value, kind: effect.value > 0 ? "dearer" : "cheaper" };
    level = step.to;
    return step;
  });
  steps.push({ title: "Together", meaning: "actual less expected cost", from: 0, to: row.impact_usd_per_day, value: row.impact_usd_per_day, kind: "together" });
  for (const step of steps) {
    step.label = signed(step.value, usd(step.value));
    step.end = Math.max(step.from, step.to);
  }
  const low = Math.min(...steps.flatMap((step) => [step.from, step.to]));
  const high = Math.max(...steps.flatMap((step) => [step.from, step.to]));
  const room = high - low || 1;
  draw("waterfall", `Waterfall of what moved the cost of ${day(filters.to)}: ${steps.map((step) => `${step.title} ${step.label}`).join(", ")}.`, {
    height: steps.length * 30, data: { values: steps }, encoding: { y: rowNames("title") },
    layer: [
      { mark: { type: "bar", height: 18, cornerRadius: 2 }, encoding: {
        x: { field: "from", type: "quantitative", title: "USD per day, against expected", scale: { domain: [low - room * 0.03, high + room * (isNarrow() ? 0.45 : 0.12)], nice: false }, axis: { format: ",.0f", tickCount: isNarrow() ? 4 : 8 } }, x2: { field: "to" },
        color: { field: "kind", type: "nominal", scale: { domain: ["dearer", "cheaper", "together"], range: ["var(--up)", "var(--down)", "var(--whole)"] } },
        tooltip: [{ field: "title", title: "Effect" }, { field: "meaning", title: "Meaning" }, { field: "label", title: "USD per day" }] } },
      { mark: { type: "text", align: "left", dx: 6, fontSize: 12 }, encoding: { x: { field: "end", type: "quantitative" }, text: { field: "label" } } },
    ],
  });
  const drivers = data.drivers.filter((each) => each.usage_date === filters.to && seriesKey(each) === choice);
  fill("drift-table",
    folded("The effects as a table", table(`What moved the cost of ${day(filters.to)}; the effects sum to the change`, [
      ["Effect", (step) => step.title], ["Meaning", (step) => step.meaning, "long"], ["USD per day", (step) => exact(step.value, step.label), "n"],
    ], steps)),
    drivers.length ? table("Where it comes from: the largest parts", [
      ["Effect", (each) => (EFFECTS[each.effect] || [plain(each.effect)])[0]], ["Deployment", (each) => each.deployment], ["GPU", (each) => each.gpu_model],
      ["Bought", (each) => CATEGORIES[each.pricing_category] || each.pricing_category], ["USD per day", (each) => exact(each.effect_usd_per_day, signed(each.effect_usd_per_day, usd(each.effect_usd_per_day))), "n"],
    ], drivers) : "");
}

function showPrices() {
  const shown = data.prices.filter((row) => matches(row, "gpu_model"));
  const oldest = shown.map((row) => row.oldest_seen_date).filter(Boolean).sort()[0];
  const counts = data.counts[0] || {};
  qualify("prices-quality", [
    [false, `Offers of GPUs that we hold, bought the same way, in force at the end of ${day(last)}. The date filters do not apply here.`],
    unusedFilters("model", "tenant"),
    counts.stale_prices > 0 && [true, exact(counts.stale_prices, number(counts.stale_prices)), ` of ${number(counts.prices)} prices are stale: their source has not confirmed them lately`,
      oldest && oldest < last ? `, some since ${day(oldest)}.` : "."],
  ]);
  if (!shown.length) {
    fill("prices-table");
    noChart("price-map", data.mix.length ? `No GPU of this selection was held on ${day(last)}.` : "No GPU was held, so there is no rate of ours to compare.");
  } else {
    const points = shown.flatMap((row) => [["Market low", row.low_usd_per_gpu_hour], ["Market median", row.median_usd_per_gpu_hour], ["Our rate", row.our_usd_per_gpu_hour]]
      .filter(([, value]) => value !== null).map(([kind, value]) => ({ gpu: `${row.gpu_model}, ${CATEGORIES[row.pricing_category] || row.pricing_category}`, kind, value,
        from: kind === "Market low" ? `${row.low_provider}, ${row.low_region}` : kind === "Our rate" ? "ours" : `${row.offer_count} offers of ${row.provider_count} providers` })));
    if (points.length) {
      draw("price-map", "Our rate per GPU-hour beside the market's low and median, by GPU and way of buying. The table below has the same numbers.", {
        height: new Set(points.map((point) => point.gpu)).size * 36, data: { values: points }, encoding: { y: rowNames("gpu", { grid: true }) },
        layer: [
          { mark: { type: "rule", strokeWidth: 2, color: "var(--line)" }, encoding: { x: { field: "value", aggregate: "min", type: "quantitative" }, x2: { field: "value", aggregate: "max" } } },
          { mark: { type: "point", filled: true, opacity: 1, size: 120 }, encoding: {
            x: { field: "value", type: "quantitative", title: "USD per GPU-hour", scale: { zero: true }, axis: { tickCount: isNarrow() ? 4 : 8 } },
            color: { field: "kind", type: "nominal", scale: { domain: ["Market low", "Market median", "Our rate"], range: ["var(--spot)", "var(--whole)", "var(--up)"] } },
            shape: { field: "kind", type: "nominal", scale: { domain: ["Market low", "Market median", "Our rate"], range: ["triangle-right", "diamond", "circle"] }, legend: { symbolType: null, columns: isNarrow() ? 2 : 3 } },
            tooltip: [{ field: "gpu", title: "GPU" }, { field: "kind", title: "What" }, { field: "value", title: "USD per GPU-hour", format: ",.4f" }, { field: "from", title: "From" }] } },
        ],
      });
    } else noChart("price-map", "Neither a rate of ours nor an offer of the market is known for these GPUs.");
    fill("prices-table", table(`USD per GPU-hour on ${day(last)}`, [
      ["GPU", (row) => row.gpu_model],
      ["Bought", (row) => CATEGORIES[row.pricing_category] || row.pricing_category],
      ["Our rate", (row) => known(row.our_usd_per_gpu_hour, rate, reason(row.null_reason)), "n"],
      ["Market low", (row) => known(row.low_usd_per_gpu_hour, rate, "no offer"), "n"],
      ["Market median", (row) => known(row.median_usd_per_gpu_hour, rate, "no offer"), "n"],
      ["We pay, against the low", (row) => known(over(row.our_usd_per_gpu_hour, row.low_usd_per_gpu_hour) === null ? null : row.our_usd_per_gpu_hour / row.low_usd_per_gpu_hour - 1, change), "n"],
      ["Low from", (row) => (row.low_provider === null ? "–" : `${row.low_provider}, ${row.low_region}`)],
      ["Offers", (row) => known(row.offer_count, (value) => `${number(value)} of ${row.provider_count} provider${row.provider_count === 1 ? "" : "s"}`, "none"), "n"],
    ], shown));
  }
  const more = data.findings.length ? data.findings[0].finding_count - data.findings.length : 0;
  fill("findings", data.findings.length ? table(`Findings since ${day(first)}${more > 0 ? `; ${number(more)} more are in fct_price_anomalies` : ""}`, [
    ["Severity", (row) => tag(row.severity)],
    ["Provider", (row) => row.provider],
    ["Finding", (row) => row.details, "long"],
    ["Likely cause", (row) => row.likely_cause ?? h("span", { class: "none" }, "not known")],
    ["What was done", (row) => (row.action === "quarantined" ? "held back: the last good price stays in force" : "flagged: the price is used")],
    ["Seen", (row) => `${day(row.first_date)}${row.is_open ? ", still open" : row.last_date === row.first_date ? "" : " to " + day(row.last_date)}`],
  ], data.findings) : empty(`No price broke a rule since ${day(first)}.`));
}

function showAlternatives() {
  const plans = data.plan.filter((row) => matches(row, "gpu_model"));
  fill("plan", plans.length ? table(`Recommended mix on ${day(plans[0].plan_date)}: cost of the last ${number(plans[0].window_hours / 24)} days' demand, bought that way`, [
    ["Pool", (row) => `${row.gpu_model}, ${row.provider} ${row.region}`],
    ["Reserve", (row) => known(row.new_reserved_gpus, (value) => (value ? `${number(value)} more GPU${value === 1 ? "" : "s"}` : "no more"), reason(row.null_reason)), "n"],
    ["Held now", (row) => exact(row.held_gpus, number(row.held_gpus)), "n"],
    ["Cost, USD", (row) => known(row.cost_usd, (value) => number(value, 2), reason(row.null_reason)), "n"],
    ["Really spent, USD", (row) => known(row.actual_cost_usd, (value) => number(value, 2), reason(row.null_reason)), "n"],
    ["Against what was spent", (row) => known(row.savings_vs_actual_ratio, (value) => change(-value), reason(row.null_reason)), "n"],
    ["Against autoscaled on demand", (row) => known(row.savings_vs_autoscaled_ratio, (value) => change(-value), reason(row.null_reason)), "n"],
    ["Regret in backtest", (row) => known(row.backtest_regret_ratio, (value) => `${percent(value)} in ${row.backtest_weeks} weeks`, reason(row.null_reason)), "n"],
  ], plans) : empty(data.plan.length ? "No pool of this selection has a plan." : "No plan was made: fct_capacity_plan is empty. It needs a fleet with demand in ledger.yaml."));
  const shown = data.sizing.filter((row) => matches(row, "model"));
  if (!shown.length) {
    const gaps = data.sizing_gaps.map((row) => `${number(row.row_count)} ${reason(row.null_reason)}`).join(", ");
    fill("sizing", empty(data.sizing.length ? "No model of this selection was sized: none is under sizing.models of ledger.yaml, or nothing fits."
      : gaps ? `No combination has a cost: ${gaps}.` : "No model was sized: fct_gpu_sizing is empty. Models to size are named under sizing in ledger.yaml."));
    return;
  }
  fill("sizing",
    h("p", { class: "qualifier" }, "Estimates of engines as full as the latency targets let them be, at the model's real utilization. They compare with each other, ",
      "not with the cost above: real traffic does not fill engines. Marked rows are the best way on GPUs that run the model now."),
    [...groups(shown, (row) => JSON.stringify([row.model, row.workload])).values()].map((group) => table([group[0].model, `workload ${group[0].workload}`].join(", "), [
      ["GPU", (row) => h("span", {}, name(row.gpu_model), row.is_run_now ? h("span", {}, " ", tag("ok", "runs it now")) : "")],
      ["Engine", (row) => `${row.tensor_parallel} GPU${row.tensor_parallel === 1 ? "" : "s"}, ${row.precision}, ${row.engine}`],
      ["Bought", (row) => `${plain(row.purchase_option)}, ${row.provider} ${row.region}`],
      ["USD per GPU-hour", (row) => known(row.price_usd_per_gpu_hour, rate), "n"],
      ["First token, each further, ms", (row) => known(row.ttft_ms, (value) => `${number(value)}, ${row.tpot_ms === null ? "not known" : number(row.tpot_ms, 1)}`), "n"],
      ["Median error", (row) => known(row.tpot_median_error_ratio, (value) => "±" + percent(value, 0), plain(row.method)), "n"],
      ["USD per million", (row) => known(row.cost_usd_per_million_tokens, rate, "no traffic in four weeks"), "n"],
      ["Against GPUs in use", (row) => known(over(row.cost_usd_per_million_tokens, row.run_now_usd_per_million_tokens) === null ? null : row.cost_usd_per_million_tokens / row.run_now_usd_per_million_tokens - 1, change, "none estimated"), "n"],
    ], group)));
}

function showTenants() {
  const shown = data.tenants.filter((row) => isIn(row) && matches(row, "model", "gpu_model"));
  const listed = shown.filter((row) => matches(row, "tenant"));
  const total = sum(shown, "cost_usd");
  const cost = sum(listed, "cost_usd");
  const count = sum(listed, "total_tokens");
  const unattributed = sum(shown.filter((row) => row.tenant === "unattributed"), "cost_usd");
  const tenantCount = data.counts[0]?.tenants ?? 0;
  const namedCount = new Set(data.tenants.map((row) => row.tenant)).size;
  qualify("tenants-quality", [
    unattributed > 0 && [over(unattributed, total) > 0.05, exact(over(unattributed, total), percent(over(unattributed, total))), " of the cost is unattributed: no call tells whose tokens these were, and no tenant in ledger.yaml owns the deployment."],
    tenantCount > namedCount && [false, `The ${namedCount - 1} tenants that cost most are named, the other ${number(tenantCount - namedCount + 1)} are one row; all are in fct_tenant_costs_daily.`],
  ]);
  if (!listed.length) {
    fill("tenants-table");
    noChart("tenants-chart", data.tenants.length ? "No tenant had cost in this selection." : "No tenant is known: fct_tenant_costs_daily is empty. Tenants come from gateway logs and the section tenants of ledger.yaml.");
    return;
  }
  const lines = [...groups(listed, (row) => row.tenant).entries()].map(([tenant, group]) => ({ tenant, label: tenantName(tenant), cost: sum(group, "cost_usd"), count: sum(group, "total_tokens"),
    requests: sum(group, "request_count"), unit: over(sum(group, "cost_usd"), sum(group, "total_tokens"), 1e6), idle: sum(group, "idle_cost_usd") })).sort((a, b) => b.cost - a.cost);
  const bars = lines.filter((line) => line.tenant !== "unattributed").slice(0, 12);
  if (bars.length) {
    draw("tenants-chart", "Bars of cost by tenant, without what is unattributed. The table below has the same numbers.", {
      height: bars.length * 30, data: { values: bars }, encoding: { y: rowNames("label", { labelExpr: "datum.label" }) },
      layer: [
        { mark: { type: "bar", height: 16, cornerRadius: 2, color: "var(--c0)" }, encoding: {
          x: { field: "cost", type: "quantitative", title: "USD, idle time included", scale: { domain: [0, bars[0].cost * (isNarrow() ? 1.45 : 1.12)], nice: false }, axis: { format: ",.0f", tickCount: isNarrow() ? 4 : 8 } },
          tooltip: [{ field: "label", title: "Tenant" }, { field: "cost", title: "USD", format: ",.2f" }, { field: "unit", title: "USD per million tokens", format: ",.4f" }] } },
        { mark: { type: "text", align: "left", dx: 5, fontSize: 12 }, encoding: { x: { field: "cost", type: "quantitative" }, text: { field: "cost", format: "$,.2f" } } },
      ],
    });
  } else noChart("tenants-chart", "All of the cost is unattributed: no gateway log or engine record says whose tokens these were.");
  fill("tenants-table", table(`Cost by tenant, ${day(filters.from)} to ${day(filters.to)}`, [
    ["Tenant", (row) => row.label],
    ["Team, cost centre", (row) => teams.get(row.tenant) || "–"],
    ["Cost, USD", (row) => known(row.cost, (value) => number(value, 2)), "n"],
    ["Share", (row) => known(over(row.cost, total), percent), "n"],
    ["Of it idle, USD", (row) => known(row.idle, (value) => number(value, 2), "no usage source"), "n"],
    ["Million tokens", (row) => known(row.count, (value) => number(value / 1e6, 2), "no tokens"), "n"],
    ["Requests", (row) => known(row.requests, (value) => number(value)), "n"],
    ["USD per million", (row) => known(row.unit, rate, "no tokens"), "n"],
  ], lines, ["Together", "", known(cost, (value) => number(value, 2)), filters.tenant === null ? "" : known(over(cost, total), percent), known(sum(listed, "idle_cost_usd"), (value) => number(value, 2)),
    known(count, (value) => number(value / 1e6, 2)), known(sum(listed, "request_count"), (value) => number(value)), known(over(cost, count, 1e6), rate)]));
}

function showQuality() {
  const today = data.units.filter((row) => row.usage_date === filters.to && matches(row, "model", "gpu_model"));
  const stale = data.freshness.filter((row) => row.status !== "fresh");
  const beyond = data.reconciliation.filter((row) => row.is_within_tolerance === false);
  const counts = data.counts[0] || {};
  const ratioTile = (title, key, note) => tile(title, known(weighted(today, key, "gpu_hours"), percent, "no GPU-hours"), note);
  fill("quality-tiles",
    ratioTile("GPU-hours seen", "usage_coverage_ratio", `by a usage source, ${day(filters.to)}`),
    ratioTile("GPU-hours priced", "priced_gpu_hours_ratio", `have a price, ${day(filters.to)}`),
    tile("Stale sources", exact(stale.length, `${stale.length} of ${data.freshness.length}`), stale.length ? "the last good values are used" : "all are fresh", stale.length ? "bad" : null),
    tile("Gaps between sources", exact(beyond.length, `${beyond.length} of ${data.reconciliation.length}`), `beyond tolerance, ${day(last)}`, beyond.length ? "bad" : null));
  fill("freshness", data.freshness.length ? table("Price and usage sources of ledger.yaml", [
    ["Source", (row) => row.source],
    ["Kind", (row) => row.kind],
    ["Status", (row) => tag(row.status)],
    ["Last good, UTC", (row) => row.last_success ?? "never"],
    ["Age", (row) => known(row.age_hours, (value) => (value >= 48 ? `${number(value / 24)} days` : value >= 1 ? `${number(value)} h` : "under 1 h"), "never read"), "n"],
    ["Rows", (row) => known(row.row_count, number, "nothing read"), "n"],
    ["Rejected", (row) => known(row.rejected_row_count, number), "n"],
    ["What is wrong", (row) => row.message ?? "–", "long"],
  ], data.freshness) : empty("ledger.yaml names no price source and no usage source."));
  const gap = (row) => over(row.unexplained_difference, row.left_value);
  const gaps = data.reconciliation.map(gap).filter((value) => value !== null).map(Math.abs);
  const widest = gaps.length ? Math.max(...gaps) : null;
  fill("reconciliation", data.reconciliation.length ? [
    h("p", {}, beyond.length ? `${beyond.length} of ${data.reconciliation.length} comparisons of ${day(last)} differ by more than the tolerance.`
      : `${data.reconciliation.filter((row) => row.is_within_tolerance).length} of ${data.reconciliation.length} comparisons of ${day(last)} keep within their tolerance.`,
    widest === null ? "" : ` The largest part that nothing explains is ${percent(widest)} of what the first source says.`),
    folded("The comparisons", table(`What two sources say of ${day(last)}`, [
      ["Deployment", (row) => row.deployment],
      ["Sources", (row) => `${ROLES[row.left_role] || plain(row.left_role)} and ${ROLES[row.right_role] || plain(row.right_role)}`],
      ["Of", (row) => plain(row.measure)],
      ["First says", (row) => known(row.left_value, number, reason(row.null_reason)), "n"],
      ["Second says", (row) => known(row.right_value, number, reason(row.null_reason)), "n"],
      ["Not explained", (row) => known(row.unexplained_difference, number, reason(row.null_reason)), "n"],
      ["Share", (row) => known(gap(row), percent, reason(row.null_reason)), "n"],
      ["Tolerance", (row) => (row.is_within_tolerance === null ? "not judged" : row.is_within_tolerance ? tag("ok", gap(row) > 0.05 ? "no limit: calls may bypass the second" : "within") : tag("beyond"))],
      ["Days beyond, of 28", (row) => exact(row.days_beyond_tolerance, number(row.days_beyond_tolerance)), "n"],
    ], data.reconciliation)),
  ] : empty(`No two usage sources speak of the same deployment on ${day(last)}, so nothing can be held against each other.`));
  const money = (key) => [(row) => known(row[key], (value) => number(value, 2)), "n"];
  fill("bills", data.bills.length ? table("By month and provider, USD. Modelled cost plus the differences is what was billed", [
    ["Month", (row) => row.month],
    ["Provider", (row) => row.provider],
    ["Modelled", ...money("modelled_cost_usd")],
    ["Not yet billed", ...money("not_yet_billed_usd")],
    ["Fleet without bill", ...money("fleet_without_bill_usd")],
    ["Bill without fleet", ...money("bill_without_fleet_usd")],
    ["Rate", ...money("rate_difference_usd")],
    ["Unused commitment", ...money("unused_commitment_usd")],
    ["Credits, taxes, rounding", ...money("credits_taxes_rounding_usd")],
    ["Billed", ...money("billed_cost_usd")],
  ], data.bills) : empty("No bill was read: costs are modelled from prices and contracts. Bills are named under billing in ledger.yaml."));
  const left = [
    [counts.unmapped_price_words, "Words of price sources that have no meaning here yet", "fct_unmapped_prices"],
    [counts.unmapped_names, "Names of models or tenants that ledger.yaml does not know", "fct_unmapped_names"],
    [counts.disbelieved_counters, "Changes of counters that no GPU could have made, not counted", "fct_usage_anomalies"],
    [data.restated.length ? data.restated[0].change_count : 0, "Changes of costs published before", "fct_cost_restatements"],
  ].filter(([found]) => found > 0);
  fill("leftout",
    data.unmapped.length ? table("Tokens without a cost", [
      ["Name", (row) => row.name], ["Why", (row) => (row.reason === "no_route" ? "ledger.yaml sends it to no deployment" : "hours outside its entries in ledger.yaml")],
      ["Source", (row) => row.source_name || "–"], ["Tokens", (row) => known(row.total_tokens, number), "n"], ["Requests", (row) => known(row.request_count, number), "n"],
      ["Days", (row) => `${day(row.first_date)} to ${day(row.last_date)}`],
    ], data.unmapped) : "",
    data.restated.length ? table("Costs that were restated, the latest first", [
      ["Day", (row) => day(row.usage_date)], ["What", (row) => row.name], ["Cause", (row) => plain(row.cause)], ["Restated", (row) => day(row.restated_date)],
      ["After the month's close", (row) => (row.is_after_close ? "yes" : "no")], ["Change, USD", (row) => known(row.change_cost_usd, (value) => signed(value, number(value, 2))), "n"],
    ], data.restated) : "",
    left.length ? h("ul", {}, left.map(([found, what, where]) => h("li", {}, what, ": ", exact(found, number(found)), " (", h("code", {}, where), ")"))) : "",
    data.unmapped.length || data.restated.length || left.length ? "" : empty("Nothing: every token has its place, every name is known, and no published cost was changed."));
}

function showAlerts() {
  const more = data.alerts.length ? data.alerts[0].alert_count - data.alerts.length : 0;
  fill("alerts-list", data.alerts.length ? [
    data.alerts.map((row) => h("article", { class: "alert" },
      h("p", { class: "title" }, tag(row.severity, row.severity === "page" ? "urgent" : row.severity), " ", name(row.title)),
      h("p", { class: "none" }, `Since ${day(row.first_date)}, ${row.state}${row.acknowledged_by ? " by " : ""}`, row.acknowledged_by ? name(row.acknowledged_by) : "",
        row.impact_usd_per_day ? [", ", exact(row.impact_usd_per_day, usd(row.impact_usd_per_day)), " a day"] : "",
        row.exposed_usd_per_day ? [", ", exact(row.exposed_usd_per_day, usd(row.exposed_usd_per_day)), " a day rests on it"] : "",
        row.child_count ? `, ${number(row.child_count)} more finding${row.child_count === 1 ? "" : "s"} of the same cause` : "", "."),
      folded("Cause, proof and what to do", h("pre", { dir: "auto" }, row.text)))),
    more > 0 ? h("p", {}, `${number(more)} more are in fct_alerts.`) : "",
  ] : empty("No alert is open."));
}

// Filters -------------------------------------------------------------------------------------------------------------

const control = (id) => document.getElementById(id);
/** Values of a column, the dearest first, then those without cost of which another part speaks. */
function valuesOf(key, list, ...others) {
  const dearest = [...groups(list, (row) => row[key])].sort((a, b) => (sum(b[1], "cost_usd") ?? 0) - (sum(a[1], "cost_usd") ?? 0)).map(([value]) => value);
  return [...new Set([...dearest, ...others.flat().map((row) => row[key])])];
}
const CHOICES = {
  model: { one: "model", many: "models", values: valuesOf("model", data.units, data.sizing) },
  gpu_model: { one: "GPU", many: "GPUs", values: valuesOf("gpu_model", data.units, data.mix, data.plan) },
  tenant: { one: "tenant", many: "tenants", values: valuesOf("tenant", data.tenants) },
};
const MANY_VALUES = 8; // more than these need a search, and buttons for all and none

/** Checkboxes for the values of a column; they carry a place in a list, never the name itself. */
function makeChoice(key) {
  const { many, values } = CHOICES[key];
  const lines = values.map((value, place) => h("label", {}, h("input", { type: "checkbox", value: place }), name(tenantName(value))));
  const search = h("input", { type: "search", placeholder: "Find", "aria-label": `Find among ${many}`, autocomplete: "off" });
  const find = () => lines.forEach((line) => (line.hidden = !line.textContent.toLowerCase().includes(search.value.trim().toLowerCase())));
  search.addEventListener("input", find);
  search.addEventListener("change", (event) => event.stopPropagation());
  const buttons = [["Tick all", true], ["Tick none", false]].map(([title, isTicked]) => {
    const button = h("button", { type: "button" }, title);
    button.addEventListener("click", () => {
      for (const line of lines) if (!line.hidden) line.control.checked = isTicked;
      control("filters").dispatchEvent(new Event("change"));
    });
    return button;
  });
  control(key).addEventListener("toggle", () => {
    if (control(key).open) return;
    search.value = "";
    find();
  });
  control(key).append(h("fieldset", {}, h("legend", {}, values.length ? `Tick ${many} to show. None ticked shows all.` : `No ${many} are known.`),
    values.length > MANY_VALUES ? h("div", { class: "tools" }, search, buttons) : null, h("div", {}, lines)));
}
/** The values ticked; null, which is no filter, where all are or none is. */
function ticked(key) {
  const { values } = CHOICES[key];
  const boxes = control(key).querySelectorAll("input:checked");
  return boxes.length === 0 || boxes.length === values.length ? null : new Set([...boxes].map((box) => values[box.value]));
}
/** What is chosen, in words: a few names, what alone is left out, or how many. A choice's own box has room for one name. */
function chosen(key, isBox = false) {
  const { one, many, values } = CHOICES[key];
  const set = filters[key];
  if (set === null) return [`all ${many}`];
  const label = (value) => name(tenantName(value));
  if (set.size <= (isBox ? 1 : 3)) {
    return [isBox ? "" : `${set.size === 1 ? one : many} `, [...set].map((value, index) => [index === 0 ? "" : index === set.size - 1 ? " and " : ", ", label(value)])];
  }
  const left = values.filter((value) => !set.has(value));
  return left.length === 1 ? [`all ${isBox ? "" : `${many} `}but `, label(left[0])] : [`${set.size} of ${values.length} ${many}`];
}
for (const id of ["from", "to"]) {
  control(id).min = first;
  control(id).max = last;
}

function chooseSeries() {
  const kinds = { total: "", model: "Model ", gpu_model: "GPU ", provider: "Provider ", deployment: "Deployment " };
  const found = new Map(data.drift.map((row) => [seriesKey(row), row]));
  control("series").replaceChildren(...[...found].sort((a, b) => Object.keys(kinds).indexOf(a[1].series_kind) - Object.keys(kinds).indexOf(b[1].series_kind))
    .map(([key, row]) => h("option", { value: key }, row.series_kind === "total" ? "The whole fleet" : kinds[row.series_kind] + row.series)));
}
function readFilters() {
  const inside = (text, otherwise) => (!text ? otherwise : text < first ? first : text > last ? last : text);
  const [from, to] = [inside(control("from").value, first), inside(control("to").value, last)].sort();
  control("from").value = from;
  control("to").value = to;
  filters = { from, to, model: ticked("model"), gpu_model: ticked("gpu_model"), tenant: ticked("tenant") };
  for (const key of Object.keys(CHOICES)) control(key).querySelector(".chosen").replaceChildren(...chosen(key, true).flat(Infinity));
}
function show() {
  readFilters();
  const list = costRows();
  showSelection(list);
  showHeadline(list);
  showExpected(list);
  showLines(list);
  showUnitsTable(list);
  showMix();
  showDrift();
  showPrices();
  showAlternatives();
  showTenants();
  showQuality();
}
/** The series that a filter speaks of is what the waterfall shows, until another one is chosen. */
function followSeries() {
  const wanted = JSON.stringify(onlyOne("model") ?? onlyOne("gpu_model") ?? ["total", "total"]);
  if ([...control("series").options].some((option) => option.value === wanted)) control("series").value = wanted;
}

/** A choice closes by Escape, and by the pointer or the focus elsewhere. */
for (const kind of ["pointerdown", "focusin"]) {
  addEventListener(kind, (event) => {
    for (const choice of document.querySelectorAll(".choice[open]")) if (!choice.contains(event.target)) choice.open = false;
  });
}
control("filters").addEventListener("keydown", (event) => {
  const choice = event.target.closest(".choice[open]");
  if (event.key !== "Escape" || !choice) return;
  choice.open = false;
  choice.querySelector("summary").focus();
});

Object.keys(CHOICES).forEach(makeChoice);
chooseSeries();
control("filters").addEventListener("change", () => {
  readFilters();
  followSeries();
  show();
});
control("filters").addEventListener("reset", () => setTimeout(() => control("filters").dispatchEvent(new Event("change"))));
control("filters").addEventListener("submit", (event) => event.preventDefault());
control("series").addEventListener("change", showDrift);
control("lines-by").addEventListener("change", () => showLines(costRows()));
show();
showAlerts();
performance.mark("ledger-shown");
