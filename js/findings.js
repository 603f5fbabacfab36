// Doctor's findings as a list on the node: what does not work first, each command with a button that copies it.
import { app } from "../../scripts/app.js";
import { addStyle, el } from "./dom.js";
import { addElement, onOutput, sent } from "./nodes.js";
import { copyButton } from "./panel.js";
import { inLanguage } from "./sentences.js";
import { say } from "./words.js";

addStyle(`
.slimfusion-findings { height: 100%; max-height: 420px; overflow: auto; padding: 4px 8px; border-radius: 6px; background: var(--sf-ground);
  user-select: text; }
.slimfusion-findings .sum { padding: 4px 0 6px; font-weight: 600; }
.slimfusion-findings .finding { display: grid; grid-template-columns: 16px 1fr; gap: 1px 6px; padding: 6px 0;
  border-top: 1px solid var(--sf-edge); }
.slimfusion-findings .mark { font-weight: 700; }
.slimfusion-findings .ok .mark { color: var(--sf-ok); }
.slimfusion-findings .advice .mark { color: var(--sf-warn); }
.slimfusion-findings .problem .mark { color: var(--sf-bad); }
.slimfusion-findings .title { font-weight: 600; overflow-wrap: anywhere; }
.slimfusion-findings .detail { grid-column: 2; color: var(--sf-quiet); white-space: pre-wrap; overflow-wrap: anywhere; }
.slimfusion-findings .mend { grid-column: 2; display: flex; gap: 6px; align-items: start; margin-top: 3px; }
.slimfusion-findings code { flex: 1; padding: 3px 7px; border-radius: 4px; font: 11px/16px monospace;
  background: rgb(127 127 127 / 18%); overflow-wrap: anywhere; white-space: pre-wrap; }
`);

const MARKS = { problem: "✕", advice: "!", ok: "✓" };

function finding({ title, state, detail, mend }) {
  const commands = mend.split("\n").filter(Boolean);
  return el(
    "div",
    { class: `finding ${state}` },
    el("span", { class: "mark", "aria-label": state }, MARKS[state]),
    el("span", { class: "title" }, inLanguage(title)),
    el("span", { class: "detail" }, inLanguage(detail)),
    ...commands.map((command) => el("div", { class: "mend" }, el("code", {}, command), copyButton(command))),
  );
}

export function findingsList(findings) {
  const of = (state) => findings.filter((each) => each.state === state);
  const [problems, advice] = [of("problem"), of("advice")];
  const sum = problems.length + advice.length
    ? say("problems", { problems: problems.length, advice: advice.length })
    : say("allWell");
  return [el("div", { class: "sum" }, sum), ...[...problems, ...advice, ...of("ok")].map(finding)];
}

app.registerExtension({
  name: "SlimFusion.Findings",
  nodeCreated(node) {
    if (node.comfyClass !== "SlimFusionDoctor") return;
    const list = el("div", { class: "slimfusion slimfusion-findings" }, el("div", { class: "sum" }, say("runDoctor")));
    list.addEventListener("wheel", (turned) => turned.stopPropagation());
    addElement(node, "slimfusion_findings", list, { least: 240 });
    onOutput(node, (output) => {
      const findings = sent(output, "slimfusion_findings");
      if (findings) list.replaceChildren(...findingsList(findings));
    });
  },
});
