// The live gauge on Memory Budget Guard: what this pack takes against its budget over time, and the whole device below.
import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { addStyle, bytes, duration, el, GIB } from "./dom.js";
import { addModeSlider } from "./mode.js";
import { addElement } from "./nodes.js";
import { say } from "./words.js";

const ROUTE = "/slimfusion/memory";
const PERIOD_MS = 300;
const MOST_POINTS = 600; // older ones are thinned by half
const HEIGHT = { least: 176, most: 320 };

addStyle(`
.slimfusion-gauge { display: flex; flex-direction: column; gap: 6px; height: 100%; padding: 7px 9px; border-radius: 6px;
  background: var(--sf-ground); overflow: hidden; font-variant-numeric: tabular-nums; }
.slimfusion-gauge .now { display: flex; justify-content: space-between; gap: 8px; white-space: nowrap; }
.slimfusion-gauge .now b { font-size: 14px; font-weight: 600; }
.slimfusion-gauge .now .peak { overflow: hidden; text-overflow: ellipsis; }
.slimfusion-gauge .now .over { color: var(--sf-bad); }
.slimfusion-gauge .now .peak, .slimfusion-gauge .key { color: var(--sf-quiet); }
.slimfusion-gauge svg { flex: 1 1 72px; height: 72px; min-height: 40px; width: 100%; display: block; overflow: visible; }
.slimfusion-gauge .area { fill: var(--sf-ours); opacity: 0.3; }
.slimfusion-gauge .curve { fill: none; stroke: var(--sf-ours); stroke-width: 2; vector-effect: non-scaling-stroke; }
.slimfusion-gauge .limit { stroke: var(--sf-warn); stroke-width: 2; stroke-dasharray: 6 4; vector-effect: non-scaling-stroke; }
.slimfusion-gauge .base { stroke: var(--sf-edge); stroke-width: 1; vector-effect: non-scaling-stroke; }
.slimfusion-gauge .device { display: flex; height: 12px; border-radius: 4px; overflow: hidden; background: rgb(127 127 127 / 22%); }
.slimfusion-gauge .device i { flex: none; }
.slimfusion-gauge .others { background: var(--sf-others); }
.slimfusion-gauge .ours { background: var(--sf-ours); }
.slimfusion-gauge .key { display: flex; flex-wrap: wrap; gap: 1px 12px; }
.slimfusion-gauge .key span::before { content: ""; display: inline-block; width: 8px; height: 8px; margin-right: 5px;
  border-radius: 2px; background: var(--mark); }
`);

const WIDE = 100; // the chart's own units; it is stretched to the widget

function shape(name, properties) {
  const holder = document.createElement("template"); // the page's parser knows the drawing's namespace
  holder.innerHTML = name === "svg" ? "<svg></svg>" : `<svg><${name}></${name}></svg>`;
  const drawing = holder.content.firstChild;
  const element = name === "svg" ? drawing : drawing.firstChild;
  for (const [key, value] of Object.entries(properties)) element.setAttribute(key, String(value));
  return element;
}

// The curve's points in the chart's units, newest at the right, and where the budget's line lies.
export function chart(points, budget) {
  const highest = Math.max(budget * 1.15, ...points.map((point) => point.ours * 1.1), 1);
  const first = points[0]?.at ?? 0;
  const span = Math.max(1, (points.at(-1)?.at ?? 0) - first);
  const y = (amount) => WIDE - (WIDE * amount) / highest;
  const places = points.map(({ at, ours }) => [(WIDE * (at - first)) / span, y(ours)]);
  return { places, limit: y(budget), span };
}

class Gauge {
  constructor(node) {
    this.node = node;
    this.points = [];
    this.peak = 0;
    this.now = el("b");
    this.highest = el("span", { class: "peak" });
    this.svg = shape("svg", { viewBox: `0 0 ${WIDE} ${WIDE}`, preserveAspectRatio: "none", role: "img" });
    this.area = shape("path", { class: "area" });
    this.curve = shape("path", { class: "curve" });
    this.limit = shape("line", { class: "limit", x1: 0, x2: WIDE });
    const base = shape("line", { class: "base", x1: 0, x2: WIDE, y1: WIDE, y2: WIDE });
    this.svg.append(base, this.area, this.curve, this.limit);
    this.device = el("div", { class: "device" }, el("i", { class: "others" }), el("i", { class: "ours" }));
    this.key = el("div", { class: "key" });
    this.element = el(
      "div",
      { class: "slimfusion slimfusion-gauge" },
      el("div", { class: "now" }, this.now, this.highest),
      this.svg,
      this.device,
      this.key,
    );
  }

  // Bytes of the budget that the node's own widget means; 0 is automatic.
  budget(state) {
    const widget = this.node.widgets?.find((each) => each.name === "budget_gib");
    return Number(widget?.value) > 0 ? Number(widget.value) * GIB : state.automatic;
  }

  begin() {
    this.points = [];
    this.peak = 0;
  }

  add(state, seconds) {
    this.peak = Math.max(this.peak, state.peak);
    this.points.push({ at: seconds, ours: state.ours });
    if (this.points.length > MOST_POINTS) this.points = this.points.filter((_, index) => index % 2 === 0);
    this.draw(state);
  }

  draw(state) {
    const budget = this.budget(state);
    const { places, limit, span } = chart(this.points, budget);
    const line = places.map(([x, y]) => `${x.toFixed(2)} ${y.toFixed(2)}`).join(" L ");
    this.curve.setAttribute("d", places.length > 1 ? `M ${line}` : "");
    this.area.setAttribute("d", places.length > 1 ? `M 0 ${WIDE} L ${line} L ${WIDE} ${WIDE} Z` : "");
    for (const end of ["y1", "y2"]) this.limit.setAttribute(end, limit);
    this.now.textContent = say("ofBudget", { used: bytes(state.ours), budget: bytes(budget) });
    this.now.classList.toggle("over", state.ours > budget);
    const peak = this.points.length > 1 ? say("peakOf", { peak: bytes(this.peak) }) : say("gaugeIdle");
    this.highest.textContent = this.points.length > 1 ? `${peak} · ${duration(span)}` : peak;
    this.drawDevice(state);
    this.svg.setAttribute("aria-label", `${this.now.textContent}, ${this.highest.textContent}`);
  }

  drawDevice({ device, total, free, ours }) {
    const others = Math.max(0, total - free - ours);
    const [first, second] = this.device.children;
    first.style.width = `${(100 * others) / total}%`;
    second.style.width = `${(100 * ours) / total}%`;
    this.device.title = `${device}: ${bytes(total)}`;
    const parts = [["others", others, "var(--sf-others)"], ["ours", ours, "var(--sf-ours)"], ["free", free, "rgb(127 127 127 / 40%)"]];
    this.key.replaceChildren(
      ...parts.map(([name, amount, mark]) => el("span", { style: `--mark: ${mark}` }, `${say(name)} ${bytes(amount)}`)),
    );
  }
}

const gauges = new Set();
let running = false;
let began = 0;
let anew = false; // whether the host is to forget the last run's peak

async function look() {
  for (const gauge of gauges) if (!gauge.node.graph) gauges.delete(gauge);
  if (!gauges.size) return;
  const answer = await api.fetchApi(anew ? `${ROUTE}?anew=1` : ROUTE);
  anew = false;
  if (!answer.ok) return;
  const state = await answer.json();
  for (const gauge of gauges) {
    if (running) gauge.add(state, (performance.now() - began) / 1000);
    else gauge.draw(state);
  }
}

async function watch() {
  while (running) {
    await look().catch(() => {}); // a host that is being stopped: the next look finds it or nobody asks any more
    await new Promise((resolve) => setTimeout(resolve, PERIOD_MS));
  }
}

api.addEventListener("execution_start", () => {
  began = performance.now();
  anew = true;
  for (const gauge of gauges) gauge.begin();
  if (running) return;
  running = true;
  watch();
});
for (const end of ["execution_success", "execution_error", "execution_interrupted"]) {
  api.addEventListener(end, async () => {
    if (!running) return;
    await look().catch(() => {});
    running = false;
  });
}

app.registerExtension({
  name: "SlimFusion.Gauge",
  nodeCreated(node) {
    if (node.comfyClass !== "SlimFusionMemoryGuard") return;
    addModeSlider(node);
    const gauge = new Gauge(node);
    addElement(node, "slimfusion_gauge", gauge.element, HEIGHT);
    const budget = node.widgets?.find((each) => each.name === "budget_gib");
    const changed = budget?.callback;
    if (budget) {
      budget.callback = function () {
        changed?.apply(this, arguments);
        if (!running) look().catch(() => {});
      };
    }
    gauges.add(gauge);
    setTimeout(() => look().catch(() => {}), 100); // the node is in the graph a moment later
  },
});
