// Small helpers for the elements of the page: made in one call, styled once, in the page's own colours.

export const MIB = 2 ** 20;
export const GIB = 2 ** 30;

// Elements in the page's own colours; the fallbacks are those of its dark theme.
const STYLE = `
.slimfusion { --sf-ink: var(--input-text, #ddd); --sf-quiet: var(--descrip-text, #999);
  --sf-ground: var(--comfy-input-bg, #222); --sf-edge: var(--border-color, #4e4e4e);
  --sf-ok: #3fae6a; --sf-warn: #d9881f; --sf-bad: #e0533d; --sf-ours: #3b8fd9; --sf-others: #8a8f98;
  color: var(--sf-ink); font: 12px/16px Inter, system-ui, sans-serif; box-sizing: border-box; text-align: left; }
.slimfusion * { box-sizing: border-box; }
.slimfusion button { font: inherit; color: var(--sf-ink); background: var(--sf-ground); cursor: pointer;
  border: 1px solid var(--sf-edge); border-radius: 5px; padding: 2px 9px; }
.slimfusion button:hover { border-color: var(--sf-quiet); }
.slimfusion :focus-visible { outline: 2px solid var(--sf-ours); outline-offset: 1px; }
.slimfusion-line { display: flex; gap: 7px; align-items: center; width: 100%; height: 100%; min-height: 26px; max-height: 44px; padding: 3px 8px;
  border-radius: 6px; background: var(--sf-ground); overflow: hidden; }
.slimfusion-line[role="button"] { cursor: pointer; }
.slimfusion-line .dot { flex: none; width: 8px; height: 8px; border-radius: 50%; background: var(--sf-quiet); }
.slimfusion-line .text { flex: 1; min-width: 0; overflow: hidden; display: -webkit-box; -webkit-box-orient: vertical;
  -webkit-line-clamp: 2; overflow-wrap: anywhere; }
.slimfusion-line .more { flex: none; color: var(--sf-quiet); }
.slimfusion-line.quiet .text { color: var(--sf-quiet); }
.slimfusion-line.ok .dot { background: var(--sf-ok); }
.slimfusion-line.warn .dot { background: var(--sf-warn); }
.slimfusion-line.bad .dot { background: var(--sf-bad); }
.slimfusion-line.busy .dot { background: var(--sf-ours); }
`;

export function addStyle(text) {
  const style = document.createElement("style");
  style.textContent = text;
  document.head.append(style);
}

addStyle(STYLE);

// An element; properties that are functions named on... are listened with, others are set as attributes.
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function bytes(amount) {
  return Math.abs(amount) < GIB ? `${Math.round(amount / MIB)} MiB` : `${(amount / GIB).toFixed(2)} GiB`;
}

export function duration(seconds) {
  if (seconds < 100) return `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

// The page's clipboard exists on secure addresses alone; a selection is copied on any.
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return;
  } catch {
    const field = el("textarea", { style: "position: fixed; opacity: 0" });
    field.value = text;
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
}

// Clicks and wheels inside our elements are ours, not the canvas's behind them.
export function keepPointer(element) {
  for (const event of ["pointerdown", "pointerup", "mousedown", "dblclick", "contextmenu"]) {
    element.addEventListener(event, (happened) => happened.stopPropagation());
  }
}
