// Click a face: the picture with its boxes on Select Faces and Swap Faces. What is clicked is written into the text
// input, which stays for those who type and for programs.
import { app } from "../../scripts/app.js";
import { addStyle, el } from "./dom.js";
import "./line.js"; // first, so that the line stands above the picture on every page
import { addElement, onOutput, sent } from "./nodes.js";
import { address } from "./panel.js";
import { say } from "./words.js";

const EMPTY = 34; // px: the hint alone
const SHOWN = 200;
const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";

addStyle(`
.slimfusion-faces { display: flex; flex-direction: column; gap: 4px; height: 100%; padding: 4px 8px; border-radius: 6px;
  background: var(--sf-ground); overflow: hidden; }
.slimfusion-faces .hint { flex: none; color: var(--sf-quiet); }
.slimfusion-faces .stage { flex: 1; min-height: 150px; container-type: size; display: grid; place-items: center; }
.slimfusion-faces .stage:empty { display: none; }
.slimfusion-faces .picture { position: relative; width: min(100cqw, calc(100cqh * var(--ratio))); aspect-ratio: var(--ratio); }
.slimfusion-faces img { display: block; width: 100%; height: 100%; border-radius: 4px; }
.slimfusion-faces .picture button { position: absolute; min-width: 16px; min-height: 16px; padding: 0; border-radius: 3px;
  border: 2px solid rgb(255 255 255 / 75%); background: rgb(0 0 0 / 8%); box-shadow: 0 0 0 1px rgb(0 0 0 / 60%); }
.slimfusion-faces .picture button b { position: absolute; left: -2px; bottom: 100%; padding: 0 5px; border-radius: 3px;
  font: 700 12px/15px Inter, system-ui, sans-serif; color: #fff; background: rgb(0 0 0 / 72%); white-space: nowrap; }
.slimfusion-faces .picture button.low b { bottom: auto; top: -2px; }
.slimfusion-faces .picture button.chosen { border-color: #4fd17f; box-shadow: 0 0 0 1px #0b3d1f; }
.slimfusion-faces .picture button.chosen b { color: #06210f; background: #4fd17f; }
.slimfusion-faces .picture button:hover { background: rgb(255 255 255 / 22%); }
`);

// The numbers in text such as "0, 2-4".
export function numbersIn(text) {
  const found = new Set();
  for (const part of text.split(/[,;]/)) {
    const range = part.trim().match(/^(\d+)(?:\s*-\s*(\d+))?$/);
    if (!range) continue;
    for (let number = Number(range[1]); number <= Number(range[2] ?? range[1]); number++) found.add(number);
  }
  return found;
}

// Which person each of the faces becomes, from text such as "0:A, 1-2:B"; an empty text makes all the first.
// faces: their numbers.
export function peopleIn(text, faces) {
  const people = new Map();
  if (!text.trim()) for (const number of faces) people.set(number, "A");
  for (const part of text.split(/[,;]/)) {
    const [numbers, name] = part.split(":");
    if (name?.trim()) for (const number of numbersIn(numbers)) people.set(number, name.trim());
  }
  return people;
}

// After a click: a face is chosen or left out; from "all" the first click chooses that face alone.
export function numbersAfter(text, clicked) {
  const numbers = numbersIn(text);
  if (!numbers.delete(clicked)) numbers.add(clicked);
  return [...numbers].sort((a, b) => a - b).join(", ");
}

// After a click: the face becomes the next person, then nobody, then the first again. Somebody stays: an empty text
// means everybody.
export function peopleAfter(text, clicked, faces, letters) {
  const people = peopleIn(text, faces);
  const turn = [...letters, undefined];
  let next = turn[(turn.indexOf(people.get(clicked)) + 1) % turn.length];
  if (next === undefined && people.size === 1 && people.has(clicked)) next = letters[0];
  if (next === undefined) people.delete(clicked);
  else people.set(clicked, next);
  if (faces.every((number) => people.get(number) === "A")) return "";
  return [...people].sort(([a], [b]) => a - b).map(([number, name]) => `${number}:${name}`).join(", ");
}

// The letters of the people that are connected: identities, and source pictures, of which there may be several in one.
export function lettersOf(node) {
  const connected = (node.inputs ?? []).filter((input) => input.link != null);
  const identities = connected.filter((input) => input.type === "SLIMFUSION_IDENTITY").length;
  const pictures = connected.some((input) => input.name === "source_image");
  return [...LETTERS.slice(0, pictures ? Math.max(4, identities + 1) : Math.max(1, identities))];
}

function isUnconnected(node, name) {
  const input = node.inputs?.find((each) => each.name === name);
  return input !== undefined && input.link == null;
}

// How clicks choose: the label of a face, whether it is chosen, and the text after a click.
export const CHOOSING = {
  label: (number) => String(number),
  chosen: (text, number) => numbersIn(text).has(number),
  after: (text, number) => numbersAfter(text, number),
};
export const NAMING = {
  label: (number, text, faces) => {
    const name = peopleIn(text, faces).get(number);
    return name ? `${number} → ${name}` : String(number);
  },
  chosen: (text, number, faces) => peopleIn(text, faces).has(number),
  after: (text, number, faces, node) => peopleAfter(text, number, faces, lettersOf(node)),
};

const KINDS = {
  SlimFusionSelectFaces: { input: "numbers", hint: "clickChoose", ...CHOOSING },
  SlimFusionSwapFaces: { input: "people", hint: "clickPeople", ...NAMING },
};

// Writes what a click means into a node's text input, as if it had been typed.
export function enter(node, widget, text) {
  widget.value = text;
  widget.callback?.(text, app.canvas, node);
  node.setDirtyCanvas?.(true, true);
}

// Makes a node as high as it now has to be; what the user has made higher stays.
export function growNode(node) {
  const [, least] = node.computeSize();
  if (node.size[1] < least) node.setSize([node.size[0], least]);
  node.setDirtyCanvas?.(true, true);
}

class FacePicture {
  constructor(node, kind) {
    this.node = node;
    this.kind = kind;
    this.height = { least: EMPTY };
    this.shown = null;
    this.hint = el("div", { class: "hint" }, say("clickFaces"));
    this.stage = el("div", { class: "stage" });
    this.element = el("div", { class: "slimfusion slimfusion-faces" }, this.hint, this.stage);
    const changed = this.widget?.callback;
    if (this.widget) {
      this.widget.callback = (...values) => {
        changed?.apply(this.widget, values);
        this.draw();
      };
    }
  }

  get widget() {
    return this.node.widgets?.find((each) => each.name === this.kind.input);
  }

  get text() {
    return String(this.widget?.value ?? "");
  }

  show(shown) {
    this.shown = shown;
    this.height.least = SHOWN;
    this.draw();
    growNode(this.node);
  }

  draw() {
    if (!this.shown) return;
    const { picture, boxes } = this.shown;
    this.hint.textContent = say(this.kind.hint);
    const image = el("img", { src: address(picture), alt: "", draggable: "false" });
    const frame = el("div", { class: "picture", style: `--ratio: ${this.shown.ratio}` }, image);
    for (const [number, box] of boxes.entries()) frame.append(this.button(number, box));
    this.stage.replaceChildren(frame);
  }

  button(number, [x0, y0, x1, y1]) {
    const { text, kind } = this;
    const faces = [...this.shown.boxes.keys()];
    const part = (value) => `${(100 * Math.min(1, Math.max(0, value))).toFixed(2)}%`;
    const place = `left: ${part(x0)}; top: ${part(y0)}; width: ${part(x1 - x0)}; height: ${part(y1 - y0)}`;
    const classes = [kind.chosen(text, number, faces) && "chosen", y0 < 0.08 && "low"].filter(Boolean).join(" ");
    const label = kind.label(number, text, faces);
    const button = el("button", { type: "button", class: classes, style: place, "data-face": number }, el("b", {}, label));
    button.setAttribute("aria-pressed", String(kind.chosen(text, number, faces)));
    button.addEventListener("click", () => this.choose(kind.after(text, number, faces, this.node)));
    return button;
  }

  choose(text) {
    const { widget } = this;
    if (!widget) return;
    enter(this.node, widget, text);
    this.draw();
  }
}

app.registerExtension({
  name: "SlimFusion.Faces",
  nodeCreated(node) {
    const kind = KINDS[node.comfyClass];
    if (!kind) return;
    const faces = new FacePicture(node, kind);
    addElement(node, "slimfusion_faces", faces.element, faces.height);
    onOutput(node, (output) => {
      const shown = sent(output, "slimfusion_faces");
      if (shown) faces.show(shown);
      else if (!faces.shown && isUnconnected(node, "image")) faces.hint.textContent = say("connectImage");
    });
  },
});
