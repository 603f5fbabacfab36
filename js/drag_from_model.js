// The input `model` of the restore nodes takes two types. Who drags from it is offered the nodes that load one.
import { app } from "../../scripts/app.js";

const BOTH = "SLIMFUSION_MODEL,UPSCALE_MODEL";
const LOADERS = ["SlimFusionLoadModel", "UpscaleModelLoader"];

// Searches of pages before this version look for an output that is called like both types together.
const KNOWS_LISTS = [1, 49];

function searchesForLists() {
  const version = (window.__COMFYUI_FRONTEND_VERSION__ ?? "0.0").split(".").map(Number);
  return version[0] > KNOWS_LISTS[0] || (version[0] === KNOWS_LISTS[0] && version[1] >= KNOWS_LISTS[1]);
}

app.registerExtension({
  name: "SlimFusion.DragFromModel",

  // The search's own list: the nodes themselves are made already and stay as they are.
  beforeRegisterVueAppNodeDefs(defs) {
    if (searchesForLists()) return;
    for (const [index, def] of defs.entries()) {
      if (!LOADERS.includes(def.name)) continue;
      const also = { output: BOTH, output_name: def.output_name[0], output_is_list: false };
      const longer = Object.entries(also).map(([field, value]) => [field, [...def[field], value]]);
      defs[index] = { ...def, ...Object.fromEntries(longer) };
    }
  },

  // The short menu.
  setup() {
    LiteGraph.slot_types_default_in[BOTH] = [...LOADERS];
  },
});
