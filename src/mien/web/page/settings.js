/** What the user chose, kept in this browser's localStorage; nothing else is stored. */

const KEY = "mien.settings";
const DEFAULTS = {
  /** @type {?string} */ language: null, // null: the browser's
  /** @type {?string} */ theme: null, // "light", "dark", null: the system's
  /** @type {string} */ engine: "server",
  /** @type {?string} */ model: null,
  /** @type {?string} */ labels: null,
  /** @type {?string} */ detector: null,
  min_confidence: 0,
  half_life: 0.3,
  temporal: false,
  /** @type {?string} */ camera: null, // device id
  mirrored: true,
  whole_course: false,
  shortcuts: true,
};

/** Read them with `settings.name`, write them with `set`. */
export const settings = { ...DEFAULTS, ...stored() };

/** Called with the name after every change. @type {Set<(name: string) => void>} */
export const listeners = new Set();

/**
 * @template {keyof typeof DEFAULTS} Name
 * @param {Name} name
 * @param {(typeof DEFAULTS)[Name]} value
 */
export function set(name, value) {
  if (settings[name] === value) return;
  settings[name] = value;
  try {
    localStorage.setItem(KEY, JSON.stringify(settings));
  } catch {
    // a browser that stores nothing: they last as long as the page
  }
  for (const listener of listeners) listener(name);
}

/** The part of them that an engine takes. @returns {import("./engine.js").Settings} */
export function chosen() {
  const { model, labels, detector, min_confidence, half_life, temporal } = settings;
  return { model, labels, detector, min_confidence, half_life, temporal };
}

function stored() {
  let found;
  try {
    found = JSON.parse(localStorage.getItem(KEY) ?? "{}");
  } catch {
    return {};
  }
  const known = Object.entries(Object(found)).filter(([name, value]) => {
    const own = /** @type {any} */ (DEFAULTS)[name];
    return own === null ? value === null || typeof value === "string" : typeof value === typeof own;
  });
  return Object.fromEntries(known);
}
