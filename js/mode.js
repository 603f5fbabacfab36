// The mode of Memory Budget Guard as a slider. The page's own list keeps the value, so that saved workflows and prompts
// are as they were; it is shown instead of the slider where another node says the mode.
import { app } from "../../scripts/app.js";
import { addStyle, el } from "./dom.js";
import { addElement } from "./nodes.js";
import { say } from "./words.js";

export const MODES = ["auto", "performance", "quality", "compatibility"];
const HEIGHT = { least: 76, most: 76 };

addStyle(`
.slimfusion-mode { height: 100%; padding: 5px 9px; border-radius: 6px; background: var(--sf-ground); overflow: hidden; }
.slimfusion-mode .head { color: var(--sf-quiet); }
.slimfusion-mode input { display: block; width: 100%; height: 16px; margin: 2px 0; accent-color: var(--sf-ours); cursor: pointer; }
.slimfusion-mode .marks { display: flex; justify-content: space-between; gap: 4px; }
.slimfusion-mode .marks button { padding: 0; border: 0; background: none; font-size: 11px; color: var(--sf-quiet); }
.slimfusion-mode .marks button.chosen { color: var(--sf-ink); font-weight: 700; }
`);

class ModeSlider {
  constructor(node, widget) {
    this.node = node;
    this.widget = widget;
    this.range = el("input", { type: "range", min: 0, max: MODES.length - 1, step: 1, "aria-label": say("mode") });
    this.range.addEventListener("input", () => this.choose(MODES[Number(this.range.value)]));
    this.marks = MODES.map((mode) => el("button", { type: "button", "data-mode": mode, onclick: () => this.choose(mode) }, say(mode)));
    this.element = el(
      "div",
      { class: "slimfusion slimfusion-mode", title: widget.tooltip ?? widget.options?.tooltip },
      el("div", { class: "head" }, say("mode")),
      this.range,
      el("div", { class: "marks" }, ...this.marks),
    );
    const changed = widget.callback;
    widget.callback = (...values) => {
      changed?.apply(widget, values);
      this.draw();
    };
    this.draw();
  }

  choose(mode) {
    this.widget.value = mode;
    this.widget.callback?.(mode, app.canvas, this.node);
    this.node.graph?.change?.();
    this.draw();
  }

  draw() {
    const at = Math.max(0, MODES.indexOf(this.widget.value));
    this.range.value = String(at);
    this.range.setAttribute("aria-valuetext", say(MODES[at]));
    for (const [index, mark] of this.marks.entries()) mark.classList.toggle("chosen", index === at);
  }
}

const NO_ROOM = () => [0, -4]; // the page puts 4 px between widgets

// Pages of 1.32 keep a row for what is hidden.
function hide(widget, hidden) {
  widget.hidden = hidden;
  widget.options.hidden = hidden;
  if (hidden) widget.computeSize = NO_ROOM;
  else if (widget.computeSize === NO_ROOM) delete widget.computeSize;
}

// Below the node's widgets: the page keeps values by their place among them.
export function addModeSlider(node) {
  const list = node.widgets?.find((each) => each.name === "mode");
  if (!list) return;
  const slider = new ModeSlider(node, list);
  const height = { ...HEIGHT };
  const shown = addElement(node, "slimfusion_mode", slider.element, height);
  const isSaid = () => node.inputs?.some((input) => input.name === "mode" && input.link != null) ?? false;
  const show = () => {
    const said = isSaid();
    hide(list, !said);
    shown.hidden = shown.options.hidden = said;
    Object.assign(height, said ? { least: 0, most: 0 } : HEIGHT);
    slider.draw();
  };
  for (const event of ["onConfigure", "onConnectionsChange"]) {
    const before = node[event];
    node[event] = function () {
      before?.apply(this, arguments);
      show();
    };
  }
  show();
}
