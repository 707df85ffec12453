/** Short names for what the page does to its document. */

/** @param {string} id */
export const byId = (id) => /** @type {any} */ (document.getElementById(id));

/**
 * Return a new element.
 *
 * @param {string} tag
 * @param {Record<string, any>} properties  of the element; keys with a dash are attributes
 * @param {...(Node | string)} children
 */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role") made.setAttribute(name, value);
    else /** @type {any} */ (made)[name] = value;
  }
  made.append(...children);
  return made;
}

/** Write a text where it changed, so that a selection and a screen reader stay. @param {any} node @param {string} text */
export function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Return whether motion is unwanted. */
export const calm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** Wait for some seconds. @param {number} seconds */
export const pause = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));
