// Workflows with ReActor's or facerestore_cf's nodes where those packs are missing: our nodes in their place, with the
// same values, and a sentence for what has no counterpart. Off unless the user asks for it in the settings.
import { app } from "../../scripts/app.js";
import { language, say } from "./words.js";

const SETTING = "SlimFusion.ReplaceNodes";
const BUNDLED = "SlimFusion restorer (bundled)";

const links = (node, name) => node.inputs?.find((input) => input.name === name)?.link ?? null;
const socket = (name, type, link) => ({ name, type, link });
const person = (index) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[index];

// The faces that ReActor counts by size are numbered from left to right here: one face is the same in both.
function peopleFrom(targets, sources) {
  const faces = String(targets).split(",").map((part) => part.trim()).filter(Boolean);
  const people = String(sources).split(",").map((part) => Number(part.trim()) || 0);
  if (faces.length === 1 && faces[0] === "0") return "";
  return faces.map((face, index) => `${face}:${person(people[index] ?? people.at(-1) ?? 0)}`).join(", ");
}

// For each node of theirs: ours, its inputs and values by name, which of our outputs each of theirs becomes, and the
// keys of sentences about what is lost.
const REPLACED = {
  ReActorFaceSwap(node, values) {
    const [, , , restorer, , , gender, sourceGender, targets, sources] = values;
    return {
      type: "SlimFusionSwapFaces",
      inputs: [
        socket("image", "IMAGE", links(node, "input_image")),
        socket("identity", "SLIMFUSION_IDENTITY", links(node, "face_model")),
        socket("source_image", "IMAGE", links(node, "source_image")),
      ],
      values: { strength: 1, people: peopleFrom(targets ?? "0", sources ?? "0") },
      outputs: [0, null, null],
      lost: [
        "loseModel",
        restorer && restorer !== "none" && "loseRestorer",
        (gender && gender !== "no") || (sourceGender && sourceGender !== "no") ? "loseGender" : "",
        links(node, "face_boost") !== null && "loseBoost",
      ],
    };
  },
  ReActorRestoreFace(node, values) {
    const [, model, visibility, weight] = values;
    return {
      type: "SlimFusionRestoreFaces",
      inputs: [socket("image", "IMAGE", links(node, "image"))],
      values: { strength: visibility ?? 1, fidelity: weight ?? 0.5, restorer: model && model !== "none" ? model : BUNDLED },
      outputs: [0],
      lost: ["loseDetector"],
    };
  },
  FaceRestoreCFWithModel(node, values) {
    const numbers = values.filter((value) => typeof value === "number");
    return {
      type: "SlimFusionRestoreFaces",
      inputs: [
        socket("image", "IMAGE", links(node, "image")),
        socket("model", "SLIMFUSION_MODEL,UPSCALE_MODEL", links(node, "facerestore_model")),
      ],
      values: { fidelity: numbers.at(-1) ?? 0.5 },
      outputs: [0],
      lost: ["loseDetector"],
    };
  },
  FaceRestoreModelLoader(_, values) {
    return { type: "SlimFusionLoadModel", inputs: [], values: { model: values[0] }, outputs: [0], lost: [] };
  },
};

// Values in the order of our node's widgets, the others at their defaults, as they stand in a saved workflow.
function widgetValues(type, values) {
  const node = LiteGraph.createNode(type);
  const kept = (node.widgets ?? []).filter((widget) => widget.serialize !== false);
  return kept.map((widget) => values[widget.name] ?? widget.value);
}

function replaceNode(node, graph) {
  const { type, inputs, values, outputs, lost } = REPLACED[node.type](node, node.widgets_values ?? []);
  const made = LiteGraph.createNode(type);
  const moved = (outputs_) => outputs.map((ours, theirs) => [ours, outputs_?.[theirs]?.links ?? []]);
  const kept = moved(node.outputs).filter(([ours]) => ours !== null);
  const dropped = moved(node.outputs).filter(([ours]) => ours === null).flatMap(([, ids]) => ids);
  const known = new Set(inputs.map((input) => input.link));
  for (const input of node.inputs ?? []) if (input.link != null && !known.has(input.link)) dropped.push(input.link);
  const all = made.outputs.map(({ name, type: kind }, slot) => {
    const ids = kept.filter(([ours]) => ours === slot).flatMap(([, links_]) => links_);
    return { name, type: kind, links: ids };
  });
  for (const link of graph.links ?? []) {
    const [id, from, , to] = link;
    if (from === node.id) link[5] = all.find((output) => output.links.includes(id))?.type ?? link[5];
    if (to === node.id) link[4] = Math.max(0, inputs.findIndex((input) => input.link === id));
  }
  if (dropped.length) {
    graph.links = graph.links.filter(([id]) => !dropped.includes(id));
    for (const other of graph.nodes) {
      for (const input of other.inputs ?? []) if (dropped.includes(input.link)) input.link = null;
      for (const output of other.outputs ?? []) output.links = output.links?.filter((id) => !dropped.includes(id)) ?? null;
    }
  }
  Object.assign(node, { type, inputs, outputs: all, widgets_values: widgetValues(type, values) });
  node.properties = { ...node.properties, "Node name for S&R": type, cnr_id: "slimfusion" };
  delete node.properties.aux_id;
  return lost.filter(Boolean);
}

app.registerExtension({
  name: "SlimFusion.Replacements",
  settings: [
    {
      id: SETTING,
      name: "Use SlimFusion for missing ReActor and facerestore_cf nodes",
      tooltip: "When a workflow is opened whose nodes are not installed. Nothing that is installed is replaced.",
      type: "boolean",
      defaultValue: false,
      category: ["SlimFusion", "Workflows", "ReplaceNodes"],
    },
  ],
  beforeConfigureGraph(graph) {
    if (!app.extensionManager?.setting?.get(SETTING) || !Array.isArray(graph?.links)) return;
    const lost = new Set();
    let count = 0;
    for (const node of graph.nodes ?? []) {
      if (!REPLACED[node.type] || LiteGraph.registered_node_types[node.type]) continue;
      count += 1;
      for (const key of replaceNode(node, graph)) lost.add(key);
    }
    if (!count) return;
    const join = language() === "zh" ? "" : " ";
    const detail = [...lost].map((key) => say(key)).join(join);
    app.extensionManager?.toast?.add({ severity: "info", summary: say("replaced", { count }), detail, life: 15000 });
  },
});
