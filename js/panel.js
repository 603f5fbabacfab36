// The whole report of a run, over the page: before and after, the figures, what was given up.
import { api } from "../../scripts/api.js";
import { addStyle, bytes, copyText, duration, el } from "./dom.js";
import { inLanguage } from "./sentences.js";
import { countFaces, countFrames, say } from "./words.js";

addStyle(`
.slimfusion-panel { width: min(680px, 94vw); max-height: 90vh; padding: 0; border-radius: 10px; overflow: auto;
  border: 1px solid var(--sf-edge); background: var(--comfy-menu-bg, #353535); font-size: 13px; line-height: 19px; }
.slimfusion-panel::backdrop { background: rgb(0 0 0 / 45%); }
.slimfusion-panel header { position: sticky; top: 0; z-index: 2; display: flex; gap: 8px; align-items: center;
  padding: 10px 14px; background: inherit; border-bottom: 1px solid var(--sf-edge); }
.slimfusion-panel h2 { flex: 1; margin: 0; font-size: 15px; font-weight: 600; }
.slimfusion-panel main { padding: 14px; display: grid; gap: 14px; }
.slimfusion-panel dl { display: grid; grid-template-columns: max-content 1fr; gap: 5px 16px; margin: 0; }
.slimfusion-panel dt { color: var(--sf-quiet); }
.slimfusion-panel dd { margin: 0; overflow-wrap: anywhere; }
.slimfusion-panel .warn { color: var(--sf-warn); font-weight: 600; }
.slimfusion-panel pre { margin: 0; overflow-x: auto; font: 12px/18px monospace; user-select: text; }
.slimfusion-compare { position: relative; overflow: hidden; border-radius: 6px; background: #111; cursor: ew-resize;
  touch-action: none; }
.slimfusion-compare img { display: block; width: 100%; max-height: 52vh; object-fit: contain; user-select: none; }
.slimfusion-compare img + img { position: absolute; inset: 0; height: 100%; clip-path: inset(0 0 0 var(--at)); }
.slimfusion-compare .bar { position: absolute; inset: 0 auto 0 var(--at); width: 2px; background: #fff;
  box-shadow: 0 0 4px #000; }
.slimfusion-compare .tag { position: absolute; bottom: 8px; padding: 1px 8px; border-radius: 9px; color: #fff;
  background: rgb(0 0 0 / 60%); }
.slimfusion-bars { position: relative; height: 16px; border-radius: 4px; background: var(--sf-ground); overflow: hidden;
  margin-top: 3px; }
.slimfusion-bars i { position: absolute; inset: 0 auto 0 0; background: var(--sf-ours); }
.slimfusion-bars b { position: absolute; inset: 0 auto 0 auto; width: 2px; background: var(--sf-warn); }
`);

export const address = ({ filename, subfolder, type }) =>
  api.apiURL(`/view?${new URLSearchParams({ filename, subfolder, type })}`);

export function compare({ before, after }) {
  const box = el(
    "div",
    { class: "slimfusion-compare", style: "--at: 50%", title: say("compareHint") },
    el("img", { src: address(before), alt: say("before"), draggable: "false" }),
    el("img", { src: address(after), alt: say("after"), draggable: "false" }),
    el("span", { class: "bar" }),
    el("span", { class: "tag", style: "left: 8px" }, say("before")),
    el("span", { class: "tag", style: "right: 8px" }, say("after")),
  );
  box.addEventListener("pointermove", (moved) => {
    const { left, width } = box.getBoundingClientRect();
    box.style.setProperty("--at", `${Math.min(100, Math.max(0, ((moved.clientX - left) / width) * 100))}%`);
  });
  return box;
}

function memoryBar(figures) {
  if (!figures.allowed) return null;
  const most = Math.max(figures.allowed, figures.measured_peak, 1);
  const part = (amount) => `${((100 * amount) / most).toFixed(2)}%`;
  return el(
    "div",
    { class: "slimfusion-bars" },
    el("i", { style: `width: ${part(figures.measured_peak)}` }),
    el("b", { style: `left: calc(${part(figures.allowed)} - 2px)` }),
  );
}

// How alike the faces stayed, step by step: the mean, and the least where there are several; then who was held back.
function likenessRows(faces) {
  const steps = (name) => {
    const values = {};
    for (const face of faces) for (const [step, value] of Object.entries(face[name])) (values[step] ??= []).push(value);
    const mean = (some) => some.reduce((sum, value) => sum + value, 0) / some.length;
    const least = (some) => (some.length > 1 ? ` (≥ ${Math.min(...some).toFixed(2)})` : "");
    return Object.entries(values).map(([step, some]) => `${inLanguage(step)} ${mean(some).toFixed(2)}${least(some)}`).join(", ");
  };
  const held = faces.filter((face) => face.held_back > 0);
  const part = (face) => `${Math.round(100 * face.held_back)} %`;
  return [
    steps("itself") && [say("likeItself"), steps("itself")],
    steps("person") && [say("likePerson"), steps("person")],
    ...held.map((face) => [say("given"), say("heldBack", { face: face.face, frame: face.frame, part: part(face) })]),
  ];
}

// Rows of the report: a name and what stands behind it.
function rows(figures, countsFaces) {
  const seconds = Object.entries(figures.seconds ?? {});
  const counted = [countFrames(figures.frames)];
  if (countsFaces) counted.unshift(figures.faces ? countFaces(figures.faces) : say("noFace"));
  if (figures.engine) counted.push(say("tiles", { batch: figures.batch, tile: `${figures.tile[1]} × ${figures.tile[0]}` }));
  const limit = figures.budget === null ? say("automatic") : bytes(figures.budget);
  const allowed = figures.engine ? `, ${say("allowed", { bytes: bytes(figures.allowed) })}, ${say(figures.enforcement)}` : "";
  return [
    figures.model && [say("model"), figures.model],
    figures.engine && [say("runsOn"), `${figures.device}, ${figures.engine}, ${figures.precision}`],
    [say("work"), counted.join(", ")],
    [say("budget"), limit + allowed],
    figures.predicted_peak && [say("predicted"), bytes(figures.predicted_peak)],
    figures.measured_peak && [say("measured"), el("div", {}, bytes(figures.measured_peak), memoryBar(figures))],
    seconds.length && [say("time"), seconds.map(([stage, spent]) => `${inLanguage(stage)} ${duration(spent)}`).join(", ")],
    ...likenessRows(figures.likeness ?? []),
    ...figures.degradations.map((what) => [say("given"), el("span", { class: "warn" }, inLanguage(what))]),
    ...figures.notes.map((note) => [say("notes"), inLanguage(note)]),
  ].filter(Boolean);
}

export function copyButton(text) {
  const button = el("button", { type: "button", class: "copy" }, say("copy"));
  button.addEventListener("click", async () => {
    await copyText(text);
    button.textContent = say("copied");
    setTimeout(() => (button.textContent = say("copy")), 1500);
  });
  return button;
}

// Opens the panel: figures with pictures, or a table as it was written. A click beside it or Escape closes it.
export function openPanel(title, { figures, countsFaces, text, pictures, table }) {
  const close = el("button", { type: "button", onclick: () => panel.close() }, say("close"));
  const list = el("dl");
  for (const [name, value] of figures ? rows(figures, countsFaces) : []) list.append(el("dt", {}, name), el("dd", {}, value));
  const panel = el(
    "dialog",
    { class: "slimfusion slimfusion-panel", "aria-label": title },
    el("header", {}, el("h2", {}, title), text ? copyButton(text) : null, close),
    el("main", {}, pictures ? compare(pictures) : null, table ? el("pre", {}, table) : list),
  );
  panel.addEventListener("click", (happened) => happened.target === panel && panel.close());
  panel.addEventListener("close", () => panel.remove());
  panel.addEventListener("keydown", (pressed) => pressed.stopPropagation());
  document.body.append(panel);
  panel.showModal();
}
