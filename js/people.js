// Click a person: Scan Video shows everybody in the clip. What is clicked is written into the text input of a step that
// works on the same clip; the input stays for those who type and for programs.
import { app } from "../../scripts/app.js";
import { addStyle, el } from "./dom.js";
import { CHOOSING, enter, growNode, NAMING } from "./faces.js"; // its import of the line puts that above the people
import { addElement, onOutput, sent } from "./nodes.js";
import { address } from "./panel.js";
import { say } from "./words.js";

const EMPTY = 34; // px: the hint alone
const ONE_ROW = 190;
const ROWS = 312; // two of them; more are scrolled to
const CELL = 74; // px that a person is wide, at least
const BESIDE = 28; // px of a node's width beside the people
const STEPS = {
  SlimFusionRestoreStep: { input: "tracks", ...CHOOSING },
  SlimFusionSwapStep: { input: "people", ...NAMING },
};

addStyle(`
.slimfusion-people { display: flex; flex-direction: column; gap: 5px; height: 100%; padding: 5px 8px; border-radius: 6px;
  background: var(--sf-ground); overflow: hidden; }
.slimfusion-people .hint { flex: none; color: var(--sf-quiet); }
.slimfusion-people .steps { display: flex; flex-wrap: wrap; gap: 4px; margin-top: 2px; }
.slimfusion-people .steps button { padding: 0 7px; max-width: 100%; overflow: hidden; text-overflow: ellipsis;
  white-space: nowrap; }
.slimfusion-people .steps button.chosen { border-color: var(--sf-ours); box-shadow: inset 0 0 0 1px var(--sf-ours); }
.slimfusion-people .cells { flex: 1; min-height: 120px; overflow: auto; display: grid; gap: 5px; align-content: start;
  grid-template-columns: repeat(auto-fill, minmax(${CELL}px, 1fr)); }
.slimfusion-people .cells:empty { display: none; }
.slimfusion-people .cells button { position: relative; padding: 3px; text-align: left; font-size: 11px; line-height: 14px; }
.slimfusion-people .cells i { display: block; width: 100%; max-width: 130px; margin: 0 auto 2px; aspect-ratio: 1; border-radius: 3px;
  background-color: #181818; background-repeat: no-repeat; }
.slimfusion-people .cells b { font-size: 13px; }
.slimfusion-people .cells .when { display: block; color: var(--sf-quiet); white-space: nowrap; overflow: hidden;
  text-overflow: ellipsis; }
.slimfusion-people .cells .doubt { position: absolute; top: 5px; right: 5px; width: 16px; border-radius: 8px; text-align: center;
  font-weight: 700; color: #fff; background: var(--sf-warn); }
.slimfusion-people .cells button.chosen { border-color: #3fae6a; box-shadow: inset 0 0 0 1px #3fae6a; }
.slimfusion-people .cells button.chosen b { padding: 0 5px; border-radius: 3px; color: #06210f; background: #4fd17f; }
`);

// Where a node's input comes from, through reroutes: its node, and what it is called there.
function source(node, name) {
  const place = node.inputs?.findIndex((input) => input.name === name) ?? -1;
  const link = place < 0 ? null : node.getInputLink?.(place);
  const from = link && node.getInputNode(place);
  if (from?.type === "Reroute") return source(from, from.inputs[0].name);
  return from ? { node: from, slot: link.origin_slot } : null;
}

// The steps that end in a node, first to last.
function stepsBefore(node) {
  const from = source(node, "steps")?.node;
  if (!from || !STEPS[from.comfyClass]) return from?.inputs ? stepsBefore(from) : [];
  return [...stepsBefore(from), from];
}

// The steps that know this clip's tracks by their numbers: those of every Process Video that gets the same clip.
export function stepsOf(scan) {
  const clip = source(scan, "video");
  const all = scan.graph?.nodes ?? scan.graph?._nodes ?? [];
  const processes = all.filter((node) => {
    const from = node.comfyClass === "SlimFusionProcessVideo" && source(node, "video");
    return clip && from && from.node === clip.node && from.slot === clip.slot;
  });
  return [...new Set(processes.flatMap(stepsBefore))];
}

class People {
  constructor(scan) {
    this.scan = scan;
    this.height = { least: EMPTY };
    this.shown = null;
    this.step = null;
    this.heard = new WeakSet();
    this.hint = el("div", { class: "hint" }, say("clickTracks"));
    this.cells = el("div", { class: "cells" });
    this.cells.addEventListener("wheel", (turned) => turned.stopPropagation());
    this.element = el("div", { class: "slimfusion slimfusion-people" }, this.hint, this.cells);
    // Links may have been drawn since.
    this.element.addEventListener("pointerenter", () => this.draw());
  }

  show(shown) {
    this.shown = shown;
    const beside = Math.max(1, Math.floor((this.scan.size[0] - BESIDE) / (CELL + 5)));
    this.height.least = shown.people.length > beside ? ROWS : ONE_ROW;
    this.draw();
    growNode(this.scan);
  }

  // After a run that found nobody.
  empty() {
    this.shown = null;
    this.hint.textContent = say("noFace");
    this.cells.replaceChildren();
  }

  // The step that clicks go into: the one that was chosen, else the first.
  find() {
    const steps = stepsOf(this.scan);
    if (!steps.includes(this.step)) this.step = steps[0] ?? null;
    for (const step of steps) this.hear(step);
    return steps;
  }

  widget() {
    return this.step?.widgets?.find((each) => each.name === STEPS[this.step.comfyClass].input);
  }

  // What is typed into a step is shown here too.
  hear(step) {
    const widget = step.widgets?.find((each) => each.name === STEPS[step.comfyClass].input);
    if (!widget || this.heard.has(widget)) return;
    this.heard.add(widget);
    const changed = widget.callback;
    widget.callback = (...values) => {
      changed?.apply(widget, values);
      this.draw();
    };
  }

  draw() {
    if (!this.shown) return;
    const steps = this.find();
    const buttons = steps.map((step) => {
      const chosen = step === this.step;
      const choose = () => {
        this.step = step;
        this.draw();
      };
      const pressed = { class: chosen && "chosen", "aria-pressed": String(chosen) };
      return el("button", { type: "button", ...pressed, onclick: choose }, step.title);
    });
    const hint = [el("span", {}, say(steps.length ? "trackInto" : "noStep"))];
    if (steps.length) hint.push(el("div", { class: "steps" }, ...buttons));
    this.hint.replaceChildren(...hint);
    const pictured = this.shown.people.slice(0, this.shown.columns * this.shown.rows);
    const cells = pictured.map((person, index) => this.cell(person, index));
    const more = this.shown.people.length - pictured.length;
    if (more > 0) cells.push(el("span", {}, say("trackMore", { count: more })));
    this.cells.replaceChildren(...cells);
  }

  cell({ track, begins, ends, doubts }, index) {
    const { columns, rows, picture, people } = this.shown;
    const kind = STEPS[this.step?.comfyClass];
    const [text, tracks] = [String(this.widget()?.value ?? ""), people.map((person) => person.track)];
    const chosen = kind?.chosen(text, track, tracks) ?? false;
    const part = (place, count) => (count > 1 ? (100 * place) / (count - 1) : 0);
    const at = `${part(index % columns, columns)}% ${part(Math.floor(index / columns), rows)}%`;
    const size = `background-size: ${100 * columns}% ${100 * rows}%; background-position: ${at}`;
    const style = `background-image: url("${address(picture)}"); ${size}`;
    const when = `${begins.toFixed(1)}–${ends.toFixed(1)} s`;
    const told = [`${say("trackNumber", { track })}: ${when}`, ...doubts.map((doubt) => say(doubt))].join("\n");
    const cell = el(
      "button",
      { type: "button", class: chosen && "chosen", title: told, "data-track": track, "aria-pressed": String(chosen) },
      el("i", { style }),
      el("b", {}, kind ? kind.label(track, text, tracks) : String(track)),
      el("span", { class: "when" }, when),
      doubts.length ? el("span", { class: "doubt" }, "!") : null,
    );
    cell.addEventListener("click", () => {
      this.find();
      const widget = this.widget();
      if (!widget) return;
      const { after } = STEPS[this.step.comfyClass];
      enter(this.step, widget, after(String(widget.value ?? ""), track, tracks, this.step));
      this.draw();
    });
    return cell;
  }
}

app.registerExtension({
  name: "SlimFusion.People",
  nodeCreated(node) {
    if (node.comfyClass !== "SlimFusionScanVideo") return;
    const people = new People(node);
    addElement(node, "slimfusion_people", people.element, people.height);
    onOutput(node, (output) => {
      const shown = sent(output, "slimfusion_people");
      if (shown) people.show(shown);
      else if (sent(output, "slimfusion_line")) people.empty();
    });
  },
});
