// Workflows that were saved while the page showed a box widget for the input `bboxes` of Detect Faces hold a box among
// the values; every value behind it would be read one place too late.
import { app } from "../../scripts/app.js";

const isBox = (value) => value !== null && typeof value === "object" && "width" in value && "height" in value;

function* nodesOf(graph) {
  yield* graph?.nodes ?? [];
  for (const subgraph of graph?.definitions?.subgraphs ?? []) yield* nodesOf(subgraph);
}

app.registerExtension({
  name: "SlimFusion.SavedWorkflows",
  beforeConfigureGraph(graph) {
    for (const node of nodesOf(graph)) {
      if (node.type === "SlimFusionDetectFaces" && Array.isArray(node.widgets_values)) {
        node.widgets_values = node.widgets_values.filter((value) => !isBox(value));
      }
    }
  },
});
