// Nodes and what they said, in both renderers: a widget below the others, and its text after each run.
import { app } from "../../scripts/app.js";
import { keepPointer } from "./dom.js";

const LEAST_WIDTH = 240; // px of a node with a sentence on it

// The first value under a key of what a node has sent, read from JSON; null where it sent none.
export function sent(output, key) {
  const value = output?.[key]?.[0];
  if (typeof value !== "string") return null;
  try {
    return JSON.parse(value);
  } catch {
    return null;
  }
}

// The node of an execution's id, which names the subgraphs on the way: "5:12".
export function nodeOf(id) {
  let graph = app.rootGraph ?? app.graph;
  let node = null;
  for (const part of String(id).split(":")) {
    node = graph?.getNodeById(Number(part)) ?? null;
    graph = node?.subgraph;
  }
  return node;
}

// Puts an element below a node's widgets. It is no value: neither saved in a workflow nor sent in a prompt.
export function addElement(node, name, element, height) {
  keepPointer(element);
  const widget = node.addDOMWidget(name, "slimfusion", element, {
    serialize: false,
    hideOnZoom: false,
    margin: 6,
    getMinHeight: () => height.least,
    getMaxHeight: () => height.most,
    getValue: () => "",
    setValue: () => {},
  });
  widget.serialize = false;
  if (node.size[0] < LEAST_WIDTH) node.setSize([LEAST_WIDTH, node.size[1]]);
  return widget;
}

// Calls `show` with what the node sends after a run, and again where the page restores that.
export function onOutput(node, show) {
  const [before, shown] = [node.onExecuted, node.slimfusionShow];
  node.onExecuted = function (output) {
    before?.apply(this, arguments);
    show(output);
  };
  node.slimfusionShow = (output) => {
    shown?.(output);
    show(output);
  };
}

app.registerExtension({
  name: "SlimFusion.Outputs",
  onNodeOutputsUpdated(outputs) {
    for (const [id, output] of Object.entries(outputs ?? {})) {
      const node = nodeOf(id);
      if (node?.slimfusionShow && output) node.slimfusionShow(output);
    }
  },
});
