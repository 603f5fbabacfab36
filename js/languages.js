// Pages of 1.32 read the packs' texts first and the user's language then, which overwrites them: they are given again.
// Newer pages keep them, and nothing is done.
import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";

const SOMETHING_OF_OURS = "nodeDefs.SlimFusionDoctor.display_name";

function translations() {
  const page = document.getElementById("vue-app")?.__vue_app__;
  return page?._context?.provides?.[page.__VUE_I18N_SYMBOL__]?.global;
}

app.registerExtension({
  name: "SlimFusion.Languages",

  // Before the nodes are made from their definitions.
  async init() {
    const known = translations();
    const language = known?.locale?.value;
    if (!language || known.te(SOMETHING_OF_OURS, language)) return;
    const texts = (await (await api.fetchApi("/i18n")).json())[language] ?? {};
    const ours = (file) => Object.fromEntries(Object.entries(texts[file] ?? {}).filter(([key]) => key.startsWith("SlimFusion")));
    known.mergeLocaleMessage(language, { nodeDefs: ours("nodeDefs"), settings: ours("settings") });
  },
});
