// One line under each node that does something: what it found, what it took, what it gave up. A click opens the report.
import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { bytes, duration, el } from "./dom.js";
import { addElement, nodeOf, onOutput, sent } from "./nodes.js";
import { openPanel } from "./panel.js";
import { inLanguage } from "./sentences.js";
import { countFaces, countFrames, countShots, countTracks, say } from "./words.js";

const HEIGHT = { least: 40, most: 40 };
// Nodes with a line; whether their report counts faces, and whether they say a table.
const NODES = {
  SlimFusionRestoreFaces: { countsFaces: true },
  SlimFusionSwapFaces: { countsFaces: true },
  SlimFusionCropFaces: { countsFaces: true },
  SlimFusionPasteFaces: { countsFaces: true },
  SlimFusionProcessVideo: { countsFaces: true },
  SlimFusionScanVideo: { hasTable: true },
  SlimFusionRestoreImage: {},
  SlimFusionDetectFaces: {},
  SlimFusionSelectFaces: {},
  SlimFusionFaceMask: {},
  SlimFusionIdentity: {},
  SlimFusionSaveIdentity: {},
  SlimFusionLoadIdentity: {},
  SlimFusionBlendIdentities: {},
  SlimFusionLikeness: {},
  SlimFusionReleaseModels: {},
};
const SAME_PERSON = 0.4; // cosine of a recogniser: above it two pictures are nearly always of one person
const OTHER_PERSON = 0.25;

// A clip's report holds that of its networks; the rest is in its notes.
function figuresOf(output) {
  const report = sent(output, "slimfusion_report");
  return report?.memory ? { ...report.memory, elapsed: report.seconds, countsFaces: report.counts_faces } : report;
}

const gaveUp = (given) => (given?.length ? say("gaveUp", { what: given.map(inLanguage).join("; ") }) : "");

function reportLine(figures, countsFaces) {
  const total = figures.elapsed ?? Object.values(figures.seconds ?? {}).reduce((sum, spent) => sum + spent, 0);
  const nobody = countsFaces && figures.faces === 0;
  const found = countsFaces && !nobody ? countFaces(figures.faces) : "";
  const parts = [nobody ? say("noFace") : found];
  if (figures.frames > 1) {
    const { frames } = figures;
    parts[0] = found ? say("inFrames", { faces: found, frames }) : [parts[0], countFrames(frames)].filter(Boolean).join(", ");
  }
  if (figures.measured_peak && figures.allowed) {
    parts.push(say("memoryOf", { used: bytes(figures.measured_peak), allowed: bytes(figures.allowed) }));
  }
  parts.push(duration(total));
  const given = gaveUp(figures.degradations);
  const text = [...parts, given].filter(Boolean).join(" · ");
  return { text, tone: nobody || given ? "warn" : "ok", warning: nobody ? parts[0] : given };
}

function sentence({ what, tone, ...values }) {
  const faces = values.faces === undefined ? "" : countFaces(values.faces);
  const texts = {
    detected: () => {
      if (!values.faces) return say("noFace");
      const found = say("detected", { faces });
      return values.frames > 1 ? say("inFrames", { faces: found, frames: values.frames }) : found;
    },
    selected: () => (values.faces ? say("selected", { faces: values.faces, of: values.of }) : say("noneSelected")),
    masked: () => {
      if (!values.faces) return say("noFace");
      return values.share ? say("masked", { faces, share: values.share }) : say("maskEmpty");
    },
    scanned: () => {
      if (!values.tracks) return `${say("noFace")}, ${countFrames(values.frames)}`;
      const counted = { tracks: countTracks(values.tracks), shots: countShots(values.shots) };
      return say("scanned", { ...counted, frames: countFrames(values.frames) });
    },
    released: () => say("released", { bytes: bytes(values.bytes) }),
    likeness: () => {
      const meaning = values.value >= SAME_PERSON ? "same" : values.value > OTHER_PERSON ? "perhaps" : "different";
      return say("likeness", { value: values.value.toFixed(2), meaning: say(meaning) });
    },
    identity: () => say("identity", { name: values.name, faces }),
    identityNoSwap: () => say("identityNoSwap", { name: values.name, faces }),
  };
  return (texts[what] ?? (() => say(what, values)))();
}

function saidLine(line) {
  const { tone, peak, seconds, given } = line;
  const first = sentence(line);
  const parts = [first, peak ? say("peakOf", { peak: bytes(peak) }) : "", seconds === undefined ? "" : duration(seconds)];
  const text = [...parts, gaveUp(given)].filter(Boolean).join(" · ");
  return { text, tone, warning: tone === "warn" ? gaveUp(given) || first : "" };
}

// What is under way, in a clip with its rate and the time left.
function progressText({ stage, done, total, rate, left }) {
  const ofClip = { look: "clipLook", work: "clipWork", join: "clipJoin" }[stage];
  if (rate === undefined || !ofClip) return say("progress", { stage: inLanguage(stage), done, total });
  return say(ofClip, { done, total, rate, left: duration(left) });
}

const warned = new Set(); // once for each text: a warning that comes with every run is not read any more

function warn(node, text) {
  const known = `${node.id}: ${text}`;
  if (!text || warned.has(known)) return;
  warned.add(known);
  app.extensionManager?.toast?.add({ severity: "warn", summary: node.title, detail: text, life: 8000 });
}

class Line {
  constructor(node, { countsFaces = false, hasTable = false }) {
    this.node = node;
    this.countsFaces = countsFaces;
    this.hasTable = hasTable;
    this.text = el("span", { class: "text" });
    this.more = el("span", { class: "more", "aria-hidden": "true" });
    this.element = el("div", { class: "slimfusion slimfusion-line" }, el("span", { class: "dot" }), this.text, this.more);
    this.element.addEventListener("click", () => this.open());
    this.element.addEventListener("keydown", (pressed) => pressed.key === "Enter" && this.open());
    this.last = { text: say("notRun"), tone: "quiet" };
    this.panel = null;
    this.draw(this.last);
  }

  draw({ text, tone }) {
    this.text.textContent = text;
    this.element.title = this.panel ? `${text}\n${say("openReport")}` : text;
    this.element.classList.remove("quiet", "ok", "warn", "bad", "busy");
    this.element.classList.add(tone);
    this.more.textContent = this.panel ? "›" : "";
    for (const [name, value] of [["role", "button"], ["tabindex", "0"]]) {
      if (this.panel) this.element.setAttribute(name, value);
      else this.element.removeAttribute(name);
    }
  }

  show(output) {
    const figures = figuresOf(output);
    const line = sent(output, "slimfusion_line");
    if (!figures && !line) return;
    const countsFaces = figures?.countsFaces ?? this.countsFaces;
    this.last = figures ? reportLine(figures, countsFaces) : saidLine(line);
    const text = output.text?.[0];
    const pictures = sent(output, "slimfusion_compare");
    this.panel = figures ? { figures, countsFaces, text, pictures } : this.hasTable ? { text, table: text } : null;
    this.draw(this.last);
    warn(this.node, this.last.warning);
  }

  open() {
    if (this.panel) openPanel(this.node.title, this.panel);
  }
}

const lineOf = (id) => nodeOf(id)?.slimfusionLine;

// Draws what is under way; when a run ends early, what was said before comes back.
const busy = new Set();

api.addEventListener("slimfusion.progress", ({ detail }) => {
  const line = lineOf(detail.node);
  if (!line) return;
  busy.add(line);
  line.draw({ text: progressText(detail), tone: "busy" });
});
api.addEventListener("executed", ({ detail }) => busy.delete(lineOf(detail.display_node ?? detail.node)));
api.addEventListener("execution_cached", ({ detail }) => {
  for (const id of detail.nodes ?? []) {
    const line = lineOf(id);
    if (line?.last.tone === "quiet") line.draw({ text: say("unchanged"), tone: "quiet" });
  }
});
api.addEventListener("execution_interrupted", () => {
  for (const line of busy) line.draw({ text: say("stopped"), tone: "quiet" });
  busy.clear();
});
api.addEventListener("execution_error", ({ detail }) => {
  const [error] = String(detail.exception_message ?? "").trim().split("\n");
  busy.clear();
  lineOf(detail.node_id)?.draw({ text: say("failed", { error: inLanguage(error) }), tone: "bad" });
});

app.registerExtension({
  name: "SlimFusion.Line",
  nodeCreated(node) {
    const kind = NODES[node.comfyClass];
    if (!kind) return;
    node.slimfusionLine = new Line(node, kind);
    addElement(node, "slimfusion_line", node.slimfusionLine.element, HEIGHT);
    onOutput(node, (output) => node.slimfusionLine.show(output));
  },
});
