// The routes of the OpenAPI document as a page: no library, nothing from elsewhere.

const DEEPEST = 6; // levels of a schema
const METHODS = ["get", "post", "put", "patch", "delete"];

function element(tag, content = "", className = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...[content].flat());
  return made;
}

function table(names, rows) {
  const cells = (tag, texts) => element("tr", texts.map((text) => element(tag, text)));
  return element("table", [cells("th", names), ...rows.map((row) => cells("td", row))]);
}

function typeOf(schema) {
  const kinds = schema.anyOf ? schema.anyOf.map((one) => one.type) : [schema.type ?? "any"];
  const bounds = [schema, ...(schema.anyOf ?? [])].find((one) => "maximum" in one);
  return kinds.join(" or ") + (bounds ? `, ${bounds.minimum} to ${bounds.maximum}` : "");
}

// Returns a value of a schema's shape, whose leaves are the descriptions or types.
function example(schema, schemas, depth = 0) {
  if (schema.$ref) return example(schemas[schema.$ref.split("/").pop()] ?? {}, schemas, depth);
  if (depth > DEEPEST) return "…";
  if (schema.properties) {
    const entries = Object.entries(schema.properties);
    return Object.fromEntries(entries.map(([name, inner]) => [name, example(inner, schemas, depth + 1)]));
  }
  if (schema.prefixItems) return schema.prefixItems.map((inner) => example(inner, schemas, depth + 1));
  if (schema.type === "array") return [example(schema.items ?? {}, schemas, depth + 1)];
  if (schema.additionalProperties?.type) return { "…": schema.additionalProperties.type };
  const variant = schema.anyOf?.find((one) => one.$ref || one.properties || one.type === "array");
  if (variant) return example(variant, schemas, depth);
  return schema.description ?? typeOf(schema);
}

function answer(status, described, schemas) {
  const made = [element("h4", `${status} ${described.description}`)];
  for (const [kind, { schema }] of Object.entries(described.content ?? {})) {
    made.push(element("p", element("code", kind)));
    if (kind.includes("json") && schema) made.push(element("pre", JSON.stringify(example(schema, schemas), null, 2)));
  }
  return made;
}

function route(method, path, operation, schemas) {
  const inside = [element("summary", [element("span", method.toUpperCase(), "method"), element("code", path)])];
  if (operation.description) inside.push(element("p", operation.description));
  if (operation.parameters?.length) {
    const rows = operation.parameters.map(({ name, schema, description }) => [
      element("code", name), typeOf(schema), description ?? schema.description ?? "",
      "default" in schema ? String(schema.default) : "",
    ]);
    inside.push(element("h4", "Parameters"), table(["name", "type", "", "default"], rows));
  }
  if (operation.requestBody) {
    const kinds = Object.keys(operation.requestBody.content).join(", ");
    inside.push(element("h4", "Body"), element("p", element("code", kinds)));
  }
  const problems = [];
  for (const [status, described] of Object.entries(operation.responses)) {
    if (described.content?.["application/problem+json"]) problems.push(status);
    else inside.push(...answer(status, described, schemas));
  }
  if (problems.length) inside.push(element("p", `Problems, as application/problem+json: ${problems.join(", ")}`));
  return element("section", element("details", inside));
}

const summary = document.getElementById("summary");
try {
  const response = await fetch("v1/openapi.json");
  if (!response.ok) throw new Error(`${response.status}`);
  const { info, paths, components } = await response.json();
  summary.textContent = `${info.description} Version ${info.version}.`;
  for (const [path, operations] of Object.entries(paths)) {
    for (const method of METHODS.filter((name) => name in operations)) {
      document.getElementById("routes").append(route(method, path, operations[method], components.schemas));
    }
  }
} catch (error) {
  summary.textContent = `The description of the service cannot be loaded (${error.message}); load this page again.`;
}
