// Sentences that come from Python, in the page's language: reports, warnings, Doctor's findings, errors.
// Python says each in English, wherever it runs; here its Chinese is looked up by its form, values and all.
import { DOCTOR } from "./chinese/doctor.js";
import { ENGINES } from "./chinese/engines.js";
import { FACES } from "./chinese/faces.js";
import { MODELS } from "./chinese/models.js";
import { VIDEO } from "./chinese/video.js";
import { language } from "./words.js";

const TABLE = { ...DOCTOR, ...ENGINES, ...FACES, ...MODELS, ...VIDEO };
const VALUE = /\{\d\}/;
const BETWEEN = /([\u3001-\uff5f]) (?=[\u3001-\uff5f])/g; // a space between two Chinese characters
const LISTS = [["; ", "；"], [", ", "，"]];

// Whether a text has the form of an English sentence, and the values in it.
function form([english, chinese]) {
  const parts = english.split(VALUE);
  const literal = (part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  return {
    chinese,
    values: parts.length,
    weight: parts.join("").length,
    longest: parts.reduce((long, part) => (part.length > long.length ? part : long)),
    expression: new RegExp(`^${parts.map(literal).join("([^]*?)")}$`),
  };
}

let forms = null; // made when the first Chinese sentence is asked for; the fullest first: it says most

function chineseOf(text) {
  if (TABLE[text]) return TABLE[text];
  forms ??= Object.entries(TABLE).filter(([english]) => VALUE.test(english)).map(form).sort((one, other) => other.weight - one.weight || one.values - other.values);
  for (const { chinese, longest, expression } of forms) {
    const values = text.includes(longest) && expression.exec(text);
    if (values) return chinese.replace(/\{(\d)\}/g, (_, number) => valueOf(values[number].trim()));
  }
  return text;
}

// A value is a name or a number, which stay as they are, or a sentence, or a list of them.
function valueOf(text) {
  const lists = LISTS.filter(([mark]) => text.includes(mark)).map(([mark, between]) => [text.split(mark), between]);
  const [alike] = TABLE[text] ? [] : lists.filter(([parts]) => parts.every((part) => chineseOf(part) !== part));
  if (alike) return alike[0].map(valueOf).join(alike[1]);
  const whole = chineseOf(text);
  if (whole !== text) return whole;
  for (const [parts, between] of lists) {
    const said = parts.map(valueOf);
    if (said.some((part, index) => part !== parts[index])) return said.join(between);
  }
  return text;
}

// A text of one or more lines in the page's language; what has no translation stays as it is.
export function inLanguage(text) {
  if (language() !== "zh") return String(text);
  return String(text).split("\n").map(valueOf).join("\n").replace(BETWEEN, "$1");
}
